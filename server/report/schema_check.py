"""The part of JSON Schema 2020-12 that `summary.schema.json` uses, for audits on machines without jsonschema.

A keyword outside this part is an error, never ignored: a rule that is not checked would seem to hold.
The tests compare each verdict with the reference implementation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from common.errors import CheckFailed

Json: TypeAlias = Any
Schema: TypeAlias = Mapping[str, Any]


def problems(value: Json, schema: Schema, *, root: Schema, at: str = "$") -> Iterator[str]:
    """What breaks the schema, one line each: the JSON path, then what was expected there.

    Args:
        value: As `json.loads` gives it.
        schema: The rule for this value.
        root: The whole schema, where `$ref` looks names up.
        at: JSON path of the value.

    Raises:
        CheckFailed: The schema uses a keyword that is not implemented here.
    """
    for keyword, rule in schema.items():
        if keyword in _NESTED:
            yield from _NESTED[keyword](value, schema, root, at)
        elif keyword in _LEAVES:
            if not _LEAVES[keyword](value, rule):
                yield f"{at}: expected {keyword} {rule}, found {value!r:.60}"
        elif keyword not in _ANNOTATIONS:
            raise CheckFailed(f"summary.schema.json: keyword {keyword} at {at}: add it to schema_check.py")


def _reference(value: Json, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    name = schema["$ref"].removeprefix("#/$defs/")
    return problems(value, root["$defs"][name], root=root, at=at)


def _any_of(value: Json, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    branches = schema["anyOf"]
    if all(any(problems(value, branch, root=root, at=at)) for branch in branches):
        yield f"{at}: fits none of the {len(branches)} forms allowed here"


def _required(value: Json, schema: Schema, _root: Schema, at: str) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{at}.{name}: missing" for name in schema["required"] if name not in value)


def _items(value: Json, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    for position, item in enumerate(value if isinstance(value, list) else []):
        yield from problems(item, schema["items"], root=root, at=f"{at}[{position}]")


def _properties(value: Json, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    for name, member in value.items() if isinstance(value, dict) else []:
        if name in schema["properties"]:
            yield from problems(member, schema["properties"][name], root=root, at=f"{at}.{name}")


def _additional_properties(value: Json, schema: Schema, root: Schema, at: str) -> Iterator[str]:
    others = schema["additionalProperties"]
    for name, member in value.items() if isinstance(value, dict) else []:
        if name in schema.get("properties", {}):
            continue
        if others is False:
            yield f"{at}.{name}: unknown key"
        else:
            yield from problems(member, others, root=root, at=f"{at}.{name}")


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(value: Json, constant: Json) -> bool:
    """Equality of JSON scalars: `true` is not 1, and 1.0 is 1."""
    return bool(value == constant) and isinstance(value, bool) == isinstance(constant, bool)


_TYPES: Mapping[str, Callable[[Json], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
}
_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description"}

_NESTED: Mapping[str, Callable[[Json, Schema, Schema, str], Iterator[str]]] = {
    "$ref": _reference,
    "anyOf": _any_of,
    "required": _required,
    "items": _items,
    "properties": _properties,
    "additionalProperties": _additional_properties,
}
_LEAVES: Mapping[str, Callable[[Json, Any], bool]] = {
    "type": lambda value, names: any(_TYPES[name](value) for name in ([names] if isinstance(names, str) else names)),
    "const": _same,
    "enum": lambda value, constants: any(_same(value, constant) for constant in constants),
    "minItems": lambda value, bound: not isinstance(value, list) or len(value) >= bound,
    "maxItems": lambda value, bound: not isinstance(value, list) or len(value) <= bound,
    "minimum": lambda value, bound: not _is_number(value) or value >= bound,
    "maximum": lambda value, bound: not _is_number(value) or value <= bound,
    "exclusiveMinimum": lambda value, bound: not _is_number(value) or value > bound,
    "pattern": lambda value, form: not isinstance(value, str) or re.search(form, value) is not None,
}
