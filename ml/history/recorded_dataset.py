"""Rows from what the stream recorded: features as they were served, labels as they became known."""

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
    """Turn recorded decisions into rows.

    Nothing is replayed: training sees the very numbers that the model was given, cold starts and late events included.

    Args:
        decisions: by event time; their labels are those known at the moment the caller chose.
        config: decides `rule_score` and `rule_hits`; by default what a job starts with.
    """
    rules, rows = FraudRuleEvaluator((config or DetectionConfig()).rules), DatasetRows()
    for one in decisions:
        label = UNKNOWN if one.is_fraud is None else FRAUD if one.is_fraud else GENUINE
        rows.add(one.transaction, one.features, rules.evaluate(one.features), label)
    return rows.dataset()
