"""Generates the Avro schemas of topics that accept Avro from their JSON Schemas, and compares versions.

``streamflow schemas export`` writes them below ``flink_jobs/contracts/avro``, ``streamflow schemas check`` compares the
files with the contracts and refuses a version that breaks the compatibility which its contract names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from flink_jobs.contracts.topic_contracts import CONTRACTS_DIR, TopicContract
from flink_jobs.core.parsing.avro_resolution import IncompatibleSchemaError, resolve
from flink_jobs.errors import UserError

AVRO_DIR: Final = CONTRACTS_DIR / "avro"
NAMESPACE: Final = "io.streamflow"
_TYPES: Final = {"string": "string", "integer": "long", "number": "double"}

AvroType = str | dict[str, Any] | list[Any]


class AvroVersion(NamedTuple):
    """The Avro schema of one version of a topic's contract."""

    suffix: str
    version: int
    text: str
    """The schema as JSON, ready for a file or a registry."""

    @property
    def file_name(self) -> str:
        """Return the name of its file, such as ``transactions.v1.avsc``."""
        return f"{self.suffix}.v{self.version}.avsc"


def avro_versions(contracts: Mapping[str, TopicContract]) -> list[AvroVersion]:
    """Return the Avro schema of every version of every topic that accepts Avro, in order."""
    return [
        AvroVersion(contract.suffix, version, json.dumps(avro_schema(schema), indent=2, ensure_ascii=False) + "\n")
        for contract in contracts.values()
        if contract.avro is not None
        for version, schema in sorted(contract.schemas.items())
    ]


def avro_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Avro schema of a JSON Schema.

    A field that is not required may be null, with null as default, so that it can be added and removed.

    Raises:
        UserError: Avro has no type for a field; the message names it.
    """
    name = str(schema["title"]).partition(",")[0]
    return _record(name, schema) | {"namespace": NAMESPACE}


def _record(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    required = set(schema.get("required", ()))
    fields = [_field(key, part, is_required=key in required) for key, part in schema["properties"].items()]
    doc = {"doc": schema["description"]} if "description" in schema else {}
    return {"type": "record", "name": name, **doc, "fields": fields}


def _field(name: str, schema: Mapping[str, Any], *, is_required: bool) -> dict[str, Any]:
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    is_optional = "null" in kinds or not is_required
    doc = {"doc": schema["description"]} if "description" in schema else {}
    plain = [kind for kind in kinds if kind != "null"]
    if len(plain) != 1 or (plain[0] not in _TYPES and plain[0] != "object"):
        raise UserError(
            f"the field {name} has the type {', '.join(kinds) or 'none'}, which has no Avro type here",
            "give it one of string, integer, number or object, or extend flink_jobs/contracts/avro_schemas.py",
        )
    kind: AvroType = _TYPES.get(plain[0], "")
    if plain[0] == "object":
        nested = {key: value for key, value in schema.items() if key != "description"}
        kind = _record("".join(part.capitalize() for part in name.split("_")), nested)
    if is_optional:
        return {"name": name, "type": ["null", kind], "default": None, **doc}
    return {"name": name, "type": kind, **doc}


def problems(contracts: Mapping[str, TopicContract], folder: Path = AVRO_DIR) -> list[str]:
    """Return what is wrong with the committed schemas: files that differ from the contracts, incompatible versions."""
    versions = avro_versions(contracts)
    return [*_stale(versions, folder), *_incompatible(contracts, versions)]


def _stale(versions: list[AvroVersion], folder: Path) -> Iterator[str]:
    expected = {item.file_name: item.text for item in versions}
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.avsc")}
    for name in sorted(expected.keys() | present.keys()):
        if name not in expected:
            yield f"{folder / name} belongs to no contract: remove it"
        elif present.get(name) != expected[name]:
            yield f"{folder / name} differs from its contract: run `streamflow schemas export`"


def _incompatible(contracts: Mapping[str, TopicContract], versions: list[AvroVersion]) -> Iterator[str]:
    for suffix in sorted({item.suffix for item in versions}):
        mine = [item for item in versions if item.suffix == suffix]
        for reader, writer in _pairs(mine, contracts[suffix].avro or ""):
            problem = incompatibility(writer.text, reader.text)
            if problem is not None:
                yield (
                    f"{suffix}: version {reader.version} does not read records of version {writer.version} "
                    f"({problem}), as {contracts[suffix].avro} requires: make the change optional"
                )


def _pairs(versions: list[AvroVersion], compatibility: str) -> Iterator[tuple[AvroVersion, AvroVersion]]:
    """Yield each reader with each writer whose records it must read."""
    if compatibility == "BACKWARD":
        yield from zip(versions[1:], versions, strict=False)
        return
    for reader in versions:
        for writer in versions:
            if reader is not writer:
                yield reader, writer


def incompatibility(writer: str, reader: str) -> str | None:
    """Return why a reader does not read every record of a writer, ``None`` if it does."""
    try:
        resolve(writer, reader, is_strict=True)
    except IncompatibleSchemaError as problem:
        return str(problem)
    return None


def reader_schema(contract: TopicContract) -> str:
    """Return the schema for which the job resolves the writers' schemas: that of the latest version."""
    return json.dumps(avro_schema(contract.schema()))


def export(contracts: Mapping[str, TopicContract], folder: Path) -> list[Path]:
    """Write every Avro schema to a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for item in avro_versions(contracts):
        path = folder / item.file_name
        path.write_text(item.text, encoding="utf-8")
        written.append(path)
    return written
