"""The measures of the gate on recorded decisions: labels rank, every decision counts for the alert rate."""

from __future__ import annotations

from typing import cast

import pytest

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.models.lineup import Model
from flink_jobs.core.scoring import OwnBlend
from flink_jobs.core.transaction import Transaction
from ml.gate_measures import Contender, measure_recorded
from ml.history.decisions import RecordedDecision

QUIET = FeatureVector(**{**dict.fromkeys(FEATURE_NAMES), "velocity_count": 1.0, "is_blacklisted": 0.0})


class Amounts:
    """A model whose score is the amount; ``turned`` ranks the other way round."""

    own_blend = OwnBlend(1.0, 0.5)

    def __init__(self, *, turned: bool) -> None:
        self._turned = turned

    def score(self, _: FeatureVector, transaction: Transaction) -> float:
        score = transaction.amount_minor / 100
        return 1 - score if self._turned else score


def recorded(amount: int, *, is_fraud: bool | None) -> RecordedDecision:
    purchase = Transaction(f"t-{amount}", "c", amount, "USD", 1_700_000_000_000)
    return RecordedDecision(purchase, QUIET, 0.1, 0.1, None, 0.6, 0.4, False, (), None, 0, 0, is_fraud)  # noqa: FBT003


def test_labels_rank_and_all_decisions_count_for_the_alert_rate() -> None:
    contenders = [Contender(cast("Model", Amounts(turned=turned)), 0) for turned in (False, True)]
    decisions = [recorded(90, is_fraud=True), recorded(10, is_fraud=False)]
    decisions += [recorded(amount, is_fraud=None) for amount in (60, 20, 30, 40)]
    good, bad = measure_recorded(decisions, contenders, DetectionConfig())
    assert (good.rows, good.frauds, good.roc_auc, good.average_precision) == (2, 1, 1.0, 1.0)
    assert (bad.roc_auc, bad.average_precision) == (0.0, 0.5)
    assert good.alert_rate == pytest.approx(2 / 6)
    assert bad.alert_rate == pytest.approx(4 / 6)


def test_without_labels_nothing_is_measured() -> None:
    (one,) = measure_recorded(
        [recorded(90, is_fraud=None)], [Contender(cast("Model", Amounts(turned=False)), 0)], DetectionConfig()
    )
    assert (one.rows, one.frauds, one.alert_rate) == (0, 0, 0.0)
