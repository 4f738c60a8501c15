"""Compares a document's type with its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

JSON_TYPE = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}

Schema = Mapping[str, Any]


def disagreements(hint: Any, schema: Schema, where: str) -> list[str]:  # noqa: ANN401 - a type annotation
    """Return how a type and a schema differ, one line for each difference; empty when they agree."""
    options = _options(hint)
    allowed = _json_types(schema)
    declared = {_json_type(option) for option in options}
    if declared != allowed:
        return [f"{where}: the type is {sorted(declared)}, the schema {sorted(allowed)}"]
    found: list[str] = []
    for option in options:
        found += _inside(option, schema, where)
    return found


def _inside(option: Any, schema: Schema, where: str) -> list[str]:  # noqa: ANN401
    """Compare the fields of an object, the items of an array, the values of an enumeration."""
    values = _values(option)
    if values is not None or "enum" in schema or "const" in schema:
        listed = set(schema.get("enum", [schema["const"]] if "const" in schema else []))
        return [] if values == listed else [f"{where}: the type has values {values}, the schema {listed}"]
    if is_typeddict(option):
        return _fields(option, schema, where)
    origin, inner = get_origin(option), get_args(option)
    pairs: list[tuple[Any, Schema, str]] = []
    if origin in {dict, Mapping}:
        pairs = [(inner[1], schema["additionalProperties"], f"{where}.*")]
        pairs += [(inner[1], part, f"{where}.{name}") for name, part in schema.get("properties", {}).items()]
    elif origin is list:
        pairs = [(inner[0], schema["items"], f"{where}[]")]
    elif origin is tuple:
        parts = schema["prefixItems"]
        if not len(inner) == len(parts) == schema["minItems"] == schema["maxItems"]:
            return [f"{where}: the type has {len(inner)} items, the schema {len(parts)}"]
        pairs = [(inner[number], part, f"{where}[{number}]") for number, part in enumerate(parts)]
    return [line for member, part, place in pairs for line in disagreements(member, part, place)]


def _fields(document: Any, schema: Schema, where: str) -> list[str]:  # noqa: ANN401
    properties = schema.get("properties")
    if properties is None:
        return []  # the schema takes any object here
    hints = get_type_hints(document, include_extras=True)
    required = {name for name in document.__required_keys__ if get_origin(hints[name]) is not NotRequired}
    found = []
    if schema.get("additionalProperties") is not False:
        found.append(f"{where}: the schema must say additionalProperties: false")
    found += [f"{where}.{name} is in one of type and schema only" for name in sorted(hints.keys() ^ properties.keys())]
    found += [
        f"{where}.{name} is required by one of type and schema only"
        for name in sorted(required ^ set(schema.get("required", ())))
    ]
    for name in hints.keys() & properties.keys():
        hint = hints[name]
        if get_origin(hint) is NotRequired:
            hint = get_args(hint)[0]
        found += disagreements(hint, properties[name], f"{where}.{name}")
    return found


def _options(hint: Any) -> list[Any]:  # noqa: ANN401
    return list(get_args(hint)) if get_origin(hint) in {Union, UnionType} else [hint]


def _json_types(schema: Schema) -> set[str]:
    if "const" in schema:
        return {JSON_TYPE[type(schema["const"])]}
    if "enum" in schema:
        return {JSON_TYPE[type(value)] for value in schema["enum"]}
    types = schema["type"]
    return {types} if isinstance(types, str) else set(types)


def _json_type(option: Any) -> str:  # noqa: ANN401
    values = _values(option)
    if values is not None:
        (name,) = {JSON_TYPE[type(value)] for value in values}
        return name
    if is_typeddict(option) or get_origin(option) in {dict, Mapping}:
        return "object"
    if get_origin(option) in {list, tuple}:
        return "array"
    return JSON_TYPE[option]


def _values(option: Any) -> set[Any] | None:  # noqa: ANN401
    """Return the values that a type lists, ``None`` for a type that lists none."""
    if get_origin(option) is Literal:
        return set(get_args(option))
    if isinstance(option, type) and issubclass(option, Enum):
        return {member.value for member in option}
    return None
