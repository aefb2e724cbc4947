"""JSON schemas of objects, as hypothesis draws them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from relama.runtime.answer_form import SqlType

Schemas = st.SearchStrategy[dict[str, Any]]


@st.composite
def _texts(draw: st.DrawFn) -> dict[str, Any]:
    least, most = draw(st.integers(0, 3)), draw(st.integers(0, 6))
    return draw(
        st.sampled_from(
            [
                {"type": "string", "maxLength": most},
                {"type": "string", "minLength": least, "maxLength": least + most},
                {"type": "string", "pattern": r"^\d{2,4}-\w+$"},
                {"type": "string", "pattern": "^[A-Z]+$", "minLength": least, "maxLength": 5},
                {"type": "string", "pattern": r'^(a|ab|"|\\\\)+\n?$'},
                {"type": "string", "format": draw(st.sampled_from(["date", "time", "uuid"]))},
                {"type": ["string", "null"], "maxLength": most},
            ]
        )
    )


@st.composite
def _numbers(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(st.integers(-2000, 2000))
    bounds = {"minimum": low, "maximum": low + draw(st.integers(0, 5000))}
    return draw(
        st.sampled_from(
            [
                {"type": "integer", **bounds},
                {"type": "integer", "exclusiveMinimum": low},
                {"type": "integer", "maximum": low},
                {"type": "number"},
                {"type": ["integer", "boolean"], **bounds},
            ]
        )
    )


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-99, 99), st.text("abl\n\"'\\ ", max_size=4)
)
_OTHERS: Schemas = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"enum": ["low", "lower", "lowest", "lo"]}),
    st.builds(lambda values: {"enum": values}, st.lists(_VALUES, min_size=1, max_size=4)),
    st.builds(lambda value: {"const": value}, _VALUES),
)


def _arrays(items: Schemas) -> Schemas:
    return st.builds(
        lambda item, least, more: {
            "type": "array",
            "items": item,
            "minItems": least,
            **({} if more is None else {"maxItems": least + more}),
        },
        items,
        st.integers(0, 2),
        st.one_of(st.none(), st.integers(0, 2)),
    )


@st.composite
def _objects(draw: st.DrawFn, items: Schemas) -> dict[str, Any]:
    names = st.text("abcdXYZ_ \"'/~\\{}%", min_size=1, max_size=5).filter(str.strip)
    properties = draw(
        st.dictionaries(names, items, min_size=1, max_size=3).filter(
            lambda found: len({name.lower() for name in found}) == len(found)
        )
    )
    required = draw(st.lists(st.sampled_from(list(properties)), unique=True))
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def schemas() -> Schemas:
    """Objects of texts, numbers, listed values, arrays and objects, two levels deep or three."""
    leaves = st.one_of(_texts(), _numbers(), _OTHERS)
    nested = st.one_of(leaves, _arrays(leaves), _objects(leaves))
    either = st.builds(
        lambda one, other: {"anyOf": [one, other]},
        nested,
        st.one_of(st.just({"type": "null"}), leaves),
    )
    return _objects(st.one_of(leaves, nested, either, _arrays(nested)))


def agrees(kind: SqlType, told: Any, read: Any) -> bool:
    """Whether what DuckDB gives of a type is a value of JSON."""
    if told is None:
        return read is None
    if kind.name == "JSON":
        return bool(json.loads(read) == told)
    if kind.item is not None:
        item = kind.item
        return len(read) == len(told) and all(
            agrees(item, one, other) for one, other in zip(told, read, strict=True)
        )
    if kind.fields:
        return list(read) == [name for name, _ in kind.fields] and all(
            agrees(field, told.get(name), read[name]) for name, field in kind.fields
        )
    if kind.name in ("VARCHAR", "BIGINT", "BOOLEAN"):
        return type(read) is type(told) and bool(read == told)
    if kind.name == "DOUBLE":
        return bool(read == told)
    return str(read) == told
