"""The tokenizer's macros rendered without dbt, and run on tables of their own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pyarrow as pa
from jinja2.sandbox import SandboxedEnvironment
from tokenizers import Tokenizer

from relama.project.sql_tokenizer import (
    alphabet_table,
    merges_table,
    tokenizer_settings,
    vocabulary_table,
)

MACROS = Path(__file__).parent.parent / "macros" / "tokenizer"


class SqlTokenizer:
    """What `relama.tokenize` and `relama.detokenize` are for one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        definition = json.loads(tokenizer.to_str())
        self.settings = tokenizer_settings(definition)
        self._relama = _rendered(self.settings)
        self._connection = duckdb.connect()
        size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
        staged = {
            "vocabulary": vocabulary_table(definition, [""] * size),
            "merges": merges_table(definition),
            "alphabet": alphabet_table(definition),
        }
        symbol = self._relama["token_symbol"]
        columns = {
            "vocabulary": "*",
            "merges": (
                "merge_rank, cast(left_token_id as bigint) * 1048576 + right_token_id as pair,"
                " token_id"
            ),
            "alphabet": f"letter, {symbol('token_id')} as symbol",
        }
        for name, table in staged.items():
            self._connection.register("staged", table)
            self._connection.execute(f"create table {name} as select {columns[name]} from staged")

    def tokenize(
        self, texts: Sequence[str | None], parse_special: bool = False, guard: str | None = None
    ) -> list[list[int] | None]:
        expression = self._relama["tokenize"]("text", parse_special, guard)
        return self._run(expression, pa.array(texts, pa.string()))

    def detokenize(self, ids: Sequence[Sequence[int]]) -> list[str]:
        return self._run(self._relama["detokenize"]("text"), pa.array(ids, pa.list_(pa.int32())))

    def _run(self, expression: str, values: pa.Array) -> list[Any]:
        table = pa.table({"id": range(len(values)), "text": values})
        self._connection.register("texts", table)
        sql = f"select {expression} from texts order by id"
        return [row[0] for row in self._connection.execute(sql).fetchall()]


class _ReturnedError(Exception):
    """A macro's `return`, which dbt has as an exception too."""


def _rendered(settings: dict[str, Any]) -> dict[str, Any]:
    relama: dict[str, Any] = {}
    environment = SandboxedEnvironment(extensions=["jinja2.ext.do"])

    def give(value: Any) -> None:
        raise _ReturnedError(value)

    environment.globals |= {
        "relama": relama,
        "adapter": SimpleNamespace(dispatch=lambda name, _: relama[f"duckdb__{name}"]),
        "return": give,
    }
    for path in MACROS.glob("*.sql"):
        # Under another name, as dbt does it: Jinja exports no name that begins with an underscore.
        text = path.read_text().replace("{% macro ", "{% macro dbt_macro__")
        for name, macro in vars(environment.from_string(text).module).items():
            if callable(macro):
                relama[name.removeprefix("dbt_macro__")] = _returning(macro)
    relama["_tokenizer_settings"] = lambda model=None: settings
    relama["_tokenizer_table"] = lambda name, model=None: name
    return relama


def _returning(macro: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return str(macro(*arguments, **named))
        except _ReturnedError as returned:
            return returned.args[0]

    return call
