"""Measures two models on the same rows for the gate.

Only rows later than the last training row of both models count, so that no model is measured on its training data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from flink_jobs.core.rules import FraudRuleEvaluator
from flink_jobs.core.scoring import Blender
from ml.blending import blend_rows
from ml.dataset import FRAUD, UNKNOWN
from ml.gate import Measured
from ml.model_scores import score_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.features.vector import FeatureVector
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.core.models.model import TreeModel
    from flink_jobs.core.transaction import Transaction
    from ml.dataset import Dataset
    from ml.history.decisions import RecordedDecision

TIMED_ROUNDS: Final = 200


@dataclass(frozen=True, slots=True)
class Contender:
    """A model, and the event time of its last training row, UTC milliseconds."""

    model: Model
    trained_until_ms: int


def measure_together(rows: Dataset, contenders: Sequence[Contender], config: DetectionConfig) -> list[Measured]:
    """Measure every contender on the later labelled rows of a history.

    Args:
        rows: the whole history, built with ``config`` and with the inputs of all contenders.
        contenders: at least one model, each a ``TreeModel``.
        config: the configuration in force: rules, alpha, alert threshold, blacklists. Each contender has its own
            blend where the job would use it.
    """
    cut_ms = max(contender.trained_until_ms for contender in contenders)
    late = rows.where((rows.event_time_ms > cut_ms) & (rows.labels != UNKNOWN))
    measured = []
    for model in (cast("TreeModel", contender.model) for contender in contenders):
        scores, threshold = blend_rows(late, score_rows(model, late), config, model.own_blend)
        rate = int((scores >= threshold).sum()) / max(len(late), 1)
        measured.append(_measured(late.labels == FRAUD, scores, rate))
    return measured


def measure_recorded(
    decisions: Iterable[RecordedDecision], contenders: Sequence[Contender], config: DetectionConfig
) -> list[Measured]:
    """Measure every contender on recorded decisions, with the features as served.

    Labels exist mostly for alerts, so the alert rate is that of all decisions, with and without a label.

    Args:
        decisions: later than the last training row of every contender.
        contenders: at least one model.
        config: see ``measure_together``.
    """
    tally = _Tally(contenders, config)
    for one in decisions:
        tally.add(one.transaction, one.features, is_fraud=one.is_fraud)
    return tally.measured()


class _Tally:
    """Scores rows with every contender and keeps what the measures need."""

    def __init__(self, contenders: Sequence[Contender], config: DetectionConfig) -> None:
        self._models = [contender.model for contender in contenders]
        self._rules, self._blender = FraudRuleEvaluator(config.rules), Blender(config)
        self._rows = 0
        self._truth: list[bool] = []
        self._scores: list[list[float]] = [[] for _ in contenders]
        self._alerts = [0] * len(contenders)

    def add(self, transaction: Transaction, features: FeatureVector, *, is_fraud: bool | None) -> None:
        """Score a row; without a label it counts for the alert rate only."""
        verdict = self._rules.evaluate(features)
        self._rows += 1
        if is_fraud is not None:
            self._truth.append(is_fraud)
        for place, model in enumerate(self._models):
            score, threshold = self._blender.score(verdict, model.score(features, transaction), model.own_blend)
            self._alerts[place] += score.score >= threshold
            if is_fraud is not None:
                self._scores[place].append(score.score)

    def measured(self) -> list[Measured]:
        """Return the measures of each contender."""
        truth = np.array(self._truth, dtype=np.bool_)
        rates = [count / max(self._rows, 1) for count in self._alerts]
        return [_measured(truth, np.array(mine), rate) for mine, rate in zip(self._scores, rates, strict=True)]


def _measured(truth: Any, scores: Any, alert_rate: float) -> Measured:  # noqa: ANN401 - numpy arrays
    rows, frauds = len(truth), int(truth.sum()) if len(truth) else 0
    if not 0 < frauds < rows:
        return Measured(0.0, 0.0, 0.0, rows, frauds)
    return Measured(
        float(roc_auc_score(truth, scores)),
        float(average_precision_score(truth, scores)),
        alert_rate,
        rows,
        frauds,
    )


def median_score_us(model: Model, features: FeatureVector, transaction: Transaction) -> float:
    """Return the median scoring time of one transaction, microseconds."""
    took = []
    for _ in range(TIMED_ROUNDS):
        started_ns = time.perf_counter_ns()
        model.score(features, transaction)
        took.append(time.perf_counter_ns() - started_ns)
    return median(took) / 1000
