"""The types of the documents agree with the JSON Schemas, and the documents that the core builds are valid."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.accounts.document import UserActionDocument
from flink_jobs.core.control.audit import build_audit_record, encode_audit_record
from flink_jobs.core.control.experiment import Experiment
from flink_jobs.core.control.messages import end_of_experiment, parse_control
from flink_jobs.core.dead_letters.letter import build_dlq_record, encode_dlq_record
from flink_jobs.core.documents import (
    AlertDocument,
    AuditDocument,
    ControlDocument,
    ControlOutcome,
    DeadLetterDocument,
    DecisionDocument,
    Finding,
)
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.label import Label, LabelDocument
from flink_jobs.core.merchants.row import EntityRowDocument, KeptRowDocument, MerchantRowDocument
from flink_jobs.core.merchants.start import StartDocument
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from flink_jobs.core.reply_document import ReplyDocument
from tests.contract.typed_documents import disagreements
from tests.strategies import NOW_MS, TOPIC, configs, document_of, histories, json_values, printable, record_of, wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.contracts.topic_contracts import TopicContract
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.features.vector import FeatureVector
    from flink_jobs.core.transaction import Transaction

TYPES = {
    "decisions": DecisionDocument,
    "alerts": AlertDocument,
    "dlq": DeadLetterDocument,
    "audit": AuditDocument,
    "control": ControlDocument,
    "labels": LabelDocument,
    "merchant-risk": KeptRowDocument,
    "replies": ReplyDocument,
    "user-actions": UserActionDocument,
}


@pytest.mark.parametrize("suffix", TYPES)
def test_each_type_is_its_schema(suffix: str, contracts: dict[str, TopicContract]) -> None:
    assert disagreements(TYPES[suffix], contracts[suffix].schema(), suffix) == []


@pytest.mark.parametrize(
    ("document", "version"), [(MerchantRowDocument, 1), (EntityRowDocument, 2), (StartDocument, 3)]
)
def test_rows_and_starts_are_versions_1_to_3(document: type, version: int, contracts: dict[str, TopicContract]) -> None:
    assert disagreements(document, contracts["merchant-risk"].schema(version), "merchant-risk") == []


def test_every_topic_that_the_core_writes_has_a_type(contracts: dict[str, TopicContract]) -> None:
    assert set(TYPES) == set(contracts) - {"transactions"}, "transactions are written by others"


class Small(TypedDict):
    version: Literal[1]
    name: str | None
    note: NotRequired[str]


SMALL: dict[str, Any] = {
    "type": "object",
    "required": ["version", "name"],
    "additionalProperties": False,
    "properties": {"version": {"const": 1}, "name": {"type": ["string", "null"]}, "note": {"type": "string"}},
}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"more": {"type": "string"}}, "small.more is in one of type and schema only"),
        ({"note": None}, "small.note is in one of type and schema only"),
        ({"name": {"type": "string"}}, "small.name: the type is ['null', 'string'], the schema ['string']"),
        ({"name": {"type": ["integer", "null"]}}, "small.name: the type is ['null', 'string'], the schema ['integer',"),
        ({"version": {"const": 2}}, "small.version: the type has values {1}, the schema {2}"),
    ],
)
def test_a_field_that_differs_is_found(changed: dict[str, Any], problem: str) -> None:
    assert disagreements(Small, SMALL, "small") == []
    properties = {name: part for name, part in (SMALL["properties"] | changed).items() if part is not None}
    found = disagreements(Small, SMALL | {"properties": properties}, "small")
    assert any(line.startswith(problem) for line in found), found


def test_a_field_that_only_one_requires_is_found() -> None:
    found = disagreements(Small, SMALL | {"required": ["version", "name", "note"]}, "small")
    assert found == ["small.note is required by one of type and schema only"]


class SomeModel:
    """A model that scores everything 0.9."""

    version, digest, kind, base, own_blend, probability = "if-1", "d" * 64, "fixed", 0.5, None, None

    @staticmethod
    def score(features: FeatureVector, transaction: Transaction) -> float:  # noqa: ARG004
        return 0.9

    @staticmethod
    def contributions(features: FeatureVector, transaction: Transaction) -> dict[str, float]:  # noqa: ARG004
        return {"amount_ratio": 0.4}


@given(histories(max_size=12), configs, st.booleans(), st.booleans())
def test_decisions_and_alerts_are_valid(
    problems: Callable[[str, object], list[str]],
    history: list[Transaction],
    config: DetectionConfig,
    has_model: bool,  # noqa: FBT001 - drawn by hypothesis
    has_shadow: bool,  # noqa: FBT001
) -> None:
    evaluator = TransactionEvaluator(config, SomeModel() if has_model else None)
    evaluator.lineup.use_shadow(SomeModel() if has_shadow else None)
    stored: dict[str, bytes] = {}
    for offset, transaction in enumerate(history):
        record = record_of(wire(document_of(transaction)), offset=offset)
        outcome = evaluator.evaluate(record, lambda: stored.get("c-1"), NOW_MS)
        if outcome.state is not None:
            stored["c-1"] = outcome.state
        for suffix, text in (("decisions", outcome.decision), ("alerts", outcome.alert)):
            assert text is None or problems(suffix, json.loads(text)) == []
        for letter in outcome.letters:
            assert problems("dlq", json.loads(letter.body)) == []


HEADERS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), st.just("YWJj"), max_size=3)


@given(
    payload=st.none() | st.binary(max_size=200),
    headers=HEADERS,
    reason=st.sampled_from(DeadLetterReason),
    stage=st.sampled_from(PipelineStage),
    disposition=st.sampled_from(Disposition),
    detail=st.text(max_size=600),
)
def test_dead_letters_are_valid(
    problems: Callable[[str, object], list[str]],
    *,
    payload: bytes | None,
    headers: dict[str, str],
    reason: DeadLetterReason,
    stage: PipelineStage,
    disposition: Disposition,
    detail: str,
) -> None:
    record = record_of(payload, headers=orjson.dumps(headers).decode())
    letter = build_dlq_record(record, reason, stage, detail, disposition, NOW_MS)
    assert problems("dlq", json.loads(encode_dlq_record(letter))) == []


@given(
    st.none() | st.binary(max_size=50) | json_values.map(orjson.dumps) | st.just(b"valid"),
    st.sampled_from(ControlOutcome),
    printable(50),
)
def test_audit_records_are_valid(
    problems: Callable[[str, object], list[str]], payload: bytes | None, outcome: ControlOutcome, detail: str
) -> None:
    if payload == b"valid":
        payload = end_of_experiment(Experiment("e", "gb-1", "2" * 64, 0.1), "alert rate", NOW_MS).encode()
    record = SourceRecord(payload, 0, 5, "2026-01-01 00:00:00.000", "", "", TOPIC)
    audit = build_audit_record(record, parse_control(payload), outcome, detail, 3, NOW_MS)
    assert problems("audit", json.loads(encode_audit_record(audit))) == []


@given(printable(300))
def test_the_control_message_of_a_guard_is_valid(problems: Callable[[str, object], list[str]], why: str) -> None:
    text = end_of_experiment(Experiment("spring-1", "gb-1", "2" * 64, 0.1), why, NOW_MS)
    assert problems("control", json.loads(text)) == []


@given(printable(64), printable(64), st.sampled_from(Finding), st.none() | printable(200))
def test_labels_are_valid(
    problems: Callable[[str, object], list[str]], transaction: str, customer: str, finding: Finding, comment: str | None
) -> None:
    document = Label(transaction, customer, finding, "chargeback", NOW_MS, "analyst", comment).document()
    assert problems("labels", json.loads(orjson.dumps(document))) == []
