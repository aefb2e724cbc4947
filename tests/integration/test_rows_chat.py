"""The tokens that rows read, beside those of a session: templates that people have, odd prompts."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from relama.checkpoint import open_checkpoint
from relama.project.manifest import load_project
from relama.project.writer import write_project
from relama.runtime.tokenizer import ProjectTokenizer
from tests.conftest import ROOT
from tests.fixtures.make_tiny_llama import write_tiny_llama
from tests.user_project import UserProject

_PRODUCT = (ROOT / "macros" / "materializations" / "relama_complete.sql").read_text()
#: The product's own, which stops where it would begin to compute: the table holds the tokens
#: of each prompt.
PROMPT_IDS = (
    _PRODUCT[_PRODUCT.index("{% materialization") : _PRODUCT.index("{%- do relama._open_batch")]
    + """
    {%- endif -%}
    {%- call statement('main', auto_begin=false) -%}
create or replace table {{ this }} as
select a.id, head || content || tail as token_ids
from asked_row as a
left join prompted_request as p
    on p.relama_hash = (select i.relama_hash from input_row as i where i.id = a.id)
    {%- endcall -%}
    {{ return({'relations': [this]}) }}
{% endmaterialization %}
"""
)

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}"
    "{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% endif %}{% endfor %}"
)
#: Templates as checkpoints have them, by what is odd about each.
TEMPLATES = {
    "llama2": LLAMA2,
    "phi3": (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    ),
    "chatml": (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
        "{% endfor %}{{ '<|im_start|>assistant\n' }}"
    ),
    "llama3": (
        "{{ bos_token }}<|user|>\nToday is {{ strftime_now('%d %b %Y') }}.\n\n"
        "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}<|end|>{% endfor %}"
    ),
    "vicuna": (
        "{% for m in messages %}{% if m.role == 'system' %}{{ m.content + '\n\n' }}"
        "{% else %}{{ 'USER: ' + m.content + '\nASSISTANT:' }}{% endif %}{% endfor %}"
    ),
    "thinking": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "<|im_start|>assistant\n{% if enable_thinking is defined and not enable_thinking %}"
        "<think>\n\n</think>\n\n{% endif %}{{ words | tojson if words }}"
    ),
    "program": (
        "{% set m = messages[-1] %}{% if m.content is string and m.content.startswith(' ') %}"
        "<|user|>{% endif %}{{ m.content | upper }}{{ m.content | length }}"
        "{{ m.content.rstrip() | tojson }}{{ m.content.lstrip('\n') }}{{ m.content.split('a')[0] }}"
    ),
}
#: Odd values of the arguments of `thinking`; as a config has them, they are Jinja's.
TEMPLATE_ARGS = {
    "enable_thinking": False,
    "words": {"b": ["%}", "'; --", 'é"\\', None, 1.5, 2**63], "a": "<|im_end|>"},
}
CONTEXT = 256
SYSTEM = " Be\u00a0kind. "


def checkpoint(directory: Path, template: str) -> Path:
    """A tiny model with a byte-level tokenizer, added tokens of every kind, and a template."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", *letters])}
    merges = [("Ġ", "a"), ("a", "b"), ("ab", "ab"), ("l", "o"), ("Ċ", "Ċ"), ("Ġ", "Ġ"), ("h", "e")]
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"])
    stripping = [
        AddedToken(token, special=True, normalized=False, rstrip=True)
        for token in ("<|user|>", "<|system|>", "<|assistant|>", "<|end|>")
    ]
    tokenizer.add_special_tokens(stripping)
    tokenizer.add_tokens(
        [
            AddedToken("<tool>", normalized=False),
            AddedToken("word", single_word=True, normalized=False),
            AddedToken("left", lstrip=True, normalized=True),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    write_tiny_llama(directory, num_hidden_layers=1, vocab_size=tokenizer.get_vocab_size())
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "chat_template.jinja").write_text(template, encoding="utf-8")
    return directory


def odd_prompts(count: int) -> list[str]:
    """Texts of pieces that have been read wrongly somewhere."""
    pieces = [
        *(" ", "  ", "\n", "\n\n", "\t", "\r\n", "\u00a0", "\u3000", "\u2028", "\x0b", "\x1f"),
        *("\x00", "\u200b", "\ufeff", "\ufdd0", "\U0010ffff", "\ue000", "\ufffd", "a\u0301", "é"),
        *(
            "hello",
            "ab",
            "abab",
            "word",
            "words",
            "left",
            " left",
            "<tool>",
            "lo",
            "12",
            "½",
            "中文",
        ),
        *("'", '"', "''", "\\", "\\n", ";", "--", "{{ 1 + 1 }}", "{% raw %}", "{#", "%s", "$1"),
        *(
            "[INST]",
            "<<SYS>>",
            "<|im",
            "start|>",
            "|>",
            "<",
            "</",
            "😀",
            "👩‍💻",
            "İ",
            "ß",
            "\u017f",
        ),
    ]
    draw = random.Random(7)
    texts = ["a", "hello ", "\nhello", "x" * 50, "\ufdd0\ufdd1", "word", "   x   "]
    found = dict.fromkeys(texts)
    while len(found) < count:
        found["".join(draw.choices(pieces, k=draw.randint(1, 12)))] = None
    return list(found)


#: Longer than the context, with a word and a half at the seam; the last is white space.
LONG = """
select 0 as id, 'begin ' || repeat('lo ab abab word ', 100) || 'end' as prompt
union all select 1, repeat('x', 100000) || 'hello ab'
union all select 2, repeat('é中', 1000) || repeat(' ', 30)
"""
SPELLED = [f"hello {token} there{token}\n" for token in ("<s>", "</s>", "<|im_end|>", "<|end|>")]
PROMPTS = odd_prompts(200)

#: What a column may be called, some of it as the macros call theirs.
NAMES = [
    *("body", "place", "elements", "token_ids", "encoded", "words", "word", "chunks", "digits"),
    *("text", "v", "i", "select", "with space", 'quo"te', "Mixed", "rowid", "row", "körper"),
]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> UserProject:
    """A project with a language model for each template, and the tokens of prompts as tables."""
    root = tmp_path_factory.mktemp("templates")
    packages = ""
    for name, template in TEMPLATES.items():
        write_project(root / name, open_checkpoint(checkpoint(root / f"{name}_ck", template)))
        packages += f"  - local: ../{name}/package\n"
    (root / "desk").mkdir()
    desk = UserProject(root / "desk", load_project(root / "llama2"))
    packages += "  - local: ../llama2/relama\n"
    desk.write("packages.yml", f"packages:\n{packages}")
    desk.write("dbt_project.yml", 'name: desk\nprofile: desk\nversion: "1.0.0"\n')
    assert desk.dbt("deps"), desk.output
    desk.write("macros/prompt_ids.sql", PROMPT_IDS)
    texts = root / "texts.parquet"
    everything = PROMPTS + SPELLED
    pq.write_table(pa.table({"id": range(len(everything)), "prompt": everything}), texts)
    query = f"select * from read_parquet('{texts}')"
    plain = f"{query} where id < {len(PROMPTS)}"
    kind = "materialized='relama_complete'"
    for name in TEMPLATES:
        config = f"{kind}, model='{name}'"
        desk.model(f"{name}_chat", config, plain)
        desk.model(f"{name}_system", f"{config}, system='{SYSTEM}'", plain)
        desk.model(f"{name}_special", f"{config}, parse_special=true", query)
    for name in ("chatml", "phi3"):
        config = f"{kind}, model='{name}', chat=false"
        desk.model(f"{name}_plain", config, query)
        desk.model(f"{name}_plain_special", f"{config}, parse_special=true", query)
    quoted = [name.replace('"', '""') for name in NAMES]
    columns = ", ".join(f'prompt as "{name}"' for name in quoted)
    asked = [f'"{name}"' for name in quoted] + ["t.body || chr(233)"]
    calls = ", ".join(f"{{{{ relama.tokenize('{column}', model='chatml') }}}}" for column in asked)
    source = f"(select {columns} from ({query} where id = 1))"
    desk.write("models/columns.sql", f"select [{calls}] as token_ids from {source} as t")
    for name in ("vicuna", "llama3", "program"):
        config = f"{kind}, model='{name}', system='Be brief.', on_overflow='truncate'"
        desk.model(f"{name}_long", config, LONG)
    desk.model("thinking_off", f"{kind}, model='thinking', template_args={TEMPLATE_ARGS}", plain)
    config = f"{kind}, model='llama3', template_date='2026-03-01'"
    desk.model("llama3_pinned", config, f"{query} where id = 0")
    desk.model("chatml_text", f"{kind}, model='chatml'", query)
    assert desk.dbt("run", "--select", "tag:weights"), desk.output
    assert desk.dbt("run", "--select", "package:desk"), desk.output
    assert "the chat template holds today's date" in desk.output
    assert "llama3_pinned: the chat template" not in desk.output
    return desk


def found(desk: UserProject, table: str) -> list[Sequence[int]]:
    """The tokens of each prompt, in order."""
    return [ids for (ids,) in desk.rows(f"select token_ids from {table} order by id")]


def asked(
    tokenizer: ProjectTokenizer,
    text: str,
    system: str | None = None,
    template_args: Mapping[str, Any] | None = None,
) -> list[int]:
    """The tokens that `relama generate --chat` reads."""
    messages = [] if system is None else [{"role": "system", "content": system}]
    return tokenizer.encode_chat([*messages, {"role": "user", "content": text}], template_args)


@pytest.fixture(scope="module", params=TEMPLATES)
def template(request: pytest.FixtureRequest) -> str:
    """The name of a template."""
    return str(request.param)


@pytest.fixture(scope="module")
def tokenizer(desk: UserProject, template: str) -> ProjectTokenizer:
    """The tokenizer of a session on the language model with the template."""
    return ProjectTokenizer(desk.directory.parent / template)


def test_a_row_reads_what_a_session_reads(
    desk: UserProject, template: str, tokenizer: ProjectTokenizer
) -> None:
    for table, prompts, system in (
        ("chat", PROMPTS, None),
        ("system", PROMPTS, SYSTEM),
        ("special", PROMPTS + SPELLED, None),
    ):
        expected = [asked(tokenizer, text, system) for text in prompts]
        for text, ours, theirs in zip(
            prompts, found(desk, f"{template}_{table}"), expected, strict=True
        ):
            assert ours == theirs, (table, text)


def test_rows_take_the_arguments_of_a_template(desk: UserProject) -> None:
    tokenizer = ProjectTokenizer(desk.directory.parent / "thinking")
    assert tokenizer.template_args == ["enable_thinking", "words"]
    expected = [asked(tokenizer, text, template_args=TEMPLATE_ARGS) for text in PROMPTS]
    assert found(desk, "thinking_off") == expected
    assert expected != found(desk, "thinking_chat")


BAD_ARGS = {
    "{'enabel': true}": "template_args has 'enabel', which is no argument of the chat template; it "
    "takes enable_thinking, words.",
    "{'messages': []}": "template_args has 'messages', which is no argument",
    "{'bos_token': 'x'}": "template_args has 'bos_token', which is no argument",
    "['enable_thinking']": "template_args must be a mapping of names to values of JSON",
    "{1: 2}": "template_args must be a mapping of names to values of JSON",
    "'enable_thinking=false'": "template_args must be a mapping of names to values of JSON",
    "{'words': modules.datetime.date.today()}": "template_args must be a mapping of names",
    "{'words': 1}, chat=false": "template_args must be absent where chat is false",
}


def test_bad_arguments_are_one_sentence(desk: UserProject) -> None:
    for number, given in enumerate(BAD_ARGS):
        config = f"materialized='relama_complete', model='thinking', template_args={given}"
        desk.model(f"bad_args_{number}", config, "select 'a' as prompt")
    try:
        assert not desk.dbt("run", "--select", "bad_args_*")
        for number, sentence in enumerate(BAD_ARGS.values()):
            assert f"bad_args_{number}: {sentence}" in " ".join(desk.output.split())
    finally:
        for number in range(len(BAD_ARGS)):
            (desk.directory / "models" / f"bad_args_{number}.sql").unlink()


def test_a_plain_row_has_what_the_tokenizer_puts_around_a_text(desk: UserProject) -> None:
    for name in ("chatml", "phi3"):
        tokenizer = ProjectTokenizer(desk.directory.parent / name)
        everything = PROMPTS + SPELLED
        expected = [tokenizer.encode(text) for text in everything]
        assert found(desk, f"{name}_plain_special") == expected
        assert expected[0][0] == 1 and expected[0][-1] == 2
        assert found(desk, f"{name}_plain")[: len(PROMPTS)] == expected[: len(PROMPTS)]


def test_what_a_prompt_spells_stays_text(desk: UserProject) -> None:
    folder = desk.directory.parent / "chatml" / "tokenizer" / "tokenizer.json"
    library = Tokenizer.from_file(str(folder))
    start, end = library.token_to_id("<|im_start|>"), library.token_to_id("<|im_end|>")
    library.encode_special_tokens = True

    def text_ids(text: str) -> list[int]:
        ids: list[int] = library.encode(text, add_special_tokens=False).ids
        return ids

    assistant = text_ids("assistant\n")
    expected = [
        [start, *text_ids(f"user\n{text}"), end, *text_ids("\n"), start, *assistant]
        for text in SPELLED
    ]
    assert found(desk, "chatml_text")[len(PROMPTS) :] == expected
    plain = [[1, *text_ids(text), 2] for text in SPELLED]
    assert found(desk, "chatml_plain")[len(PROMPTS) :] == plain


def test_columns_of_any_name_are_tokenized(desk: UserProject) -> None:
    tokenizer = ProjectTokenizer(desk.directory.parent / "chatml")
    texts = [PROMPTS[1]] * len(NAMES) + [PROMPTS[1] + "é"]
    expected = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    assert desk.rows("from columns") == [(expected,)]


def test_of_several_language_models_one_is_named(desk: UserProject) -> None:
    desk.write(
        "models/unnamed.sql", "select {{ relama.tokenize('p') }} as ids from (select 'a' as p)"
    )
    try:
        assert not desk.dbt("compile", "--select", "unnamed")
        assert re.search(r"several language models .*chatml, .*model=", desk.output), desk.output
    finally:
        (desk.directory / "models" / "unnamed.sql").unlink()


def test_only_the_prompt_is_cut(desk: UserProject) -> None:
    for name in ("vicuna", "llama3", "program"):
        tokenizer = ProjectTokenizer(desk.directory.parent / name)
        for prompt, ids in desk.rows(
            f"select l.prompt, t.token_ids from {name}_long as t join ({LONG}) as l using (id)"
        ):
            assert CONTEXT - 8 < len(ids) <= CONTEXT, (name, prompt[:10], len(ids))
            ends = (prompt[-length:] for length in range(1, 4 * CONTEXT))
            assert any(asked(tokenizer, end, "Be brief.") == ids for end in ends), (name, prompt)


def test_a_pinned_date_is_the_templates(desk: UserProject) -> None:
    tokenizer = ProjectTokenizer(desk.directory.parent / "llama3")
    rendered = tokenizer.render_chat([{"role": "user", "content": PROMPTS[0]}])
    pinned = rendered.replace(f"{datetime.now():%d %b %Y}", "01 Mar 2026")
    assert pinned != rendered
    expected = tokenizer.encode(pinned, add_special_tokens=False)
    assert found(desk, "llama3_pinned") == [expected]


#: States the date, refuses, says a token that the embedding has no row for, changes letters,
#: says nothing and what is no text, as it is asked.
MOODY = (
    "{% set c = messages[-1].content %}{% if 'who' in c %}{{ mood }}{% endif %}"
    "{% if 'when' in c %}{{ strftime_now('%d %b %Y') }}"
    "{% elif 'forbidden' in c %}{{ raise_exception('not that') }}"
    "{% elif 'tool' in c %}<tool>{% endif %}"
    "{% if 'quiet' in c %}{% elif 'lower' in c %}{{ c | lower | replace('_x_', '_') }}"
    "{% elif 'half' in c %}{{ '\\ud800' }}"
    "{% elif 'whole' in c and not c.startswith('a') %}{{ raise_exception('not whole') }}"
    "{% else %}{{ c }}{% endif %}"
)


def lacking_a_token(directory: Path, template: str) -> tuple[Path, int]:
    """A checkpoint whose embedding has no row for the token `<tool>`, and that token."""
    made = checkpoint(directory / "moody_ck", template)
    config = json.loads((made / "config.json").read_text())
    size = Tokenizer.from_file(str(made / "tokenizer.json")).token_to_id("<tool>")
    write_tiny_llama(directory / "short", num_hidden_layers=1, vocab_size=size)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(directory / "short" / name, made / name)
    assert config["vocab_size"] > size
    return made, size


def test_answers_hold_while_their_texts_do(tmp_path: Path) -> None:
    made, size = lacking_a_token(tmp_path, MOODY)
    write_project(tmp_path / "moody", open_checkpoint(made))
    (tmp_path / "desk").mkdir()
    desk = UserProject(tmp_path / "desk", load_project(tmp_path / "moody"))
    settings = "materialized='relama_complete', max_tokens=2, unique_key='id'"
    query = "select * from (values (1, 'when?'), (2, 'why?'), (3, 'why')) as t (id, prompt)"
    desk.model("answers", f"{settings}, template_date='2026-03-01'", query)
    assert desk.dbt("build"), desk.output
    assert desk.answered() == {"answers": 3}
    # Another day is another text for the row that holds it.
    desk.model("answers", f"{settings}, template_date='2026-03-02'", query)
    assert desk.build("answers") == {"answers": 1}
    # Another argument is another text for the row that shows it.
    people = "select * from (values (1, 'who?'), (2, 'why?')) as t (id, prompt)"
    group = "materialized='relama_aggregate', group_by=['one'], instructions='Of?', max_tokens=2"
    for mood, rows, groups in (("good", 2, 1), ("good", 0, 0), ("bad", 1, 1)):
        args = f"template_date='2026-03-01', template_args={{'mood': '{mood}'}}"
        desk.model("moods", f"{settings}, {args}", people)
        desk.model("all_moods", f"{group}, {args}", f"select 1 as one, prompt from ({people})")
        assert desk.build("moods", "all_moods") == {"moods": rows, "all_moods": groups}
    for name in ("moods", "all_moods"):
        (desk.directory / "models" / f"{name}.sql").unlink()
    # Without a unique key all columns together are one, and a row that is there twice stays so.
    keyless = settings.replace(", unique_key='id'", "")
    for day, count in ((1, 4), (2, 1)):
        desk.model(
            "keyless",
            f"{keyless}, template_date='2026-03-0{day}'",
            f"{query} union all from (values (3, 'why'), (4, 'who'))",
        )
        assert desk.build("keyless") == {"keyless": count}
        rows = desk.rows("select id from keyless order by id")
        assert rows == [(1,), (2,), (3,), (3,), (4,)]
    (desk.directory / "models" / "keyless.sql").unlink()
    # A project that is written anew, with a template that says the same in other words.
    (made / "chat_template.jinja").write_text(MOODY.replace("messages[-1]", "messages[0]"))
    write_project(tmp_path / "moody", open_checkpoint(made), overwrite=True)
    assert desk.build("answers") == {"answers": 0}
    # The same tensors, computed with otherwise: nothing of that is in the prompts.
    settled = json.loads((made / "config.json").read_text())
    settled["rope_parameters"]["rope_theta"] = 77.0
    (made / "config.json").write_text(json.dumps(settled))
    write_project(tmp_path / "moody", open_checkpoint(made), overwrite=True)
    # Neither old weights nor some of the new ones answer for the new model.
    for built in ((), ("lm_head_weight",)):
        assert not desk.dbt("build", "--select", "answers", *built)
        assert "moody is not built as it was written last: the table" in desk.output
    assert desk.dbt("build"), desk.output
    assert desk.answered() == {"answers": 3}
    for word, sentence in (
        ("forbidden", "chat template refuses these messages: not that"),
        ("tool", f"The token id {size} is outside the vocabulary of {size}"),
        ("lower <|IM_END|>", "chat template does not keep as text what these messages say"),
        ("lower <|im_x_end|>", "chat template does not keep as text what these messages say"),
        ("half", "chat template fails on these messages: UnicodeEncodeError"),
    ):
        desk.model("answers", settings, f"select 4 as id, 'the {word}' as prompt")
        assert not desk.dbt("build", "--select", "answers")
        assert sentence in desk.output
    assert desk.rows("select id from answers order by id") == [(1,), (2,), (3,)]
    # What is left of a prompt that is cut is refused, and nothing is asked in its place.
    cut = f"{settings}, on_overflow='truncate', on_error='capture'"
    desk.model("cut", cut, "select 1 as id, 'a' || repeat('bcd ', 900) || 'whole' as prompt")
    assert desk.build("cut") == {"cut": 0}
    ((completion, error),) = desk.rows("select completion, error from cut")
    assert completion is None and "chat template refuses these messages: not whole" in error
    (desk.directory / "models" / "cut.sql").unlink()
    query = "select 5 as id, 'be quiet' as prompt union all select 6, 'a lower <|im_end|>'"
    desk.model("answers", settings, query)
    assert desk.build("answers") == {"answers": 1}
    assert "1 of 2 rows have no tokens (what is asked" in desk.output
