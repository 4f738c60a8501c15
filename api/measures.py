"""The Prometheus metrics of the API."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from flink_jobs.metrics import catalogue
from flink_jobs.metrics.catalogue import Metric, MetricKind


class ApiMetrics:
    """The metrics of ``catalogue.API_METRICS``, in a registry of their own."""

    def __init__(self) -> None:
        """Register every metric; label values that are known start at 0."""
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in catalogue.API_METRICS:
            name, text = catalogue.API_PREFIX + metric.name, metric.meaning
            if metric.kind is MetricKind.HISTOGRAM:
                self._histograms[metric.name] = Histogram(name, text, buckets=metric.buckets, registry=self.registry)
            else:
                self._counters[metric.name] = Counter(name, text, [metric.label or ""], registry=self.registry)
                for value in metric.values:
                    self._counters[metric.name].labels(value)

    def count(self, metric: Metric, value: str) -> None:
        """Add 1 to a counter under a value of its label."""
        self._counters[metric.name].labels(value).inc()

    def observe(self, metric: Metric, value: float) -> None:
        """Add a value to a histogram."""
        self._histograms[metric.name].observe(value)

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)
