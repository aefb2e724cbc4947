"""Takes the pictures of this folder from dbt docs in headless Chromium.

    pip install playwright pillow        (in an environment of its own; needs a Chromium)
    relama docs build/smollm2
    python docs/images/screenshot.py build/smollm2 docs/images

    make example && cd examples/support_tickets && dbt docs generate --static && cd ../..
    python docs/images/screenshot.py examples/support_tickets docs/images

dbt docs lays a lineage graph out as one long line. It is cut into rows here, each
row beginning with the node that ended the one above, and the edges are drawn in a
lighter colour. Nothing else differs from what dbt docs shows.
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Page, sync_playwright

LAYERS = 30
CHROMIUM = "/usr/bin/chromium"

#: The window, in CSS pixels, and device pixels for each.
WIDTH, HEIGHT, SCALE = 1500, 1200, 1.2

RESIDUAL_STREAM = ["embedding"]
for layer in range(LAYERS):
    RESIDUAL_STREAM += [f"layer_{layer:02d}__o_proj", f"layer_{layer:02d}__down_proj"]
RESIDUAL_STREAM += ["final_norm", "logits", "next_token", "step", "tokens"]


@dataclass(frozen=True)
class Picture:
    """A part of the graph.

    Attributes:
        select, exclude: as in dbt docs' graph view. A `+` without a number is
            avoided: dbt docs then walks every path, of which there are too many.
        rows: the first and the last model of each row.
    """

    select: str
    exclude: str
    rows: list[tuple[str, str]]


#: The end of the example: the seed, the last layer of the language model, what it answers.
EXAMPLE = {
    "lineage_example": Picture(
        select="tickets layer_29__qkv_proj_weight layer_29__down_proj_weight layer_28 layer_29 "
        "final_norm forward_pass ticket_summaries ticket_topics tickets_by_topic "
        "exposure:support_dashboard",
        exclude="resource_type:test",
        rows=[
            ("layer_29__down_proj_weight", "forward_pass"),
            ("forward_pass", "Support dashboard"),
        ],
    ),
}

PICTURES = {
    "lineage_layer": Picture(
        select="tag:layer_00 embedding embedding_weight step_input rotary_angles "
        "inverse_frequencies source:state.tokens source:state.layer_00__kv_cache",
        exclude="layer_00__kv_cache",
        rows=[
            ("tokens", "layer_00__rotary_embedding"),
            ("layer_00__rotary_embedding", "layer_00__o_proj"),
            ("layer_00__o_proj", "layer_00__down_proj"),
        ],
    ),
    "lineage": Picture(
        select=" ".join(RESIDUAL_STREAM),
        exclude="",
        rows=[(RESIDUAL_STREAM[i], RESIDUAL_STREAM[i + 8]) for i in range(0, 56, 8)]
        + [(RESIDUAL_STREAM[56], "tokens")],
    ),
    "lineage_end": Picture(
        select="tag:layer_29 final_norm logits next_token step tokens transcript "
        + " ".join(f"layer_{layer:02d}__kv_cache" for layer in range(LAYERS)),
        exclude="tag:weights",
        rows=[("layer_29__o_proj", "transcript")],
    ),
}

#: Fits the nodes between two models (by label, the leftmost) into the window;
#: gives the height, in pixels, that they take.
FIT = """([first, last, width]) => {
    const cy = document.querySelector('#cy')._cyreg.cy;
    cy.style().selector('edge').style({'line-color': '#8fd3e3', 'target-arrow-color': '#8fd3e3'});
    cy.style().update();
    const box = name => cy.nodes().filter(n => n.data('label').split('.').pop() == name)
        .map(n => n.boundingBox()).sort((a, b) => a.x1 - b.x1)[0];
    const left = box(first).x1, right = box(last).x2, margin = 20;
    const shown = cy.nodes().filter(n => n.boundingBox().x2 >= left && n.boundingBox().x1 <= right);
    const around = shown.boundingBox();
    const zoom = Math.min((width - 2 * margin) / (right - left), 1);
    cy.zoom(zoom);
    cy.pan({x: margin - left * zoom, y: margin - around.y1 * zoom});
    return Math.ceil(around.h * zoom + 2 * margin);
}"""


def take(page: Page, picture: Picture) -> Image.Image:
    """The rows of a picture, one below the other."""
    rows = []
    for first, last in picture.rows:
        frame = page.locator("#cy").bounding_box()
        assert frame is not None
        height = page.evaluate(FIT, [first, last, frame["width"]])
        page.wait_for_timeout(500)
        clip = {**frame, "height": min(height, frame["height"])}
        rows.append(Image.open(io.BytesIO(page.screenshot(clip=clip))))
    image = Image.new("RGB", (rows[0].width, sum(row.height + 3 for row in rows) - 3), "white")
    top = 0
    for row in rows:
        image.paste(row, (0, top))
        top += row.height + 3
    return image.quantize(128)


def main(project: Path, folder: Path) -> None:
    address = (project / "target" / "static_index.html").resolve().as_uri()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        pictures = EXAMPLE if project.name == "support_tickets" else PICTURES
        for name, picture in pictures.items():
            page = browser.new_page(
                viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE
            )
            page.goto(
                f"{address}#!/overview?g_v=1&g_i={quote(picture.select)}&g_e={quote(picture.exclude)}"
            )
            page.wait_for_selector("#cy canvas")
            page.wait_for_timeout(3000)
            take(page, picture).save(folder / f"{name}.png", optimize=True)
            page.close()
            print(folder / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
