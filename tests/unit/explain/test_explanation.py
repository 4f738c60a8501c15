"""An explanation says what the decision says, and nothing where it cannot know."""

from __future__ import annotations

from typing import cast

import orjson
import pytest

from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.documents import AuditDocument, DecisionDocument
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.rules import RULES
from flink_jobs.explain.explanation import explain
from flink_jobs.explain.recorded import config_at
from tests.strategies import NOW_MS, record_of, wire
from tests.unit.core.evaluation import FixedModel, Stream

CONFIG = DetectionConfig(alpha=0.5, alert_threshold=0.5, blacklist=Blacklist(merchant=frozenset({"bad"})))


def decided(model: FixedModel | None, merchant: str = "bad") -> tuple[DecisionDocument, dict[str, float] | None]:
    fields = {
        "transaction_id": "t-1", "customer_id": "c-1", "amount_minor": 100, "currency": "USD", "merchant": merchant,
        "event_time_ms": NOW_MS,
    }  # fmt: skip
    outcome = Stream(TransactionEvaluator(CONFIG, model)).send(record_of(wire(fields)))
    assert outcome.decision is not None
    alert = None if outcome.alert is None else orjson.loads(outcome.alert)["contributions"]
    return orjson.loads(outcome.decision), alert


def test_an_alert_is_explained_by_what_was_recorded() -> None:
    decision, contributions = decided(FixedModel(0.9))

    found = explain(decision, contributions, CONFIG, None, "not needed")

    (rule,) = found.rules
    listed = next(item for item in RULES if item.id == "blacklist")
    assert (rule.rule, rule.value, rule.threshold, rule.weight) == ("blacklist", 1.0, 1.0, listed.weight)
    assert rule.adds == pytest.approx(0.5 * listed.weight)
    assert found.why_no_shares == ""
    assert found.base is not None
    assert found.base + sum(share.adds for share in found.shares) == pytest.approx(0.9)
    assert found.shares[0].absent == "insufficient_history"
    assert found.shares[0].meaning


def test_an_ordinary_decision_asks_the_model_again() -> None:
    decision, contributions = decided(FixedModel(0.1), "good")
    assert contributions is None

    found = explain(decision, None, CONFIG, FixedModel(0.1), "")

    assert (found.rules, found.why_no_shares) == ([], "")
    assert [share.adds for share in found.shares] == [0.1]


def test_a_model_that_answers_otherwise_now_explains_nothing() -> None:
    decision, _ = decided(FixedModel(0.1), "good")
    found = explain(decision, None, CONFIG, FixedModel(0.2), "")
    assert (found.base, found.shares) == (None, [])
    assert "scores 0.2000 now, but 0.1000 is recorded" in found.why_no_shares
    assert explain(decision, None, CONFIG, None, "it is gone").why_no_shares == "it is gone"


def test_a_degraded_decision_has_rules_only() -> None:
    decision, contributions = decided(None)
    found = explain(decision, contributions, CONFIG, None, "")
    assert [rule.rule for rule in found.rules] == ["blacklist"]
    assert (found.base, found.why_no_shares) == (None, "no model gave a score: the rules decided alone")


def entry(revision: int, outcome: str = "applied", **changes: object) -> AuditDocument:
    document = {
        "control_id": f"ctl-{revision}-{outcome}", "revision": revision, "outcome": outcome, "issued_by": "tester",
        "issued_at_ms": 0, "reason": "test", "changes": changes,
    }  # fmt: skip
    return cast("AuditDocument", document)


def test_the_settings_of_then_come_from_the_audit() -> None:
    history = [entry(1, alpha=0.1), entry(1, "rejected"), entry(2, alert_threshold=0.9), entry(3, alpha=0.3)]
    assert config_at(history, 0) == DetectionConfig()
    assert (config_at(history, 2).alpha, config_at(history, 2).alert_threshold) == (0.1, 0.9)
    assert config_at(history, 3).alpha == 0.3
