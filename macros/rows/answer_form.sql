{#
    The Python that reads schemas, see `_read_form`; `_pattern` stands before it: a copy of
    generator/relama/runtime/answer_form.py, written by `make generate`.
#}
{% macro _answer_form() -%}
{% raw %}"""The form of an answer: a regular expression, a JSON schema, or fields with types of SQL.

A form is a tree of `pattern`, and for JSON also what a value becomes in SQL. JSON is spelled as
Python's `json.dumps` spells it: a space after each comma and colon and nowhere else, each value
in one way. Whatever a tree allows is a value of the schema and casts to its type.

The text of this module is also the macro `_answer_form`, behind that of `pattern`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

#: Characters of a text at most, where nothing else is said.
MAX_LENGTH = 64
#: Of an automaton, see `size`. Each unit of it may be tens of thousands of transitions.
MAX_SIZE = 20_000
MAX_DEPTH = 32

INTEGERS = {
    "TINYINT": (-(2**7), 2**7 - 1),
    "SMALLINT": (-(2**15), 2**15 - 1),
    "INTEGER": (-(2**31), 2**31 - 1),
    "BIGINT": (-(2**63), 2**63 - 1),
    "UTINYINT": (0, 2**8 - 1),
    "USMALLINT": (0, 2**16 - 1),
    "UINTEGER": (0, 2**32 - 1),
    "UBIGINT": (0, 2**64 - 1),
}
#: Names of types, and DuckDB's own for them.
TYPES = {
    **{name.lower(): name for name in INTEGERS},
    **dict.fromkeys(("varchar", "text", "string", "char", "bpchar"), "VARCHAR"),
    **dict.fromkeys(("boolean", "bool", "logical"), "BOOLEAN"),
    "int": "INTEGER",
    "int4": "INTEGER",
    "signed": "INTEGER",
    "int1": "TINYINT",
    "int2": "SMALLINT",
    "short": "SMALLINT",
    "int8": "BIGINT",
    "long": "BIGINT",
    "double": "DOUBLE",
    "float8": "DOUBLE",
    "double precision": "DOUBLE",
    "real": "FLOAT",
    "float": "FLOAT",
    "float4": "FLOAT",
    "decimal": "DECIMAL",
    "numeric": "DECIMAL",
    "dec": "DECIMAL",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "datetime": "TIMESTAMP",
    "uuid": "UUID",
}
#: A day of the Gregorian calendar, of the years 0001 to 9999.
_YEAR = "(?:[0-9]{3}[1-9]|[0-9]{2}[1-9]0|[0-9][1-9]00|[1-9]000)"
_LEAP_YEAR = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DAY = (
    f"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
#: Texts that a type reads.
SPELLINGS = {
    "DATE": _DAY,
    "TIME": _TIME,
    "TIMESTAMP": f"{_DAY}T{_TIME}",
    "UUID": "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
}
#: Formats of JSON schemas: the type and the regular expression.
FORMATS = {
    "date": ("DATE", _DAY),
    "time": ("TIME", _TIME),
    "date-time": ("TIMESTAMP", f"{_DAY}T{_TIME}Z"),
    "uuid": ("UUID", SPELLINGS["UUID"]),
}

#: Keywords that say nothing of what a value may be.
ANNOTATIONS = {
    *("$schema", "$id", "$comment", "$anchor", "$defs", "definitions", "title", "description"),
    *("default", "examples", "deprecated", "readOnly", "writeOnly"),
}
KEYWORDS = {
    "string": {"minLength", "maxLength", "pattern", "format"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "number": set[str](),
    "boolean": set[str](),
    "null": set[str](),
    "array": {"items", "minItems", "maxItems"},
    "object": {"properties", "required", "additionalProperties"},
}


class FormError(ValueError):
    """A form that is none. The sentence goes on behind the name of the setting."""


class SqlType(NamedTuple):
    """A type of SQL: its name, and how it is made up."""

    name: str
    item: "SqlType | None" = None
    fields: "tuple[tuple[str, SqlType], ...]" = ()


class Form(NamedTuple):
    """What a value of JSON may be; `type` is None where it is null only."""

    pattern: Node
    type: SqlType | None


JSON = SqlType("JSON")


def write_form(connection: Any, settings: Mapping[str, Any]) -> None:
    """Fills the table `answer_form` (part, place, name, type, expression) with a form.

    `part` is `error` (the `name` is the sentence), `pattern` (of Rust), `column` (a field, its
    type and its value as an expression over `t.body`) or `literal` (a text that an answer may
    have to spell).

    Args:
        connection: DuckDB's.
        settings: `kind` (regex, json_schema or fields), `value` (as JSON), `source` (what the
            settings have been written in, for the order of their keys) and `columns` (whether
            fields become columns).
    """
    try:
        value = json.loads(settings["value"])
        kind = settings["kind"]
        if kind == "regex":
            rows = _regex_rows(value)
        else:
            rows = _json_rows(kind, value, settings["source"], bool(settings["columns"]))
    except FormError as error:
        rows = [("error", str(error), "", "")]
    for place, (part, name, type_name, expression) in enumerate(rows):
        connection.execute(
            "insert into answer_form values (?, ?, ?, ?, ?)",
            [part, place, name, type_name, expression],
        )


Row = tuple[str, str, str, str]


def _regex_rows(value: Any) -> list[Row]:
    if not isinstance(value, str) or not value:
        raise FormError("must be a regular expression, a text")
    try:
        tree = parsed(value)
    except PatternError as error:
        raise FormError(f"is no regular expression that is understood: {error}") from None
    return [("pattern", _checked(tree), "", "")]


def _json_rows(kind: str, value: Any, source: str, with_columns: bool) -> list[Row]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise FormError(f"is no JSON: {error}") from None
    else:
        value = ordered(value, kind, source)
    if kind == "fields":
        form, literals = fields_form(value)
    else:
        form, literals = schema_form(value)
    rows: list[Row] = [("pattern", _checked(form.pattern), "", "")]
    rows += [("literal", text, "", "") for text in literals]
    if with_columns:
        if form.type is None or not form.type.fields:
            raise FormError("must be of an object with properties, which become the columns")
        for name, field in form.type.fields:
            rows.append(("column", name, field.name, reading(field, "t.body", pointer(name))))
    return rows


def _checked(pattern: Node | None) -> str:
    if pattern is None:
        raise FormError("allows no answer")
    if size(pattern) > MAX_SIZE:
        raise FormError(
            "is too large: what may be repeated is repeated up to some thousand times; lower "
            "the lengths and counts in it"
        )
    return written(pattern)


def ordered(value: Any, name: str, source: str) -> Any:
    """A value of the settings with the keys of mappings as they were written.

    dbt's static parser gives the keys of a literal in `config(...)` in an order of chance.
    Keys in a YAML file keep theirs.
    """
    if not re.search(rf"\b{name}\s*[=:]|['\"]{name}['\"]\s*:", source):
        return value
    begin = re.search(rf"\b{name}\b", source)
    text = source[begin.end() if begin else 0 :]

    def place(key: str) -> tuple[int, str]:
        spelled = [repr(key), json.dumps(key), json.dumps(key, ensure_ascii=False), f"'{key}'"]
        places = [at for at in (text.find(spelling) for spelling in spelled) if at >= 0]
        return min(places, default=len(text)), key

    def sort(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: sort(item[key]) for key in sorted(item, key=place)}
        return [sort(one) for one in item] if isinstance(item, list) else item

    return sort(value)


def fields_form(fields: Any) -> tuple[Form, list[str]]:
    """The form of an object whose fields have types of SQL, listed texts or JSON schemas."""
    if not isinstance(fields, dict) or not fields:
        raise FormError("must be a mapping from fields to types, such as {'due': 'date'}")
    reader = _Reader({})
    forms = {}
    for name, kind in fields.items():
        where = f"'{name}'"
        if isinstance(kind, str):
            forms[name] = reader.sql_type(kind, where)
        elif isinstance(kind, list):
            if not all(isinstance(text, str) for text in kind):
                _fail(where, "the list must be of texts")
            forms[name] = reader.enum(kind, where)
        elif isinstance(kind, dict):
            forms[name] = reader.schema(kind, where, ())
        else:
            _fail(where, "must be a type of SQL, a list of texts or a JSON schema")
    return reader.members(forms, set(forms), ""), reader.literals


def schema_form(schema: Any) -> tuple[Form, list[str]]:
    """The form of a JSON schema."""
    if not isinstance(schema, dict):
        raise FormError("must be a JSON schema, a mapping or its text")
    reader = _Reader(schema)
    return reader.schema(schema, "", ()), reader.literals


def pointer(name: str) -> str:
    """The JSON pointer to a field (RFC 6901), as a literal of SQL."""
    return _text("/" + name.replace("~", "~0").replace("/", "~1"))


def reading(kind: SqlType, value: str, path: str = "'$'", depth: int = 0) -> str:
    """An expression of a type of SQL: what stands at a path of a JSON value.

    A cast of JSON to a STRUCT fails where a field is missing, and one of null to VARCHAR is
    the text null; this does neither. What is null in JSON is NULL.
    """
    if kind.item:
        item = f"relama__{depth}"
        read = reading(kind.item, item, depth=depth + 1)
        at = f"json_extract({value}, {path})"
        return (
            f"case when json_type({at}) = 'ARRAY' then "
            f"list_transform(cast({at} as json[]), lambda {item}: {read}) end"
        )
    if kind.fields:
        at = f"json_extract({value}, {path})"
        packed = ", ".join(
            f"{_quoted(name)} := {reading(field, at, pointer(name), depth)}"
            for name, field in kind.fields
        )
        return f"case when json_type({at}) = 'OBJECT' then struct_pack({packed}) end"
    if kind == JSON:
        at = f"json_extract({value}, {path})"
        return f"case when json_type({at}) <> 'NULL' then {at} end"
    return f"cast(json_extract_string({value}, {path}) as {kind.name})"


class _Reader:
    """Reads schemas; `literals` are the texts that answers may have to spell."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.literals: list[str] = []

    def schema(self, schema: Any, where: str, path: tuple[str, ...]) -> Form:
        """The form of a schema.

        Args:
            schema: the schema.
            where: the place, for errors.
            path: the references that have led here.
        """
        if not isinstance(schema, dict):
            _fail(where, f"{json.dumps(schema)} is no schema that is understood")
        if where.count(".") > MAX_DEPTH:
            _fail(where, f"is more than {MAX_DEPTH} levels deep")
        said = {key: value for key, value in schema.items() if key not in ANNOTATIONS}
        for keyword in ("$ref", "anyOf", "const", "enum"):
            if keyword in said:
                break
        else:
            return self.typed(said, where, path)
        value = said.pop(keyword)
        types = _listed(said.pop("type", None), where) if "type" in said else list(KEYWORDS)
        for other in said:
            _fail(where, f"the keyword '{other}' is not understood beside '{keyword}'")
        if keyword == "$ref":
            return self.reference(value, where, path)
        if keyword == "anyOf":
            if not isinstance(value, list) or not value:
                _fail(where, "anyOf must be a list of schemas")
            return _either([self.schema(option, where, path) for option in value], where)
        values = [value] if keyword == "const" else value
        if not isinstance(values, list):
            _fail(where, "enum must be a list of values")
        return self.enum([v for v in values if any(_is_type(v, name) for name in types)], where)

    def reference(self, target: Any, where: str, path: tuple[str, ...]) -> Form:
        if not isinstance(target, str) or not target.startswith("#"):
            _fail(where, f"$ref must lead to a place in the schema, not to {json.dumps(target)}")
        if target in path:
            _fail(where, f"the schema is recursive: $ref leads to {target} again")
        schema: Any = self.root
        for part in target[1:].split("/")[1:]:
            part = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(schema, dict) or part not in schema:
                _fail(where, f"$ref leads to {target}, which is not there")
            schema = schema[part]
        return self.schema(schema, where, (*path, target))

    def typed(self, said: Mapping[str, Any], where: str, path: tuple[str, ...]) -> Form:
        """The form of a schema that names its type, or several."""
        if "type" not in said:
            unknown = [key for key in said if all(key not in own for own in KEYWORDS.values())]
            if unknown:
                _fail(where, f"the keyword '{unknown[0]}' is not understood")
            _fail(where, "has no type")
        types = _listed(said["type"], where)
        keywords = {key: value for key, value in said.items() if key != "type"}
        for key in keywords:
            if not any(key in KEYWORDS[name] for name in types):
                known = any(key in own for own in KEYWORDS.values())
                _fail(
                    where,
                    f"the keyword '{key}' "
                    + (
                        f"is not understood of the type {types[0]}"
                        if known
                        else "is not understood"
                    ),
                )
        forms = []
        for name in types:
            own = {key: value for key, value in keywords.items() if key in KEYWORDS[name]}
            if name == "string":
                forms.append(_string(own, where))
            elif name == "integer":
                forms.append(_integer(own, where))
            elif name == "number":
                forms.append(Form(_number(15, 6), SqlType("DOUBLE")))
            elif name == "boolean":
                forms.append(Form(_regex("true|false"), SqlType("BOOLEAN")))
            elif name == "null":
                forms.append(Form(literal("null"), None))
            elif name == "array":
                forms.append(self.array(own, where, path))
            else:
                forms.append(self.object(own, where, path))
        return _either(forms, where)

    def array(self, own: Mapping[str, Any], where: str, path: tuple[str, ...]) -> Form:
        if "items" not in own:
            _fail(where, "an array needs items")
        least, most = _bounds(own, "minItems", "maxItems", where)
        return _array(self.schema(own["items"], f"{where}[]", path), least, most)

    def object(self, own: Mapping[str, Any], where: str, path: tuple[str, ...]) -> Form:
        properties, required = own.get("properties"), own.get("required", [])
        if not isinstance(properties, dict) or not properties:
            _fail(where, "an object needs properties")
        if not isinstance(own.get("additionalProperties", False), bool):
            _fail(where, "additionalProperties must be true or false")
        if not isinstance(required, list):
            _fail(where, "required must be a list of names")
        for name in required:
            if name not in properties:
                _fail(where, f"required names {json.dumps(name)}, which is not in properties")
        forms = {
            name: self.schema(schema, f"{where}.{name}" if where else f"'{name}'", path)
            for name, schema in properties.items()
        }
        return self.members(forms, set(required), where)

    def members(self, forms: Mapping[str, Form], required: set[str], where: str) -> Form:
        """An object of these members, in their order; those that are not required may be absent."""
        seen: dict[str, str] = {}
        pairs = []
        for name, form in forms.items():
            if not name.strip() or not _is_text(name):
                _fail(where, f"{json.dumps(name)} is no name of a column")
            if name.lower() in seen:
                _fail(where, f"'{seen[name.lower()]}' and '{name}' are the same column")
            seen[name.lower()] = name
            key = json.dumps(name, ensure_ascii=False)
            self.literals.append(key)
            pairs.append((sequence(literal(f"{key}: "), form.pattern), name in required))
        comma = literal(", ")
        first = next((i for i, (_, is_required) in enumerate(pairs) if is_required), None)

        def rest(begin: int) -> list[Node | None]:
            return [
                sequence(comma, pair) if is_required else repeat(sequence(comma, pair), 0, 1)
                for pair, is_required in pairs[begin:]
            ]

        if first is None:
            inner = choice(
                NOTHING,
                *(sequence(pair, *rest(i + 1)) for i, (pair, _) in enumerate(pairs)),
            )
        else:
            before = [repeat(sequence(pair, comma), 0, 1) for pair, _ in pairs[:first]]
            inner = sequence(*before, pairs[first][0], *rest(first + 1))
        pattern = sequence(literal("{"), inner, literal("}"))
        if pattern is None:
            _fail(where, "no object satisfies the schema")
        fields = tuple((name, form.type or JSON) for name, form in forms.items())
        packed = ", ".join(f"{_quoted(name)} {kind.name}" for name, kind in fields)
        return Form(pattern, SqlType(f"STRUCT({packed})", None, fields))

    def enum(self, values: list[Any], where: str) -> Form:
        """One of listed values, of the JSON that Python writes."""
        if not values:
            _fail(where, "no value satisfies the schema")
        texts = []
        for value in values:
            try:
                text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            except ValueError:
                _fail(where, f"{value} is no number of JSON")
            if not _is_text(text) or "\\u0000" in text:
                _fail(where, f"{json.dumps(value)} is no text of the database")
            texts.append(text)
        self.literals += texts
        pattern = choice(*map(literal, dict.fromkeys(texts)))
        assert pattern is not None
        types = {_value_type(value) for value in values if value is not None}
        if not types:
            return Form(pattern, None)
        if types == {"BIGINT", "DOUBLE"}:
            types = {"DOUBLE"}
        return Form(pattern, SqlType(types.pop()) if len(types) == 1 else JSON)

    def sql_type(self, text: str, where: str) -> Form:
        """The form of a type of SQL, with `null` behind it where it may be null."""
        match = re.fullmatch(
            r"\s*([a-z]\w*(?: precision)?)\s*(?:\(\s*(\d{1,9})\s*(?:,\s*(\d{1,9})\s*)?\))?"
            r"\s*((?:\[\]\s*)*)(not null|null)?\s*",
            text.lower(),
        )
        name = TYPES.get(match[1]) if match else None
        if match is None or name is None:
            _fail(
                where,
                f"the type {json.dumps(text, ensure_ascii=False)} is unknown; the types are "
                "varchar, boolean, tinyint, smallint, integer, bigint (and utinyint to ubigint), "
                "real, double, decimal, date, time, timestamp and uuid, and lists of them such as "
                "varchar[]",
            )
        first, second = (int(digits) if digits else None for digits in (match[2], match[3]))
        if (first is not None and name not in ("VARCHAR", "DECIMAL")) or (
            second is not None and name != "DECIMAL"
        ):
            _fail(where, f"the type '{text}' takes no number in parentheses")
        if name == "VARCHAR":
            form = _string({} if first is None else {"maxLength": first}, where)
        elif name == "DECIMAL":
            digits, scale = (18, 3) if first is None else (first, second or 0)
            if not (1 <= digits <= 38 and scale <= digits):
                _fail(where, f"the database has no type '{text}'")
            # More than 15 digits would pass through a double on their way out of JSON.
            whole = min(digits - scale, 15 - min(scale, 6))
            form = Form(
                _number(whole, min(scale, 15 - whole)), SqlType(f"DECIMAL({digits},{scale})")
            )
        elif name in INTEGERS:
            form = Form(_between(*INTEGERS[name]), SqlType(name))
        elif name == "BOOLEAN":
            form = Form(_regex("true|false"), SqlType(name))
        elif name in ("DOUBLE", "FLOAT"):
            form = Form(_number(15 if name == "DOUBLE" else 7, 6), SqlType(name))
        else:
            form = Form(_regex(f'"{SPELLINGS[name]}"'), SqlType(name))
        for _ in range(match[4].count("[]")):
            form = _array(form, 0, None)
        if match[5] == "null":
            form = _either([form, Form(literal("null"), None)], where)
        return form


def _fail(where: str, what: str) -> NoReturn:
    raise FormError(f"at {where}: {what}" if where else what)


def _either(forms: list[Form], where: str) -> Form:
    """One of several forms; of different types it is JSON."""
    pattern = choice(*(form.pattern for form in forms))
    assert pattern is not None
    types = {form.type for form in forms if form.type is not None}
    if not types:
        return Form(pattern, None)
    return Form(pattern, types.pop() if len(types) == 1 else JSON)


def _array(item: Form, least: int, most: int | None) -> Form:
    kind = item.type or JSON
    more = repeat(
        sequence(literal(", "), item.pattern), max(least - 1, 0), None if most is None else most - 1
    )
    filled = None if most == 0 else sequence(item.pattern, more)
    inner = filled if least else choice(NOTHING, filled)
    pattern = sequence(literal("["), inner, literal("]"))
    assert pattern is not None
    return Form(pattern, SqlType(f"{kind.name}[]", kind))


def _string(own: Mapping[str, Any], where: str) -> Form:
    least, most = _bounds(own, "minLength", "maxLength", where)
    is_bounded = "minLength" in own or "maxLength" in own
    if "format" in own:
        if own["format"] not in FORMATS:
            _fail(where, f"the format {json.dumps(own['format'])} is none of {', '.join(FORMATS)}")
        if is_bounded or "pattern" in own:
            _fail(where, "format is not understood beside pattern or lengths")
        name, text = FORMATS[own["format"]]
        return Form(_regex(f'"{text}"'), SqlType(name))
    if "pattern" in own:
        tree = _shortened(_pattern(own["pattern"], where), least, most, is_bounded, where)
    else:
        tree = Repeat(ANY, least, max(MAX_LENGTH, least) if most is None else most)
    inner = sequence(literal('"'), in_json(tree), literal('"'))
    if inner is None:
        _fail(where, "no text satisfies the pattern")
    return Form(inner, SqlType("VARCHAR"))


def _pattern(text: Any, where: str) -> Node:
    if not isinstance(text, str):
        _fail(where, "pattern must be a regular expression, a text")
    try:
        return found(text)
    except PatternError as error:
        _fail(where, f"the pattern is no regular expression that is understood: {error}")


def _shortened(tree: Node, least: int, most: int | None, is_bounded: bool, where: str) -> Node:
    """A pattern whose texts have the lengths that the schema wants."""
    if isinstance(tree, Chars):
        tree = Repeat(tree, 1, 1)
    if isinstance(tree, Repeat) and isinstance(tree.item, Chars):
        ends = [end for end in (tree.most, most) if end is not None]
        tree = Repeat(tree.item, max(tree.least, least), min(ends, default=None))
        if tree.most is not None and tree.most < tree.least:
            _fail(where, "no text satisfies both the pattern and the lengths")
        return tree
    shortest, longest = lengths(tree)
    if not is_bounded or (
        shortest >= least and (most is None or (longest is not None and longest <= most))
    ):
        return tree
    _fail(
        where,
        "the pattern allows texts that minLength or maxLength do not; let the pattern say how "
        "long they are",
    )


def _integer(own: Mapping[str, Any], where: str) -> Form:
    low, high = INTEGERS["BIGINT"]
    for key, value in own.items():
        if isinstance(value, bool) or not isinstance(value, int):
            _fail(where, f"{key} must be a whole number")
        if key in ("minimum", "exclusiveMinimum"):
            low = max(low, value + (key != "minimum"))
        else:
            high = min(high, value - (key != "maximum"))
    if low > high:
        _fail(where, "no number satisfies the bounds")
    return Form(_between(low, high), SqlType("BIGINT"))


def _bounds(own: Mapping[str, Any], low: str, high: str, where: str) -> tuple[int, int | None]:
    for key in (low, high):
        value = own.get(key, 0)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            _fail(where, f"{key} must be a whole number of at least 0")
    least, most = own.get(low, 0), own.get(high)
    if most is not None and most < least:
        _fail(where, f"{low} is {least} and {high} is {most}, which nothing satisfies")
    return least, most


def _number(whole: int, fraction: int) -> Node:
    """A number with at most so many digits before and behind the point."""
    before = f"(?:0|[1-9][0-9]{{0,{whole - 1}}})" if whole else "0"
    return _regex(f"-?{before}" + (f"(?:[.][0-9]{{1,{fraction}}})?" if fraction else ""))


def _between(low: int, high: int) -> Node:
    """Whole numbers of a range, in decimal digits without leading zeros."""
    options = []
    if low < 0:
        options.append("-" + _digits(max(1, -high), -low))
    if high >= 0:
        options.append(_digits(max(low, 0), high))
    return _regex("|".join(options))


def _digits(low: int, high: int) -> str:
    options = []
    for count in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (count - 1) if count > 1 else 0)
        options.append(_same_length(str(first), str(min(high, 10**count - 1))))
    return f"(?:{'|'.join(options)})"


def _same_length(low: str, high: str) -> str:
    """Numbers between two of as many digits."""
    if not low:
        return ""
    if low[0] == high[0]:
        return low[0] + _same_length(low[1:], high[1:])
    rest, options = len(low) - 1, []
    first, last = int(low[0]), int(high[0])
    if low[1:] != "0" * rest:
        options.append(low[0] + _same_length(low[1:], "9" * rest))
        first += 1
    if high[1:] != "9" * rest:
        options.append(high[0] + _same_length("0" * rest, high[1:]))
        last -= 1
    if first <= last:
        options.append(f"[{first}-{last}][0-9]{{{rest}}}")
    return f"(?:{'|'.join(options)})"


def _regex(text: str) -> Node:
    return parsed(text)


def _listed(types: Any, where: str) -> list[str]:
    listed = types if isinstance(types, list) else [types]
    for name in listed:
        if not isinstance(name, str) or name not in KEYWORDS:
            _fail(where, f"{json.dumps(name)} is no type of JSON")
    if not listed:
        _fail(where, "has no type")
    return listed


def _is_type(value: Any, name: str) -> bool:
    if isinstance(value, bool) or value is None:
        return name == ("null" if value is None else "boolean")
    kinds = {"string": str, "array": list, "object": dict, "number": (int, float), "integer": int}
    return isinstance(value, kinds.get(name, ()))  # type: ignore[arg-type]


def _value_type(value: Any) -> str:
    """The type of SQL of a listed value."""
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int):
        low, high = INTEGERS["BIGINT"]
        return "BIGINT" if low <= value <= high else "JSON"
    return {str: "VARCHAR", float: "DOUBLE"}.get(type(value), "JSON")


def _is_text(text: str) -> bool:
    return not any(letter in "\x00\U0010ffff" or "\ud800" <= letter <= "\udfff" for letter in text)


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
{% endraw %}
{%- endmacro %}
