"""Builds a data set from recorded decisions: features as served, and labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.rules import FraudRuleEvaluator
from ml.dataset import FRAUD, GENUINE, UNKNOWN, DatasetRows
from ml.own_columns import OwnRows

if TYPE_CHECKING:
    from flink_jobs.core.own_features.loading import OwnFeatures
    from ml.dataset import Dataset
    from ml.history.decisions import RecordedDecision


def recorded_dataset(
    decisions: Iterable[RecordedDecision], config: DetectionConfig | None = None, own: OwnFeatures | None = None
) -> Dataset:
    """Return recorded decisions as the rows of a data set.

    Features are not computed again. Training sees the values that the model was given, including those of customers
    without history and of late events.

    Args:
        decisions: decisions by event time, with the labels known at the time that the caller chose.
        config: configuration for ``rule_score`` and ``rule_hits``; default: the configuration that a job starts with.
        own: the own features to read; one that was not served is absent.
    """
    names = () if own is None else own.names
    rules = FraudRuleEvaluator((config or DetectionConfig()).rules)
    rows = DatasetRows(own=None if own is None else OwnRows(own))
    for one in decisions:
        label = UNKNOWN if one.is_fraud is None else FRAUD if one.is_fraud else GENUINE
        values = [one.own.get(name) for name in names]
        rows.add(one.transaction, one.features, rules.evaluate(one.features), label, own=values)
    return rows.dataset()
