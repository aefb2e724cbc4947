"""Every row accounted for: what fails, what it cost, and how much a run may do."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from relama.checkpoint import open_checkpoint
from relama.project.manifest import load_project
from relama.project.writer import write_project
from tests.integration.conftest import TICKETS
from tests.integration.test_rows import CONTEXT, build_and_kill
from tests.integration.test_rows_chat import MOODY, lacking_a_token
from tests.user_project import UserProject

QUERY = "select id, body as prompt from {{ ref('tickets') }}"
CONFIG = "materialized='relama_complete', max_tokens=3, unique_key='id'"
#: Ten rows, of which four cannot be answered.
BAD = (
    "select id, prompt from (values (0, 'a'), (1, repeat('abcdefgh', 60)), (2, null), (3, ''), "
    "(4, 'b'), (5, repeat('x y ', 90)), (6, 'c'), (7, 'd'), (8, 'e'), (9, 'f')) as t (id, prompt)"
)
TOO_LONG = rf"The prompt has \d+ tokens, and there is room for {CONTEXT}"


def test_rows_that_cannot_be_answered(desk: UserProject) -> None:
    for on_error in ("fail", "null", "capture"):
        desk.model(f"on_{on_error}", f"{CONFIG}, on_error='{on_error}'", BAD)
    desk.model("labels", "materialized='relama_classify', labels=['a', 'b'], on_error='null'", BAD)
    capture = "on_error='capture'"
    condition = f"materialized='relama_filter', predicate='it is so', threshold=0, {capture}"
    desk.model("so", condition, BAD)
    pairs = BAD.replace("id, prompt from", "id, prompt, 'a' as target from")
    desk.model("near", f"materialized='relama_similarity', {capture}", pairs)
    assert not desk.dbt("build", "--select", "on_*", "labels", "so", "near")
    assert "on_fail: 2 of 10 rows have no answer" in desk.output
    assert '"id" 1: The prompt has' in desk.output and " 5: The prompt has" in desk.output
    assert "on_capture: 2 of 10 rows have no answer; their column error says why" in desk.output
    answered = [(i,) for i in (0, 4, 6, 7, 8, 9)]
    assert desk.rows("select id from on_fail where completion is not null order by id") == answered
    assert desk.rows("select id from on_fail where id in (1, 5)") == []
    for table in ("on_null", "on_capture"):
        query = f"select id from {table} where completion is not null order by id"
        assert desk.rows(query) == answered
        assert desk.rows(f"select count(*) from {table}") == [(10,)]
    assert desk.rows("select count(*), count(label) from labels") == [(10, 6)]
    assert desk.rows("select count(*) from so") == [(6,)]
    assert desk.rows("select count(*), count(error) from so__relama_answers") == [(10, 4)]
    assert desk.rows("select count(similarity), count(error) from near") == [(6, 4)]
    errors = dict(desk.rows("select id, error from on_capture where error is not null"))
    assert errors.keys() == {1, 2, 3, 5}
    assert "The prompt has" in errors[1] and f"there is room for {CONTEXT}" in errors[5]
    assert errors[2] == errors[3] == "Nothing is asked: the prompt is NULL or empty."
    usage = (
        "select model, rows_asked, rows_answered, rows_failed, rows_from_cache from relama_usage"
    )
    assert set(desk.rows(usage)) == {
        *((f"model.desk.on_{on_error}", 8, 6, 2, 0) for on_error in ("fail", "null", "capture")),
        *((f"model.desk.{name}", 8, 6, 2, 0) for name in ("labels", "so", "near")),
    }
    # The cause is gone, and what has failed is asked again; nothing else is.
    for on_error in ("fail", "null", "capture"):
        config = f"{CONFIG}, on_error='{on_error}', on_overflow='truncate'"
        desk.model(f"on_{on_error}", config, BAD)
    desk.model("on_capture", f"{CONFIG}, on_error='capture'", BAD.replace("60", "1"))
    assert desk.build("on_capture") == {"on_capture": 1}
    assert desk.rows("select id from on_capture where error is not null order by id") == [
        (2,),
        (3,),
        (5,),
    ]
    # Another way of failing keeps the answers, and a column that there is.
    desk.model("on_capture", CONFIG, BAD.replace("60", "1").replace("90", "1"))
    assert desk.build("on_capture") == {"on_capture": 1}
    assert desk.rows("select count(completion), count(error) from on_capture") == [(8, 0)]
    desk.model("on_null", f"{CONFIG}, on_error='capture'", BAD)
    assert desk.build("on_null") == {"on_null": 0}
    assert desk.rows("select count(error), count(completion) from on_null") == [(4, 6)]


#: Rows that cannot be answered, each for a reason of its own, and the reason.
WAYS = {
    3: ("long " * 400, r"The prompt has at least \d+ tokens, and there is room for 256; "),
    17: ("a forbidden word", "the model's chat template refuses these messages: not that; "),
    31: ("the tool", r"The token id (\d+) is outside the vocabulary of \1[.]"),
    44: ("lower <|IM_END|>", "the model's chat template does not keep as text what these "),
    58: ("half of it", "the model's chat template fails on these messages: UnicodeEncodeError: "),
    72: ("divide it", "the model's chat template fails on these messages: ZeroDivisionError: "),
    99: ("append it", "the model's chat template fails on these messages: SecurityError: "),
}


def test_each_of_seven_bad_rows_has_its_own_reason(tmp_path: Path) -> None:
    template = (
        "{% set d = messages[-1].content %}{% if 'divide' in d %}{{ 1 // 0 }}"
        f"{{% elif 'append' in d %}}{{{{ messages.append(d) }}}}{{% endif %}}{MOODY}"
    )
    made, _ = lacking_a_token(tmp_path, template)
    write_project(tmp_path / "moody", open_checkpoint(made))
    (tmp_path / "desk").mkdir()
    desk = UserProject(tmp_path / "desk", load_project(tmp_path / "moody"))
    rows = {i: f"question {i}" for i in range(100)} | {i: text for i, (text, _) in WAYS.items()}
    desk.seed("tickets", "id,body", list(rows.items()))
    ways = ("capture", "fail", "null")
    for way in ways:
        desk.model(f"on_{way}", f"{CONFIG.replace('=3', '=2')}, on_error='{way}'", QUERY)
    assert desk.dbt("build", "--exclude", "on_*"), desk.output

    def bad_ids(table: str) -> list[int]:
        query = f"select id from {table} where completion is null order by id"
        return [i for (i,) in desk.rows(query)]

    def named_ids() -> list[int]:
        """The keys of the rows whose reason the model that fails says."""
        reasons = {i: re.search(f" {i}: {text}", desk.output) for i, (_, text) in WAYS.items()}
        return [i for i, reason in reasons.items() if reason]

    assert desk.build("on_capture", "on_null") == {"on_capture": 93, "on_null": 93}
    assert not desk.dbt("build", "--select", "on_fail")
    assert "on_fail: 7 of 100 rows have no answer" in desk.output
    assert named_ids() == bad_ids("on_capture") == bad_ids("on_null") == list(WAYS)
    good = [(i,) for i in range(100) if i not in WAYS]
    assert desk.rows("select id from on_fail where completion is not null order by id") == good
    assert desk.rows("select count(*) from on_fail") == [(93,)]
    errors = dict(desk.rows("select id, error from on_capture where error is not null"))
    assert errors.keys() == WAYS.keys() and len(set(errors.values())) == len(WAYS)
    for i, (_, reason) in WAYS.items():
        assert re.match(reason, errors[i]) and ".;" not in errors[i], errors[i]

    # Three of them can be answered now.
    mended = [3, 44, 72]
    tables = {way: f"from on_{way} where id <> all({mended}) order by id" for way in ways}
    before = {way: desk.rows(query) for way, query in tables.items()}
    rows |= {i: f"question {i}" for i in mended}
    desk.seed("tickets", "id,body", list(rows.items()))
    desk.build("tickets")
    assert desk.build("on_capture", "on_null") == {"on_capture": 3, "on_null": 3}
    assert not desk.dbt("build", "--select", "on_fail")
    assert "on_fail: 4 of 100 rows have no answer" in desk.output
    left = [i for i in WAYS if i not in mended]
    assert named_ids() == bad_ids("on_capture") == bad_ids("on_null") == left
    for way, query in tables.items():
        assert desk.rows(query) == before[way]
        found = desk.rows(f"select count(completion) from on_{way} where id = any({mended})")
        assert found == [(3,)]

    # A row that has an answer and can have none any more: where the model fails it stays.
    answered = desk.rows("select prompt, completion, error is null from on_capture where id = 5")
    desk.seed("tickets", "id,body", list((rows | {5: "now forbidden"}).items()))
    desk.build("tickets")
    assert desk.build("on_capture") == {"on_capture": 0}
    assert not desk.dbt("build", "--select", "on_fail")
    assert " 5: the model's chat template refuses these messages: not that; " in desk.output
    assert desk.rows("select prompt, completion, true from on_fail where id = 5") == answered
    now = desk.rows("select prompt, completion, error is null from on_capture where id = 5")
    assert now == [("now forbidden", None, False)]


def test_a_run_ends_where_its_budget_does(desk: UserProject) -> None:
    desk.model("whole", CONFIG, QUERY)
    desk.model("rows", f"{CONFIG}, max_rows=5", QUERY)
    whole = desk.build("whole", "rows")["whole"]
    assert whole == len(TICKETS) > 5
    assert f"rows: {whole - 5} of {whole} rows are left for the next run" in desk.output
    assert desk.rows("select count(*) from rows") == [(5,)]
    done = 5
    while done < whole:
        done += desk.build("rows")["rows"]
    columns = "id, completion, finish_reason, completion_tokens, relama_hash"
    query = f"select {columns} from {{}} order by id"
    assert desk.rows(query.format("rows")) == desk.rows(query.format("whole"))
    desk.model("nothing", f"{CONFIG}, max_seconds=0", QUERY)
    desk.model("labels", "materialized='relama_classify', labels=['a', 'b'], max_seconds=0", QUERY)
    assert desk.build("nothing", "labels") == {"nothing": 0, "labels": 0}
    assert "rows are left for the next run: max_seconds is 0" in desk.output
    assert desk.rows("select count(*) from nothing") == desk.rows("select count(*) from labels")
    assert desk.rows("select count(*) from nothing") == [(0,)]


def test_seconds_of_a_budget(desk: UserProject) -> None:
    """All runs together answer what one does; a slow machine may finish no row within one."""
    rows = [(i, f"ticket number {i} of many") for i in range(120)]
    desk.seed("tickets", "id,body", rows)
    config = f"{CONFIG.replace('=3', '=12')}, batch_size=4"
    desk.model("whole", f"{config}, max_seconds=1000", QUERY)
    desk.model("parts", f"{config}, max_seconds=3", QUERY)
    desk.build("tickets", "whole")
    runs = done = 0
    while done < len(rows):
        if runs == 2:
            desk.model("parts", config, QUERY)
        done += desk.build("parts")["parts"]
        assert runs == 2 or late_steps(desk, 3) <= 1
        runs += 1
    assert runs > 1
    query = "select id, completion, finish_reason, relama_hash from {} order by id"
    assert desk.rows(query.format("parts")) == desk.rows(query.format("whole"))
    usage = (
        "select sum(rows_answered), sum(prompt_tokens), sum(completion_tokens), "
        "sum(prompt_tokens_not_shared) < sum(prompt_tokens), count(*), sum(seconds) > count(*) "
        "from relama_usage where model = 'model.desk.parts'"
    )
    ((count, prompt, completion, shares, logged, takes),) = desk.rows(usage)
    assert (count, shares, logged, takes) == (len(rows), True, runs, True)
    columns = "sum(prompt_tokens), sum(completion_tokens)"
    assert desk.rows(f"select {columns} from parts") == [(prompt, completion)]
    by_day = (
        "select sum(rows_answered), sum(runs) from relama_usage_by_day where model like '%parts'"
    )
    assert desk.rows(by_day) == [(len(rows), runs)]


@pytest.mark.usefixtures("as_programs")
def test_what_a_killed_run_has_answered_is_in_the_log(desk: UserProject) -> None:
    """Three runs, of which the first is killed and the second has a budget."""
    desk.seed("tickets", "id,body", [(i, f"ticket {i} of many" * (1 + i % 3)) for i in range(32)])
    desk.build("tickets")
    config = f"{CONFIG.replace('=3', '=9')}, batch_size=4"
    desk.model("answers", config, QUERY)
    build_and_kill(desk, "answers", 4)
    ((killed,),) = desk.rows("select count(*) from answers")
    assert 4 <= killed < 32
    desk.model("answers", f"{config}, max_rows=5", QUERY)
    assert desk.build("answers") == {"answers": 5}
    desk.model("answers", config, QUERY)
    assert desk.build("answers") == {"answers": 27 - killed}
    columns = "sum(prompt_tokens), sum(completion_tokens)"
    (spent,) = desk.rows(f"select count(completion), {columns} from answers")
    assert spent[0] == 32
    used = f"select sum(rows_answered), {columns} from relama_usage where model like '%answers'"
    assert desk.rows(used) == [spent]
    runs = desk.rows(
        "select rows_asked, rows_from_cache, rows_answered from relama_usage "
        "where model like '%answers' order by started_at"
    )
    assert runs == [(32, 0, killed), (32, killed, 5), (32, killed + 5, 27 - killed)]


def late_steps(desk: UserProject, seconds: float) -> int:
    """Steps of the last run, of one model, that began when so many seconds were over."""
    log = (desk.directory / "logs" / "dbt.log").read_text()
    steps = 0
    now = over = datetime.max
    for line in log[log.rindex("Running with dbt") :].splitlines():
        if time := re.match(r"\d\d:\d\d:\d\d\.\d{6}", line):
            now = datetime.strptime(time[0], "%H:%M:%S.%f")
        if line.startswith("create temporary table asked_row"):
            over = now + timedelta(seconds=seconds)
        steps += "execute relama_forward" in line and now > over
    return steps


def test_no_step_begins_when_the_seconds_are_over(desk: UserProject) -> None:
    """Nor one of many labels, or one that reads what all prompts begin with."""
    labels = [f"{i:03} is it" for i in range(300)]
    kinds = {
        "labelled": (8, f"classify', chat=false, labels={labels}"),
        "completed": (2, "complete', max_tokens=200"),
        "begun": (2, f"complete', max_tokens=2, max_batch_tokens=1, system='{'be kind ' * 25}'"),
        "near": (2, "similarity', max_batch_tokens=1"),
    }
    query = QUERY.replace("prompt", "prompt, body || ' or not' as target")
    for name, (seconds, kind) in kinds.items():
        config = f"materialized='relama_{kind}, on_overflow='truncate', max_seconds={seconds}"
        desk.model(name, config, query)
        desk.build(name)
        assert f"rows are left for the next run: max_seconds is {seconds}" in desk.output
        assert late_steps(desk, seconds) <= 1, name


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("on_error='skip'", "on_error must be 'fail', 'null' or 'capture'"),
        ("max_rows=0", "max_rows must be a whole number of at least 1"),
        ("max_seconds=-1", "max_seconds must be a number of at least 0"),
        ("max_seconds='20'", "max_seconds must be a number of at least 0"),
    ],
)
def test_bad_settings(desk: UserProject, setting: str, sentence: str) -> None:
    desk.model("bad", f"{CONFIG}, {setting}", QUERY)
    assert not desk.dbt("build", "--select", "bad")
    assert f"bad: {sentence}" in desk.output


#: Of each way of being wrong: a materialization, its config, and the setting that is named.
_SCHEMA = "json_schema={{'type': 'object', 'properties': {{'a': {}}}, 'required': ['a']}}"
_PAIR = "labels=['a', 'b']"
WRONG = {
    "bounds": (
        "extract",
        "fields={'a': {'type': 'integer', 'minimum': 2, 'maximum': 1}}",
        "fields",
    ),
    "lengths": (
        "extract",
        _SCHEMA.format("{'type': 'string', 'minLength': 2, 'maxLength': 1}"),
        "json_schema",
    ),
    "nothing": ("extract", _SCHEMA.format("{'type': 'string', 'enum': [1]}"), "json_schema"),
    "unspelled": ("extract", _SCHEMA.format("{'const': 'né'}"), "json_schema"),
    "letter": ("complete", "regex='é'", "regex"),
    "recursive": ("complete", _SCHEMA.format("{'$ref': '#/properties/a'}"), "json_schema"),
    "ring": (
        "extract",
        "json_schema={'$defs': {'a': {'$ref': '#/$defs/b'}, 'b': {'$ref': '#/$defs/a'}}, "
        "'$ref': '#/$defs/a'}",
        "json_schema",
    ),
    "keyword": ("complete", _SCHEMA.format("{'type': 'null', 'iff': 1}"), "json_schema"),
    "no_type": ("extract", "fields={'a': 'varchr'}", "fields"),
    "no_decimal": ("extract", "fields={'a': 'decimal(99,2)'}", "fields"),
    "no_json": ("extract", _SCHEMA.format("{'type': 'date'}"), "json_schema"),
    "above": ("filter", "predicate='x', threshold=1.01", "threshold"),
    "below": ("classify", f"{_PAIR}, multi_label=true, threshold=-1", "threshold"),
    "flag": ("filter", "predicate='x', threshold=true", "threshold"),
    "trimmed": ("classify", "labels=['a', 'a ']", "labels"),
    "trimmed_keys": ("classify", "labels={'a': 'x', ' a': 'y'}, multi_label=true", "labels"),
    "trimmed_rows": ("classify", "labels=relama.ref_to('alike')", "labels"),
    "empty_label": ("classify", "labels=['a', ' ']", "labels"),
    "begins": ("classify", "labels=['bug', 'bug report']", "labels"),
    "unlabelled": ("classify", f"{_PAIR}, examples=[{{'prompt': 'x'}}]", "examples"),
    "null_label": (
        "classify",
        f"{_PAIR}, multi_label=true, examples=[{{'prompt': 'x', 'label': none}}]",
        "examples",
    ),
    "no_verdict": ("filter", "predicate='x', examples=[{'prompt': 'x'}]", "examples"),
    "no_column": ("classify", f"{_PAIR}, examples=relama.ref_to('tickets')", "examples"),
    **{
        f"option_of_{kind}": (kind, f"{needed}thresholt=1", "thresholt")
        for kind, needed in {
            "complete": "",
            "extract": "fields={'a': 'date'}, ",
            "classify": f"{_PAIR}, ",
            "filter": "predicate='x', ",
            "score": "",
            "embed": "",
            "similarity": "",
        }.items()
    },
}


def test_what_is_wrong_is_one_sentence_with_the_name_of_the_setting(desk: UserProject) -> None:
    """All of it is seen before the language model computes anything."""
    desk.model("alike", "materialized='ephemeral'", "select unnest(['a', 'a ']) as label")
    query = "select 'a' as prompt, 'b' as target"
    for name, (kind, config, _) in WRONG.items():
        desk.model(f"wrong_{name}", f"materialized='relama_{kind}', {config}", query)
    assert not desk.dbt("build", "--select", "path:models/wrong_*")
    results = json.loads((desk.directory / "target" / "run_results.json").read_text())["results"]
    said = {r["unique_id"].split(".")[-1]: r["message"] for r in results if r["status"] == "error"}
    assert said.keys() == {f"wrong_{name}" for name in WRONG}
    for name, (_, _, setting) in WRONG.items():
        title, sentence, *rest = said[f"wrong_{name}"].split("\n")
        assert title.startswith("Compilation Error in model"), said[f"wrong_{name}"]
        assert re.fullmatch(rf" *wrong_{name}: .*\b{setting}\b.*[.]", sentence), sentence
        assert not rest[0].strip() and all(" macro " in line for line in rest[1:-1]), rest
    log = (desk.directory / "logs" / "dbt.log").read_text()
    assert "execute relama_forward" not in log[log.rindex("Running with dbt") :]
