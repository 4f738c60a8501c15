"""The Prometheus metrics of the API."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from flink_jobs.metrics import catalogue
from flink_jobs.metrics.catalogue import Metric, MetricKind


class ApiMetrics:
    """The metrics of ``catalogue.API_METRICS``, in a registry of their own."""

    def __init__(self) -> None:
        """Register every metric; label values that are known start at 0."""
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in catalogue.API_METRICS:
            name, text = catalogue.API_PREFIX + metric.name, metric.meaning
            if metric.kind is MetricKind.HISTOGRAM:
                self._histograms[metric.name] = Histogram(name, text, buckets=metric.buckets, registry=self.registry)
            elif metric.kind is MetricKind.GAUGE:
                self._gauges[metric.name] = Gauge(name, text, [metric.label or ""], registry=self.registry)
            else:
                self._counters[metric.name] = Counter(name, text, [metric.label or ""], registry=self.registry)
                for value in metric.values:
                    self._counters[metric.name].labels(value)

    def count(self, metric: Metric, value: str, n: int = 1) -> None:
        """Add ``n`` to a counter under a value of its label."""
        self._counters[metric.name].labels(value).inc(n)

    def set(self, metric: Metric, values: Mapping[str, float]) -> None:
        """Set a gauge to these values by its label; values of other labels are no longer reported."""
        self._gauges[metric.name].clear()
        for label, value in values.items():
            self._gauges[metric.name].labels(label).set(value)

    def note_time(self, metric: Metric, value: str) -> None:
        """Set a gauge to the current time under a value of its label."""
        self._gauges[metric.name].labels(value).set_to_current_time()

    def observe(self, metric: Metric, value: float) -> None:
        """Add a value to a histogram."""
        self._histograms[metric.name].observe(value)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)
