"""The macros of a generated project, where dbt looks for packages."""

from __future__ import annotations

import shutil
from pathlib import Path

from relama.project.manifest import LIBRARY


def install_macros(directory: Path) -> None:
    """Makes `packages/relama` the folder `relama` of the project at `directory`.

    As `dbt deps` does it, but by a relative link, which may be moved and committed. What is
    there and can be read stays.
    """
    source, target = directory / LIBRARY, directory / "packages" / LIBRARY
    if (target / "dbt_project.yml").is_file() or not source.is_dir():
        return
    target.parent.mkdir(exist_ok=True)
    target.unlink(missing_ok=True)  # A link that leads nowhere: the project was moved.
    try:
        target.symlink_to(Path("..", LIBRARY), target_is_directory=True)
    except OSError:
        shutil.copytree(source, target)
