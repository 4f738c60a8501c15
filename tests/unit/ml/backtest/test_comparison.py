"""Backtests: rule sets are checked as the job checks them, setups are counted, examples have the largest changes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.control.config import DEFAULT_ALERT_THRESHOLD, DEFAULT_ALPHA, DetectionConfig
from flink_jobs.core.documents import ControlChanges
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.scoring import OwnBlend, weight_beside_list
from flink_jobs.core.transaction import Transaction
from flink_jobs.errors import UserError
from ml.backtest.backtest import Setup, backtest_decisions
from ml.backtest.comparison import EXAMPLES, Comparison
from ml.backtest.rescoring import Rescorer, Scored
from ml.backtest.rule_set import RuleSetChanges, read_rule_set
from ml.history.configurations import CLOCKS_APART_MS, AppliedChange, Configurations
from ml.history.decisions import RecordedDecision

PURCHASE = Transaction("t-1", "c-1", 1_000, "USD", 1_700_000_000_000, merchant="Shop", country="US")
QUIET = FeatureVector(**{**dict.fromkeys(FEATURE_NAMES), "velocity_count": 1.0, "is_blacklisted": 0.0})
LARGE = QUIET._replace(amount_zscore=5.0)


CONFIGURED = OwnBlend(DEFAULT_ALPHA, DEFAULT_ALERT_THRESHOLD)


def decided(score: float, *, alert: bool, reasons: Iterable[ReasonCode] = ()) -> Scored:
    return Scored(score, alert, score, None, tuple(reasons))


def recorded(
    features: FeatureVector, side: Scored, revision: int = 0, at_ms: int = 0, own: OwnBlend = CONFIGURED
) -> RecordedDecision:
    return RecordedDecision(
        PURCHASE, features, side.score, side.rule_score, side.ml_score, *own, side.is_alert, side.reasons,
        None, revision, at_ms, is_fraud=True,
    )  # fmt: skip


def applied(control_id: str, revision: int, at_ms: int, **changes: Any) -> AppliedChange:  # noqa: ANN401 - also changes of another release
    return {
        "control_id": control_id, "revision": revision, "issued_by": "x", "issued_at_ms": 1, "reason": "y",
        "applied_at_ms": at_ms, "changes": cast("ControlChanges", changes),
    }  # fmt: skip


def test_every_kind_of_difference_is_counted_once_with_its_label() -> None:
    comparison = Comparison()
    high, low = decided(0.9, alert=True, reasons=[ReasonCode.HIGH_AMOUNT]), decided(0.1, alert=False)
    comparison.add(PURCHASE, high, high, is_fraud=True)
    comparison.add(PURCHASE, low, high, is_fraud=False)
    comparison.add(PURCHASE, high, low, is_fraud=None)
    comparison.add(PURCHASE, low, low, is_fraud=True)
    counts = comparison
    assert (counts.decisions, counts.labelled, counts.frauds, counts.changed_scores) == (4, 3, 2, 2)
    assert counts.largest_change == pytest.approx(0.8)
    assert [one.alerts for one in (counts.before, counts.after, counts.kept, counts.gained, counts.lost)] == [
        2,
        2,
        1,
        1,
        1,
    ]
    assert counts.before.precision == 1.0
    assert counts.after.precision == 0.5
    assert counts.lost.precision is None
    assert counts.rules_before[ReasonCode.HIGH_AMOUNT].alerts == 2
    assert counts.rules_after[ReasonCode.HIGH_AMOUNT].genuine == 1
    assert [one.is_fraud for one in counts.gained_examples()] == [False]
    assert [one.is_fraud for one in counts.lost_examples()] == [None]


@given(st.lists(st.floats(0.5, 1.0), max_size=40))
def test_examples_are_the_largest_changes_and_of_equal_ones_the_earlier(scores: list[float]) -> None:
    comparison = Comparison()
    for number, score in enumerate(scores):
        transaction = PURCHASE._replace(transaction_id=f"t{number}")
        comparison.add(transaction, decided(0.0, alert=False), decided(score, alert=True), is_fraud=None)
    ranked = sorted(range(len(scores)), key=lambda number: (-scores[number], number))[:EXAMPLES]
    assert [one.transaction.transaction_id for one in comparison.gained_examples()] == [f"t{n}" for n in ranked]


def test_no_changes_reproduce_what_was_decided() -> None:
    rescorer = Rescorer()
    decisions = [recorded(row, rescorer.score(PURCHASE, row, 0.4, DetectionConfig())) for row in (QUIET, LARGE)]
    comparison = backtest_decisions(decisions, Configurations([]), Setup())
    assert comparison.decisions == 2
    assert comparison.changed_scores == 0
    changed = backtest_decisions(decisions, Configurations([]), Setup(RuleSetChanges({"alpha": 0.0}, "test")))
    assert changed.changed_scores == 2


def test_decisions_under_the_blend_of_their_model_are_reproduced() -> None:
    """A decision records the alpha and the threshold that were used; a listed merchant lowers the alpha."""
    own = OwnBlend(0.9, 0.55)
    listed = QUIET._replace(is_blacklisted=1.0)
    decisions = []
    for row, alpha in ((QUIET, 0.9), (LARGE, 0.9), (listed, weight_beside_list(0.55))):
        side = Rescorer().score(PURCHASE, row, 0.6, DetectionConfig(), own)
        decisions.append(recorded(row, side, own=OwnBlend(alpha, 0.55)))
    assert [one.is_alert for one in decisions] == [False, True, True]
    assert backtest_decisions(decisions, Configurations([]), Setup()).changed_scores == 0
    for changes in ({"alpha": 0.6}, {"rules": {"high_amount": {"weight": 1.0}}}):
        changed = backtest_decisions(decisions, Configurations([]), Setup(RuleSetChanges(changes, "test")))
        assert changed.changed_scores > 0
    higher = backtest_decisions(decisions, Configurations([]), Setup(RuleSetChanges({"alert_threshold": 0.7}, "test")))
    assert (higher.changed_scores, higher.lost.alerts) == (1, 1), "the listed merchant stays an alert"


def test_a_changed_blacklist_is_looked_up_again() -> None:
    quiet = Rescorer().score(PURCHASE, QUIET, None, DetectionConfig())
    listed = RuleSetChanges({"blacklist": {"merchant": {"add": ["Shop"]}}}, "test")
    comparison = backtest_decisions([recorded(QUIET, quiet)], Configurations([]), Setup(listed))
    assert comparison.gained.fraud == 1
    assert comparison.rules_after[ReasonCode.BLACKLISTED].alerts == 1


def test_each_decision_is_scored_under_the_configuration_in_force_at_that_time() -> None:
    """The job started twice, so revision 1 names two configurations."""
    audit = [
        applied("a", 1, 1_000_000, alpha=0.1),
        applied("b", 2, 2_000_000, alpha=0.2),
        applied("c", 1, 9_000_000, alpha=0.9),
    ]
    configurations = Configurations(audit)
    assert configurations.at(0, 5).alpha == DetectionConfig().alpha
    assert configurations.at(1, 1_500_000).alpha == 0.1
    assert configurations.at(2, 8_000_000).alpha == 0.2
    assert configurations.at(1, 9_500_000).alpha == 0.9
    # Another instance of the job may have applied the message earlier than the instance that wrote the audit.
    assert configurations.at(1, 9_000_000 - CLOCKS_APART_MS).alpha == 0.9
    assert configurations.at(1, 1_000).alpha == 0.1


def test_a_change_of_another_release_says_so() -> None:
    with pytest.raises(UserError, match="cannot read control message 'a'"):
        Configurations([applied("a", 1, 1, tomorrow=0.1)])


def test_after_a_gap_the_configuration_is_unknown_until_the_next_start() -> None:
    audit = [applied("b", 2, 1, alpha=0.2), applied("c", 3, 2, alpha=0.3), applied("d", 1, 3, alpha=0.4)]
    configurations = Configurations(audit)
    assert configurations.at(1, 3).alpha == 0.4
    with pytest.raises(UserError, match="revision 3"):
        configurations.at(3, 2)


def test_an_unknown_revision_says_so() -> None:
    with pytest.raises(UserError, match="revision 3"):
        Configurations([]).at(3, 1)


def test_a_rule_set_has_the_names_of_control_messages(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("alpha: 0.25\nalert_threshold: 0.6\nrules:\n  velocity: {threshold: 3, weight: 0.9}\n")
    config = read_rule_set(path).on(DetectionConfig())
    assert (config.alpha, config.alert_threshold, config.rules["velocity"].threshold) == (0.25, 0.6, 3)
    assert config.rules["velocity"].enabled
    assert config.rules["high_amount"] == DetectionConfig().rules["high_amount"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("alpha: 2", "alpha must be a number from 0 to 1"),
        ("alhpa: 0.5", "alhpa is not a rule setting"),
        ("model_version: v1", "model_version is not a rule setting"),
        ("rules: {speed: {weight: 1}}", "unknown fields"),
        ("rules: {velocity: {weight: 2024-01-01}}", "must be a number"),
        ("- alpha", "should be a mapping"),
        ("{}", "is empty"),
    ],
)
def test_a_rule_set_that_the_job_would_reject_is_rejected(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=problem):
        read_rule_set(path)


def test_changes_survive_json() -> None:
    settings = RuleSetChanges({"rules": {"velocity": {"enabled": False}}}, "test")
    assert orjson.loads(settings.on(DetectionConfig()).to_json())["rules"]["velocity"]["enabled"] is False
