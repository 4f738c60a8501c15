"""The Prometheus metrics of the sender; the jobs report theirs through Flink."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram

from flink_jobs.metrics import catalogue
from flink_jobs.metrics.catalogue import Metric, MetricKind
from flink_jobs.metrics.exposition import serve_metrics
from flink_jobs.traffic.replay import Watcher

if TYPE_CHECKING:
    from flink_jobs.kafka.outgoing import Outgoing


class TrafficMetrics(Watcher):
    """The metrics of ``catalogue.TRAFFIC_METRICS``. Also a watcher of replays."""

    def __init__(self) -> None:
        """Register every metric in a new registry."""
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in catalogue.TRAFFIC_METRICS:
            name, text = catalogue.TRAFFIC_PREFIX + metric.name, metric.meaning
            if metric.kind is MetricKind.HISTOGRAM:
                self._histograms[metric.name] = Histogram(name, text, buckets=metric.buckets, registry=self.registry)
            else:
                self._counters[metric.name] = Counter(name, text, [metric.label or ""], registry=self.registry)
        self._sent_at: deque[float] = deque()

    def serve(self, port: int, host: str = "127.0.0.1") -> None:
        """Serve the metrics on this address; see ``serve_metrics``."""
        serve_metrics(self.registry, port, "--metrics-port", host)

    def sending(self, record: Outgoing) -> None:  # noqa: ARG002 - only the time is used
        """Record the time at which a record is sent."""
        self._sent_at.append(time.monotonic())

    def delivered(self, record: Outgoing, partition: int, offset: int) -> None:  # noqa: ARG002 - the coordinates are not used
        """Count a record that Kafka has stored; deliveries are reported in the order of sending."""
        self._counters[catalogue.SENT.name].labels(record.fate.value).inc()
        self.observe(catalogue.SEND_LATENCY_MS, (time.monotonic() - self._sent_at.popleft()) * 1_000)

    def outcome(self, fate: str, latency_ms: float) -> None:
        """Count an outcome that was read back."""
        self._counters[catalogue.OUTCOMES.name].labels(fate).inc()
        self.observe(catalogue.OUTCOME_LATENCY_MS, latency_ms)

    def observe(self, metric: Metric, value: float) -> None:
        """Add a value to a histogram."""
        self._histograms[metric.name].observe(value)
