"""Exports the last drift check to Prometheus."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Gauge

from flink_jobs.metrics import catalogue
from ml.drift.check import ALERTS, MODEL, DriftCheck, DriftVerdict

if TYPE_CHECKING:
    from flink_jobs.metrics.catalogue import Metric

_BY_SUBJECT: Final = {"psi": catalogue.DRIFT_PSI, "ks": catalogue.DRIFT_KS}
_SINGLE: Final = {
    (ALERTS, "rate_ratio"): catalogue.ALERT_RATE_RATIO,
    (ALERTS, "precision_drop"): catalogue.PRECISION_DROP,
    (MODEL, "age_days"): catalogue.MODEL_AGE_DAYS,
    (MODEL, "rows_since_training"): catalogue.ROWS_SINCE_TRAINING,
}


class DriftMetrics:
    """The metrics of ``catalogue.MODEL_WATCH_METRICS``; an unknown value is NaN."""

    def __init__(self) -> None:
        """Register every metric in a separate registry."""
        self.registry = CollectorRegistry()
        self._gauges = {
            metric.name: Gauge(
                catalogue.MODEL_WATCH_PREFIX + metric.name,
                metric.meaning,
                [metric.label] if metric.label else [],
                registry=self.registry,
            )
            for metric in catalogue.MODEL_WATCH_METRICS
        }

    def show(self, check: DriftCheck, checked_at_s: float) -> None:
        """Set all metrics from a check.

        Args:
            check: the check.
            checked_at_s: end of the check, Unix seconds.
        """
        for metric in (*_BY_SUBJECT.values(), catalogue.WATCHED_VERSION):
            self._gauges[metric.name].clear()  # a promoted model may have other features
        for one in check.measures:
            value = math.nan if one.value is None else one.value
            by_subject, single = _BY_SUBJECT.get(one.measure), _SINGLE.get((one.subject, one.measure))
            if by_subject is not None:
                self._gauges[by_subject.name].labels(one.subject).set(value)
            elif single is not None:
                self._set(single, value)
        for verdict in DriftVerdict:
            self._gauges[catalogue.DRIFT_VERDICT.name].labels(verdict.value).set(verdict is check.verdict)
        self._gauges[catalogue.WATCHED_VERSION.name].labels(check.observed.model_version).set(1)
        self._set(catalogue.WINDOW_DECISIONS, check.observed.rows)
        self._set(catalogue.LAST_CHECK, checked_at_s)

    def _set(self, metric: Metric, value: float) -> None:
        self._gauges[metric.name].set(value)
