"""Filters, labels with examples, and embeddings within `dbt build`, against the oracle in numpy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest
from dbt.artifacts.resources.v1.model import ModelConfig

from relama.reference import forward
from relama.runtime.tokenizer import ProjectTokenizer
from tests.conftest import ROOT
from tests.integration.conftest import TICKETS
from tests.integration.test_rows import (
    ANSWERS,
    CHECKPOINT,
    CONTEXT,
    chat_ids,
    expected,
    logprobs,
    text_ids,
    tokenizer,
)
from tests.user_project import UserProject

__all__ = ["tokenizer"]

QUERY = "select id, body as prompt from {{ ref('tickets') }}"
YES, NO = "Yes", "No"


def score(ids: Sequence[int], following: Sequence[int]) -> float:
    """The log-likelihood of tokens after others, by the oracle."""
    table = logprobs([*ids, *following])[len(ids) - 1 :]
    return float(sum(table[i, token] for i, token in enumerate(following)))


def share(ids: Sequence[int], tokenizer: ProjectTokenizer, texts: Sequence[str]) -> list[float]:
    """The probability of each of several texts after a prompt, if it is one of them."""
    scores = np.array([score(ids, text_ids(tokenizer, text)) for text in texts])
    weights = np.exp(scores - scores.max())
    return [float(weight) for weight in weights / weights.sum()]


def test_labels_of_which_several_are_right(
    either_desk: UserProject, tokenizer: ProjectTokenizer
) -> None:
    desk = either_desk
    hostile = "it's {{ \"x\" }} '; --"
    labels = {"billing": "money", "bug": hostile, "a b": ""}
    many = f"materialized='relama_classify', unique_key='id', labels={labels}, multi_label=true"
    none = "'{{ x }}"
    examples = [
        {"prompt": "Pay", "label": "billing"},
        {"prompt": "Both", "label": ["bug", "billing"]},
        {"prompt": none, "label": []},
    ]
    cut = "on_overflow='truncate'"
    listed = "materialized='relama_classify', labels=['bug', 'billing'], multi_label=true"
    referred = f"{listed}, chat=false, batch_size=3, examples=relama.ref_to('examples')"
    desk.seed("examples", "prompt,label", [["Both", "bug"], ["Both", "billing"], ["Pay", "bug"]])
    desk.model("many", f"{many}, batch_size=4, threshold=0.001", QUERY)
    desk.model(
        "shown",
        f"{listed}, chat=false, examples={examples}, max_labels=1, threshold=0.01, {cut}",
        QUERY,
    )
    desk.model("referred", f"{referred}, instructions='Sort it.', threshold=0", QUERY)
    desk.build("examples", "many", "shown", "referred")
    assert "tokens that all prompts begin with are read once" in desk.output
    said = "\nSay of each label whether it is right for the text: Yes or No.\n\n"
    short = f"Labels:\n- bug\n- billing\n{said}"
    cases = {
        "many": (f"Labels:\n- billing: money\n- bug: {hostile}\n- a b\n{said}", list(labels)),
        "shown": (
            f"{short}Pay\nLabels:\nbug: No\nbilling: Yes\n\nBoth\nLabels:\nbug: Yes\nbilling: Yes"
            f"\n\n{none}\nLabels:\nbug: No\nbilling: No\n\n",
            ["bug", "billing"],
        ),
        "referred": (
            f"Sort it.\n\n{short}Both\nLabels:\nbug: Yes\nbilling: Yes\n\n"
            "Pay\nLabels:\nbug: Yes\nbilling: No\n\n",
            ["bug", "billing"],
        ),
    }
    overs = []
    for model, (before, texts) in cases.items():
        rows = desk.rows(
            f"select prompt, labels, probabilities, prompt_tokens from {model} order by id"
        )
        assert [row[0] for row in rows] == TICKETS
        for body, chosen, probabilities, count in rows:
            whole = f"{before}{body}\nLabels:\n"
            ids = (chat_ids if model == "many" else text_ids)(tokenizer, whole)
            over = max(0, len(ids) - (CONTEXT + 1 - len(text_ids(tokenizer, "billing: Yes"))))
            overs.append(over)
            begin = len(text_ids(tokenizer, before))
            ids = ids[:begin] + ids[begin + over :]
            right = [share(ids, tokenizer, [f"{t}: Yes", f"{t}: No"])[0] for t in texts]
            assert count == len(ids)
            assert list(probabilities) == texts
            assert list(probabilities.values()) == pytest.approx(right, rel=1e-3)
            order = sorted(texts, key=probabilities.get, reverse=True)
            kept = {"many": 0.001, "shown": 0.01, "referred": 0}[model]
            likely = [text for text in order if probabilities[text] >= kept]
            assert chosen == (likely[:1] if model == "shown" else likely)
    assert sum(over > 0 for over in overs) == 2

    # Another choice is made of probabilities that are there.
    desk.model("many", f"{many}, max_labels=2, threshold=0", QUERY)
    assert desk.build("many") == {"many": 0}
    for chosen, probabilities in desk.rows("select labels, probabilities from many"):
        assert chosen == sorted(probabilities, key=probabilities.get, reverse=True)[:2]
    desk.model("many", many.replace("money", "dues"), QUERY)
    assert desk.build("many") == {"many": len(TICKETS)}


def test_labels_and_completions_with_examples(
    either_desk: UserProject, tokenizer: ProjectTokenizer
) -> None:
    desk = either_desk
    hostile = "'{{ x }}"
    examples = [{"prompt": hostile, "label": "bug"}, {"prompt": "Pay", "label": "billing"}]
    labels = {"billing": "money", "bug": "it is broken"}
    kind = "materialized='relama_classify', unique_key='id'"
    desk.model("told", f"{kind}, labels={list(labels)}, instructions='Sort it.'", QUERY)
    desk.model("described", f"{kind}, labels={labels}, chat=false", QUERY)
    desk.model("shown", f"{kind}, labels={list(labels)}, examples={examples}", QUERY)
    desk.seed("pairs", "id,prompt,completion", [[2, "a", "b"], [1, hostile, "d"]])
    desk.model(
        "completed",
        "materialized='relama_complete', examples=relama.ref_to('pairs'), instructions='Do it.', "
        "max_tokens=3, chat=false, on_overflow='truncate'",
        f"{QUERY} union all select 99, repeat('long ', 300)",
    )
    desk.build("pairs", "told", "described", "shown", "completed")
    listed = "Labels:\n- billing: money\n- bug: it is broken\n\n"
    shown = f"{hostile}\nLabel:\nbug\n\nPay\nLabel:\nbilling\n\n"
    for model, before, after in (
        ("told", "Sort it.\n\n", ""),
        ("described", listed, "\nLabel:\n"),
        ("shown", shown, "\nLabel:\n"),
    ):
        ids_of = text_ids if model == "described" else chat_ids
        rows = desk.rows(f"select prompt, probabilities, label from {model} order by id")
        assert [row[0] for row in rows] == TICKETS
        for body, probabilities, label in rows:
            right = share(ids_of(tokenizer, before + body + after), tokenizer, list(labels))
            assert list(probabilities.values()) == pytest.approx(right, rel=1e-3)
            assert label == list(labels)[int(np.argmax(right))]
    before = f"Do it.\n\n{hostile}\nAnswer:\nd\n\na\nAnswer:\nb\n\n"
    rows = desk.rows(f"{ANSWERS} from completed order by id")
    for body, row in zip([*TICKETS, "long " * 300], rows, strict=True):
        head, tail = text_ids(tokenizer, before), text_ids(tokenizer, "\nAnswer:\n")
        content = text_ids(tokenizer, body)[-(CONTEXT - len(head) - len(tail)) :]
        assert row == expected(tokenizer, [*head, *content, *tail], 3)


def filtered(tokenizer: ProjectTokenizer, body: str, before: str = "") -> float:
    """The probability of Yes in a chat."""
    asked = f"{before}{body}\nIs it true that it's {{{{ late }}}}? Answer Yes or No:\n"
    return share(chat_ids(tokenizer, asked), tokenizer, [YES, NO])[0]


def test_a_filter_keeps_rows_and_asks_about_none_again(
    either_desk: UserProject, tokenizer: ProjectTokenizer
) -> None:
    desk = either_desk
    predicate = "predicate=\"it's {{ late }}\", unique_key='id'"
    kind = f"materialized='relama_filter', {predicate}"
    right = [filtered(tokenizer, body) for body in TICKETS]
    middle = float(np.median(right))
    extra = f"{QUERY} union all select 98, null union all select 99, ''"
    desk.model("kept", f"{kind}, threshold={middle}, batch_size=3", extra)
    everything = f"{kind}, threshold={middle}, keep='all', contract={{'enforced': true}}"
    desk.model("every", everything, extra)
    columns = {"id": "integer", "prompt": "varchar", "probability": "double"}
    columns |= {"is_match": "boolean", "prompt_tokens": "bigint"}
    listed = ", ".join(f"{{name: {key}, data_type: {columns[key]}}}" for key in columns)
    described = "{name: kept, description: of it, config: {persist_docs: {relation: true}}}"
    desk.write(
        "models/filters.yml",
        f"models:\n  - {described}\n  - {{name: every, columns: [{listed}]}}\n",
    )
    examples = [{"prompt": "a", "label": True}, {"prompt": "b", "label": "no"}]
    desk.model("shown", f"{kind}, examples={examples}, keep='all'", f"{QUERY} limit 2")
    desk.model("below", "materialized='table'", "select count(*) as n from {{ ref('kept') }}")
    assert desk.build("kept", "every", "shown", "below") == {"kept": 7, "every": 7, "shown": 2}
    assert "kept: 2 of 9 rows ask nothing" in desk.output
    rows = desk.rows("select prompt, probability, is_match from every where id < 90 order by id")
    assert [row[0] for row in rows] == TICKETS
    assert [row[1] for row in rows] == pytest.approx(right, rel=1e-3)
    assert [row[2] for row in rows] == [row[1] >= middle for row in rows]
    assert desk.rows("select id, is_match from every where id > 90 order by id") == [
        (98, None),
        (99, None),
    ]
    whole = "select id, prompt, probability, relama_hash from {} order by id"
    kept = desk.rows(whole.format("kept"))
    assert 0 < len(kept) < len(TICKETS)
    assert kept == desk.rows(whole.format("every where is_match"))
    assert desk.rows("from below") == [(len(kept),)]
    assert desk.rows("select comment from duckdb_views() where view_name = 'kept'") == [("of it",)]
    for body, probability in desk.rows("select prompt, probability from shown"):
        asked = "\nIs it true that it's {{ late }}? Answer Yes or No:\n"
        before = f"a{asked}Yes\n\nb{asked}No\n\n"
        assert probability == pytest.approx(filtered(tokenizer, body, before), rel=1e-3)

    # What was left out is not asked again; another threshold asks nothing, a new row itself.
    assert desk.build("kept", "every") == {"kept": 0, "every": 0}
    assert desk.rows(whole.format("kept")) == kept
    desk.model("kept", f"{kind}, threshold=0", f"{extra} union all select 7, 'new'")
    assert desk.build("kept") == {"kept": 1}
    assert [row[0] for row in desk.rows(whole.format("kept"))] == list(range(len(TICKETS) + 1))
    desk.model(
        "kept",
        f"{kind}, threshold=0",
        f"select *, 1.5 as more from ({extra}) as asked where id <> 0",
    )
    assert desk.build("kept") == {"kept": 0}
    assert desk.rows("select id from kept where more is null order by id") == [(0,), (7,)]
    assert desk.build("kept", arguments=["--full-refresh"]) == {"kept": 6}

    # A table of that name becomes the view, and a view of that name the table.
    desk.model("kept", "materialized='table'", QUERY)
    desk.build("kept")
    desk.model("kept", f"{kind}, threshold=0", extra)
    assert desk.build("kept") == {"kept": 1}
    desk.model("kept", "materialized='relama_embed'", f"{QUERY} limit 1")
    assert desk.build("kept") == {"kept": 1}


def embedding(tokenizer: ProjectTokenizer, text: str, pooling: str) -> np.ndarray:
    """The embedding of a text, by the oracle."""
    hidden = forward(CHECKPOINT.config, CHECKPOINT.tensors, text_ids(tokenizer, text)).final_norm
    hidden = hidden.astype(np.float64)
    pooled = hidden.mean(axis=0) if pooling == "mean" else hidden[-1]
    return np.asarray(pooled / np.linalg.norm(pooled))


def test_embeddings_of_the_last_token_and_similarities(
    either_desk: UserProject, tokenizer: ProjectTokenizer
) -> None:
    desk = either_desk
    desk.model("last", "materialized='relama_embed', pooling='last', batch_size=3", QUERY)
    targets = (
        "select t.id, t.body as prompt, o.body as target from {{ ref('tickets') }} as t "
        "inner join {{ ref('tickets') }} as o on o.id <= {} "
        "union all select 99, 'a', null union all select 98, '', 'b'"
    )
    for pooling in ("mean", "last"):
        desk.model(
            f"near_{pooling}",
            f"materialized='relama_similarity', batch_size=3, pooling='{pooling}'",
            targets.replace("{}", "1"),
        )
    long = "repeat('long ', 300)"
    desk.model(
        "too_long",
        "materialized='relama_similarity', unique_key='id'",
        f"select 1 as id, 'a' as prompt, {long} as target union all select 2, 'a', 'b'",
    )
    cut = "materialized='relama_similarity', on_overflow='truncate'"
    desk.model("cut", cut, f"select {long} as prompt, {long} as target")
    assert not desk.dbt("build", "--select", "last", "near_mean", "near_last", "too_long", "cut")
    pairs = 2 * len(TICKETS)
    assert desk.answered() == {"last": 7, "near_mean": pairs, "near_last": pairs, "cut": 1}
    assert "too_long: 1 of" in desk.output
    assert '"id" 1: The prompt has' in desk.output
    assert desk.rows("select id from too_long") == [(2,)]
    assert desk.rows("select similarity from cut") == [(pytest.approx(1),)]
    for prompt, vector in desk.rows("select prompt, embedding from last"):
        assert vector == pytest.approx(embedding(tokenizer, prompt, "last").tolist(), abs=1e-4)
    for pooling in ("mean", "last"):
        rows = desk.rows(f"select prompt, target, similarity from near_{pooling} where id < 90")
        assert len(rows) == pairs
        for prompt, target, similarity in rows:
            right = embedding(tokenizer, prompt, pooling) @ embedding(tokenizer, target, pooling)
            assert similarity == pytest.approx(right, abs=1e-4)
        nothing = f"select id, similarity from near_{pooling} where id > 90 order by id"
        assert desk.rows(nothing) == [(98, None), (99, None)]
    desk.model(
        "near_mean",
        "materialized='relama_similarity', batch_size=3",
        targets.replace("{}", "2"),
    )
    assert desk.build("near_mean") == {"near_mean": len(TICKETS)}


#: A materialization, its config, and what is said of it.
BAD = {
    "threshold": (
        "filter",
        "predicate='x', threshold=1.5",
        "threshold must be a number of at least 0",
    ),
    "text": (
        "filter",
        "predicate='x', threshold='high'",
        "threshold must be a number of at least 0",
    ),
    "keep": ("filter", "predicate='x', keep='some'", "keep must be 'matching' or 'all'"),
    "missing": ("filter", "threshold=0.5", "predicate must be a text such as"),
    "empty": ("filter", "predicate=' '", "predicate must be a text such as"),
    "verdict": (
        "filter",
        "predicate='x', examples=[{'prompt': 'a', 'label': 'maybe'}]",
        'examples have the label "maybe", which is not among true, false, Yes and No.',
    ),
    "asks": (
        "filter",
        "predicate='x', labels=['a', 'b']",
        "'labels' is no setting of relama_filter",
    ),
    "share": (
        "classify",
        "labels=['a', 'b'], multi_label=true, threshold=-0.1",
        "threshold must be a number of at least 0 and at most 1",
    ),
    "most": (
        "classify",
        "labels=['a', 'b'], multi_label=true, max_labels=0",
        "max_labels must be a whole number of at least 1",
    ),
    "alone": (
        "classify",
        "labels=['a', 'b'], threshold=0.1",
        "threshold must be absent where multi_",
    ),
    "alone_too": ("classify", "labels=['a', 'b'], max_labels=1", "max_labels must be absent where"),
    "flag": ("classify", "labels=['a', 'b'], multi_label=1", "multi_label must be true or false"),
    "trimmed": ("classify", "labels=['a', 'a ']", "all different without the white space around"),
    "none": ("classify", "labels=[], multi_label=true", "labels must be at least one text"),
    "described": (
        "classify",
        "labels={'a': 1, 'b': 2}",
        "labels must be a mapping of texts to texts",
    ),
    "instructions": (
        "classify",
        "labels=['a', 'b'], instructions=''",
        "instructions must be a text that is not empty",
    ),
    "unlabelled": (
        "classify",
        "labels=['a', 'b'], examples=[{'prompt': 'x'}]",
        "examples must be a list of mappings with a prompt and a label",
    ),
    "no_label": (
        "classify",
        "labels=['a', 'b'], examples=[{'prompt': 'x', 'label': none}]",
        'examples have a prompt without a label; it begins "x"',
    ),
    "foreign_label": (
        "classify",
        "labels=['a', 'b'], examples=[{'prompt': 'x', 'label': 'c'}]",
        'examples have the label "c", which is not among the labels ["a", "b"]',
    ),
    "no_mapping": ("classify", "labels=['a', 'b'], examples='x'", "examples must be a list of map"),
    "no_prompt": (
        "complete",
        "examples=[{'prompt': '', 'completion': 'x'}]",
        "examples have a prompt that is empty",
    ),
    "no_completion": (
        "complete",
        "examples=[{'prompt': 'x', 'completion': 1}]",
        "examples have a completion that is no text: 1",
    ),
    "columns": (
        "complete",
        "examples=relama.ref_to('tickets')",
        "the examples 'tickets' must have the columns prompt and completion; they have id, body",
    ),
    "no_rows": (
        "complete",
        "examples=relama.ref_to('nobody')",
        "the examples 'nobody' have no rows",
    ),
    "null_label": (
        "classify",
        "labels=['a', 'b'], examples=relama.ref_to('half')",
        "examples have a prompt without a label",
    ),
    "pooling": ("embed", "pooling='max'", "pooling must be 'mean' or 'last'"),
    "pool": ("similarity", "pooling=1", "pooling must be 'mean' or 'last'"),
    "chat": (
        "similarity",
        "chat=true",
        "'chat' is no setting of relama_similarity, but of relama_",
    ),
    "target": (
        "similarity",
        "pooling='last'",
        "its query must have a column 'target'; it has prompt",
    ),
    "nearly": ("filter", "predicat='x'", "no setting 'predicat'; is it predicate?"),
}


def test_bad_input_gets_one_clear_sentence(desk: UserProject) -> None:
    columns = "'a' as prompt, 'b' as completion, null::varchar as label"
    desk.model("nobody", "materialized='ephemeral'", f"select {columns} where false")
    desk.model("half", "materialized='ephemeral'", f"select {columns}")
    for name, (kind, config, _) in BAD.items():
        desk.model(f"bad_{name}", f"materialized='relama_{kind}', {config}", "select 'a' as prompt")
    match = "materialized='relama_filter', predicate='x', keep='all'"
    desk.model("bad_taken", match, "select 'a' as prompt, 1 as is_match")
    desk.model("bad_column", match, "select 'a' as body")
    assert not desk.dbt("build", "--select", "path:models/bad_*")
    sentences = {name: sentence for name, (_, _, sentence) in BAD.items()}
    sentences["taken"] = "'is_match' is a column of the answer"
    sentences["column"] = "its query must have a column 'prompt'; it has body"
    for name, sentence in sentences.items():
        assert re.search(f"bad_{name}: .*{re.escape(sentence)}", desk.output), (name, desk.output)
    log = (desk.directory / "logs" / "dbt.log").read_text()
    assert "execute relama_forward" not in log[log.rindex("Running with dbt") :]


def test_keys_of_dbt_are_known() -> None:
    """The macro lists dbt's own: a field that a new version has would be refused."""
    text = (ROOT / "macros" / "rows" / "options.sql").read_text()
    listed = set(re.findall(r"'([\w-]+)'", text[text.index("macro _foreign_options") :]))
    names = {field.name for field in fields(ModelConfig) if not field.name.startswith("_")}
    assert names <= listed
