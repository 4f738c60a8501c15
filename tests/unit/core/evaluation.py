"""Drives the evaluator as the operator does: unpack, read state, store state. Every output is checked."""

from typing import Any

import fastjsonschema
import orjson

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.parsing.source_record import SourceRecord, unpack_record
from flink_jobs.core.probability import ProbabilityCurve
from flink_jobs.core.scoring import OwnBlend
from flink_jobs.core.transaction import Transaction
from tests.packed_records import pack_record
from tests.strategies import NOW_MS

_CONTRACTS = load_contracts()
_VALIDATE = {
    suffix: fastjsonschema.compile(dict(_CONTRACTS[suffix].schema())) for suffix in ("decisions", "alerts", "dlq")
}


class FixedModel:
    """A model that answers one number, or raises."""

    version = "if-test"
    digest = "d" * 64
    kind = "fixed"
    base = 0.0
    own_blend: OwnBlend | None = None
    probability: ProbabilityCurve | None = None

    def __init__(self, answer: float | Exception) -> None:
        self.answer = answer
        self.seen: list[FeatureVector] = []

    def score(self, features: FeatureVector, transaction: Transaction) -> float:  # noqa: ARG002
        self.seen.append(features)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def contributions(self, features: FeatureVector, transaction: Transaction) -> dict[str, float]:
        return {"amount_zscore": self.score(features, transaction)}


class Stream:
    """An evaluator with its keyed state, as in the job."""

    def __init__(self, evaluator: TransactionEvaluator | None = None) -> None:
        self.evaluator = evaluator or TransactionEvaluator()
        self.states: dict[str, bytes] = {}
        self.reads = 0

    def send(self, record: SourceRecord, now_ms: int = NOW_MS) -> Outcome:
        """Evaluate one record, store its state, and hold every output against its contract."""

        def read_state() -> bytes | None:
            self.reads += 1
            return self.states.get(record.routing_key)

        self.reads = 0
        packed = unpack_record(pack_record(record), record.topic)
        outcome = self.evaluator.evaluate(packed, read_state, now_ms)
        assert self.reads <= 1
        if outcome.state is not None:
            self.states[record.routing_key] = outcome.state
        self._check(outcome)
        return outcome

    @staticmethod
    def _check(outcome: Outcome) -> None:
        decision, alert, letters = parts(outcome)
        counted = [letter for letter in letters if letter["disposition"] != "incident"]
        assert (decision is not None) + len(counted) == 1, "each record is decided or set aside, once"
        assert (outcome.state is not None) is (decision is not None)
        if decision is not None:
            _VALIDATE["decisions"](decision)
            assert decision["is_alert"] is (decision["score"] >= decision["threshold"]) is (alert is not None)
            assert tuple(reason["code"] for reason in decision["reasons"]) == outcome.reasons
            assert (decision["score"], decision["customer_id"]) == (outcome.score, outcome.customer_id)
            assert decision["out_of_order_ms"] == outcome.out_of_order_ms
            absent = {name for name, value in decision["features"].items() if value is None}
            assert set(decision["absent"]) == absent
        if alert is not None and decision is not None:
            _VALIDATE["alerts"](alert)
            assert alert["contributions"] is None or decision["model"] == "ok"
            shared = set(alert) - {"schema_version", "alert_id", "contributions"}
            assert {name: alert[name] for name in shared} == {name: decision[name] for name in shared}
        for letter, label in zip(letters, outcome.letters, strict=True):
            _VALIDATE["dlq"](letter)
            assert (letter["dlq_id"], letter["reason"], letter["disposition"]) == (
                label.id,
                label.reason.value,
                label.disposition.value,
            )


def parts(outcome: Outcome) -> tuple[dict[str, Any] | None, dict[str, Any] | None, list[dict[str, Any]]]:
    """Return the decision, the alert and the letters of an outcome as documents."""
    return (
        None if outcome.decision is None else orjson.loads(outcome.decision),
        None if outcome.alert is None else orjson.loads(outcome.alert),
        [orjson.loads(letter.body) for letter in outcome.letters],
    )
