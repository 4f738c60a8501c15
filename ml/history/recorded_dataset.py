"""Builds a data set from recorded decisions: features as served, and labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.rules import FraudRuleEvaluator
from ml.dataset import FRAUD, GENUINE, UNKNOWN, DatasetRows

if TYPE_CHECKING:
    from ml.dataset import Dataset
    from ml.history.decisions import RecordedDecision


def recorded_dataset(decisions: Iterable[RecordedDecision], config: DetectionConfig | None = None) -> Dataset:
    """Return recorded decisions as the rows of a data set.

    Features are not computed again. Training sees the values that the model was given, including those of customers
    without history and of late events.

    Args:
        decisions: decisions by event time, with the labels known at the time that the caller chose.
        config: configuration for ``rule_score`` and ``rule_hits``; default: the configuration that a job starts with.
    """
    rules, rows = FraudRuleEvaluator((config or DetectionConfig()).rules), DatasetRows()
    for one in decisions:
        label = UNKNOWN if one.is_fraud is None else FRAUD if one.is_fraud else GENUINE
        rows.add(one.transaction, one.features, rules.evaluate(one.features), label)
    return rows.dataset()
