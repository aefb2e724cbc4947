"""One answer per group of rows, in levels of prompts, against the oracle in numpy."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from relama.runtime.tokenizer import ProjectTokenizer
from tests import processes
from tests.integration.test_rows import (
    ANSWERS,
    CONTEXT,
    build_natively,
    chat_ids,
    expected,
)
from tests.user_project import UserProject

#: Instructions so long that a prompt has room for few texts, and fewer answers.
INSTRUCTIONS = "Summarise what they say. " * 7
CONFIG = (
    f"materialized='relama_aggregate', group_by=['product'], instructions={INSTRUCTIONS!r}, "
    "max_tokens=8, batch_size=64"
)
QUERY = "select id, product, body as prompt from {{ ref('reviews') }}"

Review = tuple[int, str, str]


def reviews(count: int, product: str = "app") -> list[Review]:
    return [(i, product, f"r{i * 7919 % 10007}") for i in range(count)]


def seed(desk: UserProject, rows: Iterable[Review]) -> None:
    """Writes the seed, which the next build loads."""
    desk.seed("reviews", "id,product,body", list(rows))


def build(desk: UserProject, *models: str) -> Mapping[str, int]:
    """Builds models and the seed that they read."""
    return desk.build("reviews", *models)


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def tree(desk: UserProject, model: str) -> list[tuple[object, ...]]:
    """The prompts of all levels and their answers, without what rounding changes in a batch."""
    return desk.rows(
        "select product, level, cast(inputs as varchar), prompt, completion, relama_hash "
        f"from {model}__relama_levels order by all"
    )


@pytest.fixture(scope="module")
def tokenizer(language_model: Path) -> ProjectTokenizer:
    return ProjectTokenizer(language_model)


@pytest.fixture(scope="module")
def built(built: UserProject) -> UserProject:
    """The same with native kernels, which are faster."""
    build_natively(built)
    return built


def check_tree(desk: UserProject, model: str, rows: list[Review]) -> int:
    """Every text, and every answer but the last, is in exactly one prompt. Returns the levels."""
    prompts = desk.rows(
        "select level, inputs, prompt, relama_hash, completion, prompt_tokens "
        f"from {model}__relama_levels"
    )
    texts = {md5(body): body for _, _, body in rows}
    first = [digest for level, inputs, *_ in prompts if level == 1 for digest in inputs]
    assert sorted(first) == sorted(md5(body) for _, _, body in rows)
    merged = [digest for level, inputs, *_ in prompts if level > 1 for digest in inputs]
    answers = {digest: answer for _, _, _, digest, answer, _ in prompts}
    ((last, levels),) = desk.rows(f"select completion, levels from {model}")
    (top,) = [digest for level, _, _, digest, _, _ in prompts if level == levels]
    assert sorted([*merged, top]) == sorted(digest for _, _, _, digest, _, _ in prompts)
    assert last == answers[top]
    for level, inputs, prompt, _, _, prompt_tokens in prompts:
        known = texts if level == 1 else answers
        assert prompt == "\n\n".join(known[digest] for digest in inputs)
        assert prompt_tokens <= CONTEXT - 8 + 1
        assert level == 1 or len(inputs) > 1
    return int(levels)


def test_five_hundred_rows_in_levels(desk: UserProject, tokenizer: ProjectTokenizer) -> None:
    rows = reviews(500)
    seed(desk, rows)
    ordered = f"{CONFIG}, order_by='id'"
    desk.model("digested", CONFIG, QUERY)
    desk.model("ordered", ordered, QUERY)
    count = build(desk, "digested", "ordered")
    levels = {model: check_tree(desk, model, rows) for model in count}
    assert min(levels.values()) >= 5
    for model in count:
        prompts = f"select count(distinct relama_hash) from {model}__relama_levels"
        assert desk.rows(prompts) == [(count[model],)]
    bodies = {md5(body): i for i, _, body in rows}
    for (inputs,) in desk.rows("select inputs from ordered__relama_levels where level = 1"):
        first = bodies[inputs[0]]
        assert [bodies[digest] for digest in inputs] == [*range(first, first + len(inputs))]
    # The same prompts in relama_complete, and some of them in numpy.
    desk.model(
        "again",
        f"materialized='relama_complete', instructions={INSTRUCTIONS!r}, max_tokens=8",
        "-- depends_on: {{ ref('digested') }}\n"
        "select level, prompt from digested__relama_levels where level > 2",
    )
    build(desk, "again")
    columns = "level, prompt, completion, finish_reason, prompt_tokens, completion_tokens"
    assert desk.rows(f"select {columns} from again order by all") == desk.rows(
        f"select {columns} from digested__relama_levels where level > 2 order by all"
    )
    for level in (1, 2, levels["digested"]):
        ((prompt, *answer),) = desk.rows(
            ANSWERS.replace("select", "select prompt,")
            + f" from digested__relama_levels where level = {level} order by prompt limit 1"
        )
        ids = chat_ids(tokenizer, f"{INSTRUCTIONS}\n\n{prompt}")
        assert tuple(answer) == expected(tokenizer, ids, 8)
    # Nothing has changed.
    assert build(desk, "digested", "ordered") == {"digested": 0, "ordered": 0}
    # One row has another text: one prompt of each level, at most.
    before = {model: {row[-1] for row in tree(desk, model)} for model in count}
    changed = [(i, product, "r!" if i == 250 else body) for i, product, body in rows]
    seed(desk, changed)
    answered = build(desk, "digested", "ordered")
    assert answered["ordered"] <= levels["ordered"]
    # By digest it goes from one place and comes to another.
    assert answered["digested"] <= 2 * levels["digested"]
    for model in count:
        check_tree(desk, model, changed)
        assert len({row[-1] for row in tree(desk, model)} - before[model]) == answered[model]
    # One row is added.
    seed(desk, [*rows, (250, "app", "one more")])
    added = build(desk, "digested", "ordered")
    for model in count:
        check_tree(desk, model, [*rows, (250, "app", "one more")])
        assert 0 < added[model] <= levels[model] + 1


#: A setting of a quick model of small groups, whose prompts hold two or three texts.
SMALL = CONFIG.replace("=64", "=16").replace("=8", "=3").replace("say. ", "say.  ")


def test_what_is_left_goes_on(desk: UserProject) -> None:
    """Runs that are killed or end with their budget, together, are one run."""
    rows = [*reviews(50), *((100 + i, "web", f"w{i}") for i in range(4)), (200, "box", "one")]
    seed(desk, rows)
    for model in ("whole", "killed"):
        desk.model(model, SMALL, QUERY)
    desk.model("parts", f"{SMALL}, max_rows=7", QUERY)
    whole = build(desk, "whole")["whole"]
    assert whole > 14
    parts: list[int] = []
    while not parts or parts[-1] == 7:
        parts.append(build(desk, "parts")["parts"])
        left = "of 3 groups are left for the next run: max_rows is 7."
        assert (left in desk.output) == (parts[-1] == 7), desk.output
    assert sum(parts) == whole
    with (
        processes.as_it_is(),
        subprocess.Popen(
            desk.command("--no-use-colors", "build", "--select", "killed"),
            cwd=desk.directory,
            env=desk.environment,
            stdout=subprocess.DEVNULL,
        ) as process,
    ):
        log = desk.directory / "logs" / "dbt.log"
        written = 'insert into "desk"."main"."killed__relama_levels"'
        before = log.read_text().count(written)
        while log.read_text().count(written) < before + 5:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    ((kept,),) = desk.rows("select count(distinct relama_hash) from killed__relama_levels")
    assert 0 < kept < whole
    assert build(desk, "killed") == {"killed": whole - kept}
    # A change in it, and its undoing, are runs that leave nothing behind.
    seed(desk, [*rows[:-1], (200, "box", "two"), (201, "box", "one")])
    assert build(desk, "killed")["killed"] == 1
    seed(desk, rows)
    build(desk, "killed")
    groups = "select * exclude (logprob) from {} order by product"
    for model in ("parts", "killed"):
        assert tree(desk, model) == tree(desk, "whole")
        assert desk.rows(groups.format(model)) == desk.rows(groups.format("whole"))
    usage = (
        "select sum(rows_answered), sum(rows_failed), sum(rows_asked - rows_from_cache) >= {} "
        "from relama_usage where model = 'model.desk.parts'"
    )
    assert desk.rows(usage.format(whole)) == [(whole, 0, True)]
    desk.model("seconds", f"{SMALL}, max_seconds=0", QUERY)
    assert build(desk, "seconds") == {"seconds": 0}
    assert "seconds: 3 of 3 groups are left for the next run: max_seconds is 0" in desk.output


def test_groups_of_any_columns(desk: UserProject, tokenizer: ProjectTokenizer) -> None:
    """NULL is a group, values are of any type, and names are anything."""
    query = (
        "select *, 'it' as \"relama__group\" from (values "
        "('a', [1, null], 2.5, 'first'), ('a', [1, null], 2.5, 'second'), "
        "(null, [1, null], 2.5, 'third'), (null, null, null, 'fourth'), "
        "(null, null, null, null), ('a', null, 2.5, null), ('a', null, 2.5, ''), "
        "('A', null, 2.5, 'x'), ('b', null, 2.5, '  ')) "
        """as t ("it's ""a"" {{ '{{ name }}' }}", "list", "Amount", prompt)"""
    )
    keys = """['it\\'s "a" {{ name }}', 'LIST', '"amount"']"""
    config = f"materialized='relama_aggregate', group_by={keys}, instructions='Sum {{{{ up }}}}.'"
    config += ", max_tokens=3, order_by=['prompt'], system='Be brief.', stop='zzz'"
    desk.model("kinds", f"{config}, on_error='capture'", query)
    assert build(desk, "kinds") == {"kinds": 5}
    assert "kinds: 1 of 6 groups ask nothing (the prompt is NULL or empty)" in desk.output
    rows = desk.rows("select * exclude (logprob, relama_hash) from kinds order by all")
    prompts = {
        ("A", None): "x",
        ("a", "l"): "first\n\nsecond",
        ("b", None): "  ",
        (None, "l"): "third",
        (None, None): "fourth",
    }
    nothing = "Nothing is asked: the prompt is NULL or empty."
    assert len(rows) == 6
    for name, values, amount, row_count, *answer, levels, error in rows:
        prompt = prompts.get((name, values and "l"))
        assert amount is None or float(amount) == 2.5
        if prompt is None:
            assert (name, values, row_count) == ("a", None, 2)
            assert [*answer, levels, error] == [None] * 5 + [nothing]
            continue
        assert levels == 1 and error is None
        assert row_count == {"first\n\nsecond": 2, "fourth": 2}.get(prompt, 1)
        ids = chat_ids(tokenizer, f"Sum {{{{ up }}}}.\n\n{prompt}", "Be brief.")
        assert tuple(answer) == expected(tokenizer, ids, 3)[:4]
    assert build(desk, "kinds") == {"kinds": 0}


def test_texts_longer_than_the_context(desk: UserProject) -> None:
    """Their group fails by `on_error`, and no other does; or they are cut."""
    long = "".join(chr(97 + i % 26) for i in range(CONTEXT))
    rows = [
        *reviews(12),
        (50, "app", long),
        (51, "web", "fine"),
        (52, "web", long),
        (53, "box", "x"),
    ]
    seed(desk, rows)
    for on_error in ("fail", "null", "capture"):
        desk.model(f"on_{on_error}", f"{SMALL}, on_error='{on_error}'", QUERY)
    desk.model("cut", f"{SMALL}, on_overflow='truncate'", QUERY)
    assert not desk.dbt("build", "--select", "reviews", "on_*", "cut")
    assert 'on_fail: 2 of 3 groups have no answer. "product" app: The prompt has' in desk.output
    room = CONTEXT - 3 + 1
    assert f" tokens, and there is room for {room}; on_overflow='truncate'" in desk.output
    assert "on_capture: 2 of 3 groups have no answer; their column error says why" in desk.output
    assert desk.rows("select product from on_fail") == [("box",)]
    for model in ("on_null", "on_capture"):
        assert desk.rows(f"select product, completion is null from {model} order by 1") == [
            ("app", True),
            ("box", False),
            ("web", True),
        ]
    ((error,),) = desk.rows("select error from on_capture where product = 'web'")
    assert re.fullmatch(rf"The prompt has \d+ tokens, and .* room for {room}; .*", error)
    cut = "select count(completion), (select max(prompt_tokens) from cut__relama_levels) from cut"
    assert desk.rows(cut) == [(3, room)]
    # The texts are shorter, and what was answered is not asked again.
    seed(desk, [(i, product, body[:9]) for i, product, body in rows])
    shorter = build(desk, "on_fail", "on_null", "on_capture")
    desk.model("anew", SMALL, QUERY)
    whole = build(desk, "anew")["anew"]
    for model, answered in shorter.items():
        assert 2 < answered < whole
        assert tree(desk, model) == tree(desk, "anew")
        assert desk.rows(f"select completion from {model} order by product") == desk.rows(
            "select completion from anew order by product"
        )
    usage = "select distinct rows_failed from relama_usage where rows_failed > 0"
    assert desk.rows(usage) == [(2,)]


def test_changed_settings_and_what_dbt_does_around_a_table(desk: UserProject) -> None:
    seed(desk, reviews(4))
    config = "materialized='relama_aggregate', instructions='Sum.', max_tokens=2"
    query = "select id, product, id % 2 as half, body as prompt from {{ ref('reviews') }}"
    desk.model("agg", f"{config}, group_by=['product'], alias='other', schema='far'", query)
    assert build(desk, "agg") == {"agg": 1}
    desk.model(
        "agg",
        f"{config}, group_by=['product', 'half'], alias='other', schema='far', "
        "post_hook='create table seen as select count(*) as n from {{ this }}'",
        query,
    )
    assert build(desk, "agg") == {"agg": 2}
    assert desk.rows("select product, half, row_count, levels from main_far.other order by 2") == [
        ("app", 0, 2, 1),
        ("app", 1, 2, 1),
    ]
    assert desk.rows("from seen") == [(2,)]
    desk.model("agg", f"{config}, group_by=['product'], alias='other', schema='far'", query)
    assert desk.build("agg", arguments=["--empty"]) == {"agg": 0}
    assert desk.build("agg", arguments=["--full-refresh"]) == {"agg": 1}
    assert desk.rows("select * exclude (relama_hash) from main_far.other")[0][:2] == ("app", 4)
    assert desk.rows("select count(*) from main_far.other__relama_levels") == [(1,)]
    contract = f"{config}, group_by=['product'], contract={{'enforced': true}}"
    columns = {
        "product": "varchar",
        "row_count": "bigint",
        "completion": "varchar",
        "finish_reason": "varchar",
        "prompt_tokens": "bigint",
        "completion_tokens": "bigint",
        "logprob": "double",
        "levels": "bigint",
    }
    listed = ", ".join(f"{{name: {name}, data_type: {columns[name]}}}" for name in columns)
    desk.write("models/typed.yml", f"models:\n  - {{name: typed, columns: [{listed}]}}\n")
    desk.model("typed", contract, query)
    desk.model("plain", f"{config}, group_by=['product'], chat=false, temperature=1", query)
    assert build(desk, "typed", "plain") == {"typed": 1, "plain": 1}


#: Settings, a query, and what is said of them.
BAD = {
    "no_groups": (
        "max_tokens=5",
        "group_by must be a list of columns of the query, such as ['product'], not",
    ),
    "text": ("group_by='product'", "group_by must be a list of columns of the query"),
    "mapping": ("group_by={'product': 1}", "group_by must be a list of columns of the query"),
    "none_of_it": ("group_by=[]", "group_by must be a list of columns of the query"),
    "number": ("group_by=[1]", "group_by must be a list of texts, none of them empty"),
    "absent": (
        "group_by=['product', 'nope']",
        'the column "nope" of group_by is not a column of its query, which has id, product, ',
    ),
    "twice": ("group_by=['product', 'PRODUCT']", 'group_by has the column "PRODUCT" twice.'),
    "the_prompt": ("group_by=['prompt']", "'prompt' is a column of the answer"),
    "order": (
        "group_by=['product'], order_by='when'",
        'the column "when" of order_by is not a column of its query',
    ),
    "order_type": ("group_by=['product'], order_by=[2]", "order_by must be a list of texts"),
    "no_words": ("group_by=['product'], instructions=none", "instructions must be a text such as"),
    "blank": ("group_by=['product'], instructions=' '", "instructions must be a text that is not"),
    "key": (
        "group_by=['product'], unique_key='id'",
        "'unique_key' is no setting of relama_aggregate, whose rows are told apart by the columns",
    ),
    "examples": (
        "group_by=['product'], examples=[]",
        "'examples' is no setting of relama_aggregate, but of relama_complete",
    ),
    "regex": ("group_by=['product'], regex='a'", "'regex' is no setting of relama_aggregate"),
    "unknown": ("group_by=['product'], groups=['a']", "there is no setting 'groups'"),
    "tokens": (
        "group_by=['product'], max_tokens=100",
        "max_tokens must be at most 60, not 100: a group has texts for several prompts, and the "
        "context of 256 tokens has to hold the instructions, two answers and the one that merges",
    ),
    "all_tokens": (
        "group_by=['product'], max_tokens=230",
        "max_tokens is 230 and the instructions have 69 tokens with what is around them, which",
    ),
}


def test_bad_input_gets_one_clear_sentence_before_anything_is_asked(desk: UserProject) -> None:
    seed(desk, reviews(80))
    for name, (setting, _) in BAD.items():
        config = f"materialized='relama_aggregate', {setting}"
        if "instructions" not in setting:
            config += ", instructions='Summarise what the reviews say in one sentence.'"
        desk.model(f"bad_{name}", config, QUERY)
    assert not desk.dbt("build", "--select", "reviews", "path:models/bad_*")
    for name, (_, sentence) in BAD.items():
        assert re.search(f"bad_{name}: {re.escape(sentence)}", desk.output), (name, desk.output)
    levels = "select table_name from duckdb_tables() where table_name like 'bad_%levels'"
    assert desk.rows(levels) == []
