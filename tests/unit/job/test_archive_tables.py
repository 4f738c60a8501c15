"""The archive's columns against the contracts: every field of a topic has its column, of a type that holds it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.job.archiver.tables import ARCHIVES, Archive, upsert_sql

HOLDS = {
    "text": {"string"},
    "jsonb": {"object", "array", "null"},
    "integer": {"integer"},
    "bigint": {"integer"},
    "double precision": {"number"},
    "boolean": {"boolean"},
}
FIELD = re.compile(r"'([a-z_]+)'|'\{([a-z_]+),[a-z]+\}'")
"""A JSON field in an expression over ``doc``: ``doc ->> 'topic'``, ``doc #>> '{source,topic}'``."""
by_topic = pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.topic)


IN_THE_DECISION = {"labels": {"terminal", "device", "card"}}
"""Fields without a column: the row of the decision has them (docs/tables.md)."""


def fields(archive: Archive) -> dict[str, set[str]]:
    """Return the JSON types of each field of the topic's newest schema."""
    schema: Any = load_contracts()[archive.topic].schema()
    return {name: _types(schema, part) for name, part in schema["properties"].items()}


def _types(schema: dict[str, Any], part: dict[str, Any]) -> set[str]:
    if "$ref" in part:
        found = schema
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return _types(schema, found)
    if "enum" in part or "const" in part:
        values = part.get("enum", [part.get("const")])
        names = {str: "string", int: "integer", bool: "boolean", type(None): "null"}
        return {names[type(value)] for value in values}
    if "type" not in part:
        return {name for choice in part.get("anyOf", part.get("oneOf", [])) for name in _types(schema, choice)}
    return {part["type"]} if isinstance(part["type"], str) else set(part["type"])


def read_fields(archive: Archive) -> set[str]:
    """Return the JSON fields that the expressions of renamed columns read."""
    found = {name for text in archive.renamed.values() for pair in FIELD.findall(text) for name in pair if name}
    return found - {"champion"}


@by_topic
def test_every_column_has_its_field_and_every_field_its_column(archive: Archive) -> None:
    plain = {name for name in archive.columns if name not in archive.renamed}
    assert plain | read_fields(archive) | IN_THE_DECISION.get(archive.topic, set()) == set(fields(archive))
    assert not IN_THE_DECISION.get(archive.topic, set()) & set(archive.columns)
    assert set(archive.renamed) <= set(archive.columns)


@by_topic
def test_every_column_holds_the_type_of_its_field(archive: Archive) -> None:
    known = fields(archive)
    plain = {name: kind for name, kind in archive.columns.items() if name not in archive.renamed}
    assert plain
    for name, kind in plain.items():
        assert known[name] - {"null"} <= HOLDS[kind], name


@by_topic
def test_what_an_integer_column_holds_is_not_cut(archive: Archive) -> None:
    schema: Any = load_contracts()[archive.topic].schema()
    for name, kind in archive.columns.items():
        if kind == "integer":
            assert name in {"schema_version", "source_partition"}, f"{name} may outgrow 32 bits: use bigint"
    assert schema["properties"]["schema_version"]


@by_topic
def test_the_primary_key_is_made_of_fields_that_are_always_there(archive: Archive) -> None:
    schema: Any = load_contracts()[archive.topic].schema()
    assert archive.primary_key
    assert set(archive.primary_key) <= set(archive.columns)
    for name in archive.primary_key:
        assert name in schema["required"] or archive.renamed[name].startswith("coalesce("), name


@by_topic
def test_the_statement_names_every_column_and_one_parameter(archive: Archive) -> None:
    statement = upsert_sql(archive)
    assert statement.count("%b") == 1
    assert all(f"{name} = EXCLUDED.{name}" in statement for name in archive.columns)
