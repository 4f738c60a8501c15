"""The Avro schemas are those of the contracts, and no version breaks its readers."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import fastavro
import fastavro.validation
import pytest

from flink_jobs.contracts.avro_schemas import AVRO_DIR, avro_schema, avro_versions, export, incompatibility, problems
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from flink_jobs.contracts.topic_contracts import TopicContract

Contracts = dict[str, "TopicContract"]


def with_version_2(contracts: Contracts, **changes: Any) -> Contracts:  # noqa: ANN401 - parts of a JSON Schema
    """The contracts with a second version of the transactions; ``required`` replaces, other parts are fields."""
    contract = contracts["transactions"]
    schema = copy.deepcopy(dict(contract.schema(1)))
    schema["required"] = changes.pop("required", schema["required"])
    schema["properties"] = {k: v for k, v in {**schema["properties"], **changes}.items() if v is not None}
    newer = MappingProxyType({1: contract.schemas[1], 2: schema})
    return {**contracts, "transactions": replace(contract, schemas=newer)}


def test_the_committed_schemas_are_those_of_the_contracts(contracts: Contracts) -> None:
    assert problems(contracts) == []
    assert [item.file_name for item in avro_versions(contracts)] == ["transactions.v1.avsc", "transactions.v2.avsc"]


def test_fastavro_accepts_every_schema_and_the_examples(contracts: Contracts) -> None:
    checked = 0
    for item in avro_versions(contracts):
        schema = fastavro.parse_schema(json.loads(item.text))
        for example in contracts[item.suffix].examples:
            if example.version == item.version:
                fastavro.validation.validate(dict(example.document), schema, strict=False)
                checked += 1
    assert checked


def test_a_stale_a_missing_and_a_foreign_file_are_named(contracts: Contracts, tmp_path: Path) -> None:
    assert problems(contracts, tmp_path) == [
        f"{tmp_path}/transactions.v{version}.avsc differs from its contract: run `streamflow schemas export`"
        for version in (1, 2)
    ]
    path, _ = export(contracts, tmp_path)
    assert problems(contracts, tmp_path) == []
    path.write_text("{}")
    (tmp_path / "old.v1.avsc").write_text("{}")
    assert [line.rpartition("/")[2] for line in problems(contracts, tmp_path)] == [
        "old.v1.avsc belongs to no contract: remove it",
        "transactions.v1.avsc differs from its contract: run `streamflow schemas export`",
    ]


TEXT = {"type": ["string", "null"]}
REQUIRED = ["transaction_id", "customer_id", "amount_minor", "currency", "event_time_ms"]


@pytest.mark.parametrize(
    ("change", "is_allowed", "why"),
    [
        ({"terminal": TEXT}, True, ""),
        ({"merchant": None}, True, ""),
        ({"terminal": {"type": "string"}, "required": [*REQUIRED, "terminal"]}, False, "no field terminal"),
        ({"customer_id": None, "required": [name for name in REQUIRED if name != "customer_id"]}, False, "customer_id"),
        ({"amount_minor": {"type": "string"}}, False, "amount_minor must be a string, not an Avro long"),
        ({"amount_minor": {"type": "number"}}, False, "amount_minor must be an integer, not an Avro double"),
        ({"merchant": {"type": "integer"}}, False, "merchant must be"),
        ({"customer_id": TEXT}, False, "customer_id must be a string, not an Avro null"),
        ({"merchant": {"type": "string"}, "required": [*REQUIRED, "merchant"]}, False, "not an Avro null"),
    ],
    ids=[
        "added",
        "removed",
        "required",
        "required removed",
        "text",
        "double",
        "other type",
        "nullable",
        "not nullable",
    ],
)
def test_a_breaking_version_is_refused(
    contracts: Contracts, tmp_path: Path, change: dict[str, Any], why: str, *, is_allowed: bool
) -> None:
    changed = with_version_2(contracts, **change)
    export(changed, tmp_path)
    found = problems(changed, tmp_path)
    assert (found == []) is is_allowed
    assert all(line.startswith("transactions: version ") and "FULL_TRANSITIVE" in line for line in found)
    assert any(why in line for line in found) is not is_allowed


def test_backward_compares_each_version_with_the_one_before(contracts: Contracts, tmp_path: Path) -> None:
    """A required field may be removed: the newer schema skips it, but the older one could not read newer records."""
    optional = with_version_2(
        contracts, customer_id=None, required=[name for name in REQUIRED if name != "customer_id"]
    )
    backward = {**optional, "transactions": replace(optional["transactions"], avro="BACKWARD")}
    export(backward, tmp_path)
    assert problems(backward, tmp_path) == []
    assert problems(optional, tmp_path)


def test_incompatibility_names_the_field(contracts: Contracts) -> None:
    *_, version = avro_versions(contracts)
    assert incompatibility(version.text, version.text) is None
    assert incompatibility('"string"', version.text) == "the record must be a record, not an Avro string"


def test_a_field_without_an_avro_type_is_an_error() -> None:
    schema = {"title": "Thing, version 1", "properties": {"tags": {"type": "array"}}}
    with pytest.raises(UserError, match="the field tags has the type array, which has no Avro type here"):
        avro_schema(schema)


def test_the_folder_is_part_of_the_contracts() -> None:
    assert AVRO_DIR.is_dir()
