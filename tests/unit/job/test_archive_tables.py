"""The archive's columns against the contracts: every field of a topic has its column, of a type that holds it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import SecretStr

from flink_jobs.contracts.registry import load_contracts
from flink_jobs.job.archive import insert_sql, sink_ddl, source_ddl
from flink_jobs.job.archive_tables import ARCHIVES, SOURCE_FIELDS, Archive
from flink_jobs.settings import Settings

HOLDS = {
    "STRING": {"string", "object", "array"},  # what is nested arrives as JSON text
    "INT": {"integer"},
    "BIGINT": {"integer"},
    "DOUBLE": {"number"},
    "BOOLEAN": {"boolean"},
}
by_topic = pytest.mark.parametrize("archive", ARCHIVES, ids=lambda archive: archive.topic)


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


@by_topic
def test_every_column_has_its_field_and_every_field_its_column(archive: Archive) -> None:
    known = fields(archive)
    plain = {name for name in archive.columns if name not in archive.renamed}
    sources = set(SOURCE_FIELDS.get(archive.topic, {}))
    assert plain | sources == set(known)
    assert not plain & sources
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
        if kind == "INT" and name not in archive.renamed:
            assert name in {"schema_version", "partition"}, f"{name} may outgrow 32 bits: use BIGINT"
    assert schema["properties"]["schema_version"]


@by_topic
def test_a_renamed_column_reads_a_declared_source_field(archive: Archive) -> None:
    for expression in archive.renamed.values():
        names = set(re.findall(r"[a-z_]+", expression))
        declared = set(SOURCE_FIELDS[archive.topic]) | (archive.columns.keys() - archive.renamed.keys())
        assert names & declared, expression


@by_topic
def test_the_primary_key_is_made_of_fields_that_are_always_there(archive: Archive) -> None:
    schema: Any = load_contracts()[archive.topic].schema()
    assert archive.primary_key
    assert set(archive.primary_key) <= set(archive.columns)
    for name in archive.primary_key:
        assert name in schema["required"] or archive.renamed[name].startswith("COALESCE("), name


@by_topic
def test_a_password_with_a_quote_stays_inside_its_literal(archive: Archive) -> None:
    settings = Settings(
        kafka_bootstrap_servers="broker:9092",
        postgres_host="db",
        postgres_port=5432,
        postgres_database="d",
        postgres_user="u",
        postgres_password=SecretStr("it's"),
        flink_rest_url="http://flink",
        checkpoint_dir="file:///c",
        savepoint_dir="file:///s",
    )

    assert "'password' = 'it''s'" in sink_ddl(archive, settings)
    assert "'topic' = 'some.topic'" in source_ddl(archive, "some.topic", settings)
    assert insert_sql(archive).startswith(f"INSERT INTO {archive.topic}_table SELECT ")
