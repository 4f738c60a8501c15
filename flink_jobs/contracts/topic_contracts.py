"""Loads the topic contracts: content, key, configuration, producers and consumers of each Kafka topic."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from flink_jobs.contracts.document import DocumentError, Section, read_document

CONTRACTS_DIR = Path(__file__).parent
LONGEST_TOPIC_NAME = 249  # Kafka's own limit
COMPATIBILITIES = ("BACKWARD", "FULL_TRANSITIVE")
"""Names of Confluent's registry. Backward: the newest schema reads records of the one before it. Full transitive: every
version reads records of every other one."""
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]+")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeyContract:
    """The field that is the message key, its encoding, and the reason for it."""

    field: str
    encoding: str
    required: bool
    why: str


@dataclass(frozen=True, slots=True)
class Example:
    """A document that is valid under the schema of ``version``."""

    name: str
    version: int
    document: Json


@dataclass(frozen=True, slots=True)
class CounterExample:
    """A payload that must be rejected; ``reason`` is the dead-letter reason where the topic has reasons."""

    name: str
    version: int
    payload: bytes
    reason: str | None


@dataclass(frozen=True, slots=True)
class TopicContract:
    """The contract of one topic.

    ``name`` is the full Kafka name (prefix and suffix). ``config`` has the Kafka topic options as texts, ready for
    CreateTopics. ``timestamp`` says what producers write into the record timestamp.
    """

    name: str
    suffix: str
    description: str
    key: KeyContract
    partitions: int
    config: Mapping[str, str]
    timestamp: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    examples: tuple[Example, ...]
    counter_examples: tuple[CounterExample, ...]
    schemas: Mapping[int, Json] = field(repr=False)
    avro: str | None = None
    """How the Avro schemas of the versions must fit each other; ``None`` for a topic of JSON only."""

    @property
    def latest_version(self) -> int:
        """Return the latest schema version, which producers write."""
        return max(self.schemas)

    def schema(self, version: int | None = None) -> Json:
        """Return the JSON Schema of a version; without ``version``, the latest.

        Raises:
            LookupError: there is no such version.
        """
        wanted = self.latest_version if version is None else version
        if wanted not in self.schemas:
            known = ", ".join(str(number) for number in sorted(self.schemas))
            message = f"{self.name} has no schema version {wanted}; known versions: {known}"
            raise LookupError(message)
        return self.schemas[wanted]


def topic_name(prefix: str, suffix: str) -> str:
    """Return the Kafka name of the topic ``suffix`` in the installation ``prefix``."""
    return f"{prefix}.{suffix}"


def load_contracts(prefix: str = "streamflow", folder: Path = CONTRACTS_DIR) -> dict[str, TopicContract]:
    """Return every contract below ``folder/topics``, by suffix (``transactions``, ``decisions``, ...).

    ``prefix`` is the part of the Kafka name before the suffix.

    Raises:
        DocumentError: a contract file is invalid.
    """
    files = sorted((folder / "topics").glob("*.yaml"))
    if not files:
        raise DocumentError(folder / "topics", "", "holds no contract", "each topic needs one YAML file here")
    contracts = [load_contract(path, prefix, folder / "schemas") for path in files]
    return {contract.suffix: contract for contract in contracts}


def load_contract(path: Path, prefix: str, schema_dir: Path) -> TopicContract:
    """Return the contract in one file.

    Raises:
        DocumentError: the file is invalid; the message gives file, key and remedy.
    """
    top = read_document(path)
    suffix = top.text("suffix")
    if suffix != path.stem:
        raise top.error(
            "suffix",
            f"is {suffix!r} in a file named {path.name}",
            f"rename one of them; the file would be {suffix}.yaml",
        )
    name = topic_name(prefix, suffix)
    if len(name) > LONGEST_TOPIC_NAME or not _LEGAL_NAME.fullmatch(name):
        problem = f"{name!r} is not a legal Kafka topic name"
        raise top.error("suffix", problem, "use at most 249 letters, digits, dots, underscores and hyphens")
    schemas = _schemas(top, schema_dir)
    examples = tuple(_example(part) for part in top.sections("examples"))
    contract = TopicContract(
        name=name,
        suffix=suffix,
        description=top.text("description"),
        key=_key(top.section("key")),
        partitions=top.integer("partitions"),
        config=_config(top.section("config")),
        timestamp=top.text("timestamp"),
        producers=top.strings("producers"),
        consumers=top.strings("consumers"),
        examples=examples,
        counter_examples=tuple(_counter_example(part, examples) for part in top.sections("counter_examples")),
        schemas=MappingProxyType(schemas),
        avro=_avro(top),
    )
    top.close()
    if contract.partitions < 1:
        raise top.error("partitions", f"is {contract.partitions}", "a topic has at least 1 partition")
    for key, parties in (("producers", contract.producers), ("consumers", contract.consumers)):
        if not parties:
            raise top.error(key, "is empty", "name at least one; a topic without producers or consumers is not needed")
    return contract


def _key(part: Section) -> KeyContract:
    key = KeyContract(
        field=part.text("field"),
        encoding=part.text("encoding"),
        required=part.flag("required"),
        why=part.text("why"),
    )
    part.close()
    return key


def _avro(top: Section) -> str | None:
    if not top.has("avro"):
        return None
    compatibility = top.text("avro")
    if compatibility not in COMPATIBILITIES:
        known = ", ".join(COMPATIBILITIES)
        raise top.error("avro", f"is {compatibility!r}", f"name the compatibility of its Avro schemas: {known}")
    return compatibility


def _config(part: Section) -> Mapping[str, str]:
    return MappingProxyType({key: part.text(key) for key in part.names()})


def _schemas(top: Section, schema_dir: Path) -> dict[int, Json]:
    schemas: dict[int, Json] = {}
    for part in top.sections("versions"):
        version, file_name = part.integer("version"), part.text("schema")
        part.text("since")
        part.close()
        expected = len(schemas) + 1
        if version != expected:
            raise part.error("version", f"is {version}, expected {expected}", "list versions from 1 without gaps")
        try:
            schemas[version] = json.loads((schema_dir / file_name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as cause:
            remedy = f"put a JSON Schema there: {schema_dir / file_name}"
            raise part.error("schema", f"cannot be read ({cause})", remedy) from cause
    if not schemas:
        raise top.error("versions", "is empty", "every topic needs at least version 1 and its schema")
    return schemas


def _example(part: Section) -> Example:
    document = part.raw("document")
    if not isinstance(document, dict):
        raise part.error("document", "is not a mapping", "write the example message here")
    example = Example(part.text("name"), part.integer("version"), MappingProxyType(document))
    part.close()
    return example


def _counter_example(part: Section, examples: tuple[Example, ...]) -> CounterExample:
    """Return an invalid payload: ``text``, ``base64``, ``document``, or a valid example with ``set`` and ``unset``."""
    version, payload = part.integer("version", 1), b""
    if part.has("text"):
        payload = part.text("text", "").encode()
    elif part.has("base64"):
        payload = base64.b64decode(part.text("base64"), validate=True)
    elif part.has("based_on"):
        base_name = part.text("based_on")
        base = next((example for example in examples if example.name == base_name), None)
        if base is None:
            names = "; ".join(example.name for example in examples)
            raise part.error("based_on", f"no example is named {base_name!r}", f"examples: {names}")
        version = base.version
        document = {**base.document, **(part.raw("set") or {})}
        for gone in part.strings("unset"):
            document.pop(gone, None)
        payload = json.dumps(document, ensure_ascii=False).encode()
    elif part.has("document"):
        payload = json.dumps(part.raw("document"), ensure_ascii=False).encode()
    else:
        raise part.error("", "has no payload", "give one of: text, base64, document, based_on")
    reason = part.text("reason") if part.has("reason") else None
    counter = CounterExample(part.text("name"), version, payload, reason)
    part.close()
    return counter
