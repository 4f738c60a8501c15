"""Every topic's YAML: complete, consistent with its schemas and examples, and never changed after release."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from flink_jobs.contracts.document import DocumentError
from flink_jobs.contracts.topic_contracts import CONTRACTS_DIR, load_contract, load_contracts
from tests.contract.conftest import StrictValidator

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.contracts.topic_contracts import TopicContract

TOPICS = (
    "alerts", "audit", "control", "decisions", "dlq", "labels", "merchant-risk", "replies", "transactions",
    "user-actions",
)  # fmt: skip
RELEASED = Path(__file__).parent / "released_schemas.yaml"
DAY_MS = 24 * 3600 * 1000
# The topic configs that a contract may set: a misspelt one would be refused by the broker only at creation.
KNOWN_CONFIGS = {
    "cleanup.policy",
    "retention.ms",
    "retention.bytes",
    "message.timestamp.type",
    "max.message.bytes",
    "segment.ms",
}
COMMENTS = {"description", "title", "$comment", "examples"}


def test_every_topic_of_the_product_has_a_contract(contracts: dict[str, TopicContract]) -> None:
    assert tuple(sorted(contracts)) == TOPICS


@pytest.mark.parametrize("suffix", TOPICS)
def test_contract_is_complete(contracts: dict[str, TopicContract], suffix: str) -> None:
    contract = contracts[suffix]
    assert contract.name == f"streamflow.{suffix}"
    assert contract.description
    assert contract.key.why
    assert contract.producers, "a topic nobody writes"
    assert contract.consumers, "a topic nobody reads"
    assert contract.examples, "a topic without an example"
    assert contract.counter_examples, "a schema that refuses nothing is not tested"
    assert set(contract.config) <= KNOWN_CONFIGS
    assert sorted(contract.schemas) == list(range(1, contract.latest_version + 1))


@pytest.mark.parametrize("suffix", TOPICS)
def test_key_is_a_field_of_the_schema(contracts: dict[str, TopicContract], suffix: str) -> None:
    contract = contracts[suffix]
    assert contract.key.field in contract.schema()["properties"]
    assert contract.key.field in contract.schema()["required"]


@pytest.mark.parametrize("suffix", TOPICS)
def test_examples_are_valid_and_counter_examples_are_not(contracts: dict[str, TopicContract], suffix: str) -> None:
    contract = contracts[suffix]
    for example in contract.examples:
        schema = StrictValidator(contract.schema(example.version))
        assert [error.message for error in schema.iter_errors(dict(example.document))] == [], example.name
    assert contract.latest_version in {example.version for example in contract.examples}
    if suffix != "transactions":  # those are checked against the parser: not each of them is JSON
        for counter in contract.counter_examples:
            refusing = StrictValidator(contract.schema(counter.version))
            assert list(refusing.iter_errors(json.loads(counter.payload))), counter.name


@pytest.mark.parametrize("suffix", TOPICS)
def test_schema_is_a_schema_and_says_which(contracts: dict[str, TopicContract], suffix: str) -> None:
    for version, schema in contracts[suffix].schemas.items():
        Draft202012Validator.check_schema(dict(schema))
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["$id"] == f"urn:streamflow:{suffix}:v{version}"


def test_no_schema_file_is_orphaned() -> None:
    used = {
        version["schema"]
        for path in (CONTRACTS_DIR / "topics").glob("*.yaml")
        for version in yaml.safe_load(path.read_text())["versions"]
    }
    assert used
    assert used == {path.name for path in (CONTRACTS_DIR / "schemas").iterdir()}


def test_retention_is_what_was_promised(contracts: dict[str, TopicContract]) -> None:
    assert contracts["dlq"].config["retention.ms"] == str(30 * DAY_MS)
    for suffix in ("control", "audit"):
        assert contracts[suffix].config["retention.ms"] == "-1"
        assert contracts[suffix].partitions == 1, "one partition keeps the order of changes"


def test_a_released_schema_never_changes(contracts: dict[str, TopicContract]) -> None:
    """A change of meaning is a new version. Words may be mended: descriptions are not part of the digest."""
    released = yaml.safe_load(RELEASED.read_text())
    present = {
        f"{suffix}.v{version}": digest(schema)
        for suffix, contract in contracts.items()
        for version, schema in contract.schemas.items()
    }
    assert present == released


def digest(schema: object) -> str:
    return hashlib.sha256(json.dumps(without_words(schema), sort_keys=True).encode()).hexdigest()


def without_words(schema: object, *, names: bool = False) -> object:
    """Drop what only explains; below `properties` the keys are field names and stay."""
    if isinstance(schema, dict):
        return {
            key: without_words(value, names=key == "properties")
            for key, value in schema.items()
            if names or key not in COMMENTS
        }
    return [without_words(item) for item in schema] if isinstance(schema, list) else schema


def test_the_digest_sees_a_changed_bound_but_not_a_changed_word(contracts: dict[str, TopicContract]) -> None:
    schema = json.loads(json.dumps(contracts["control"].schema()))
    before = digest(schema)
    schema["properties"]["reason"]["description"] = "Another word."
    assert digest(schema) == before
    schema["properties"]["reason"]["maxLength"] += 1
    assert digest(schema) != before


def test_prefix_makes_the_name() -> None:
    assert load_contracts("bank-7")["dlq"].name == "bank-7.dlq"


def test_unknown_version_says_which_there_are(contracts: dict[str, TopicContract]) -> None:
    with pytest.raises(LookupError, match="no schema version 9; known versions: 1"):
        contracts["dlq"].schema(9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("producers"), "producers is empty: name at least one"),
        (lambda c: c.update(partitons=4), r"partitons is not a known key: did you mean `partitions`"),
        (lambda c: c.update(partitions="4"), r"partitions should be a whole number but is '4' \(str\)"),
        (lambda c: c.update(partitions=True), r"partitions should be a whole number"),
        (lambda c: c.update(partitions=0), r"partitions is 0: a topic has at least 1 partition"),
        (lambda c: c.pop("partitions"), r"partitions is missing: add it: a whole number"),
        (lambda c: c.update(suffix="dead"), r"suffix is 'dead' in a file named dlq.yaml"),
        (lambda c: c["versions"][0].update(version=2), r"versions\[0\].version is 2, expected 1"),
        (lambda c: c["versions"][0].update(schema="no.json"), r"versions\[0\].schema cannot be read"),
        (lambda c: c.update(versions=[]), r"versions is empty"),
        (lambda c: c["config"].update({"retention.ms": 5}), r"config.retention.ms should be text but is 5 \(int\)"),
        (lambda c: c["examples"][0].update(document=[]), r"examples\[0\].document is not a mapping"),
        (lambda c: c["counter_examples"][0].update(based_on="nothing"), r"no example is named 'nothing'"),
        (lambda c: c["counter_examples"].append({"name": "empty"}), r"has no payload: give one of"),
    ],
)
def test_a_bad_contract_says_file_key_and_remedy(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    contract = yaml.safe_load((CONTRACTS_DIR / "topics" / "dlq.yaml").read_text())
    change(contract)
    path = tmp_path / "dlq.yaml"
    path.write_text(yaml.safe_dump(contract))
    with pytest.raises(DocumentError, match=message) as caught:
        load_contract(path, "streamflow", CONTRACTS_DIR / "schemas")
    assert str(path) in str(caught.value)


def test_an_illegal_prefix_is_refused() -> None:
    with pytest.raises(DocumentError, match="not a legal Kafka topic name"):
        load_contracts("my prefix")


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [", "not valid YAML"), ("- 1", "should be a mapping"), (None, "does not exist"), ("\xff", "cannot be read")],
)
def test_a_file_that_is_no_yaml_mapping_says_so(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "dlq.yaml"
    if content is not None:
        path.write_bytes(content.encode("latin-1"))
    with pytest.raises(DocumentError, match=message):
        load_contract(path, "streamflow", CONTRACTS_DIR / "schemas")


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="holds no contract"):
        load_contracts(folder=tmp_path)
