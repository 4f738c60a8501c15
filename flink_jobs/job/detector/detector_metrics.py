"""The detector's metrics: counted in Python, and passed to Flink's metric system a few times per second.

A call into the JVM costs more than a rule, so counts are plain integers that are flushed together: every
``FLUSH_EVERY`` records, or at the first record after ``FLUSH_MS``.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pyflink.metrics import Counter, Distribution, MetricGroup

from flink_jobs.core.documents import Variant
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.replies import RequestFault
from flink_jobs.core.reply_document import ReplyOutcome
from flink_jobs.metrics import catalogue
from flink_jobs.metrics.catalogue import Metric, MetricKind

FLUSH_EVERY: Final = 1024
FLUSH_MS: Final = 500
_LABELS: Final = {metric.name: metric.label or "" for metric in catalogue.DETECTOR_METRICS}


class Histogram:
    """A cumulative bucket histogram over Flink counters labelled ``le``."""

    def __init__(self, group: MetricGroup, metric: Metric) -> None:
        """Register one counter for each bucket."""
        self._bounds = metric.buckets
        labels = [f"{bound:g}" for bound in metric.buckets] + ["+Inf"]
        self._counters = [group.add_group("le", label).counter(f"{metric.name}_bucket") for label in labels]
        self._pending = [0] * len(labels)

    def observe(self, value: float) -> None:
        """Count one value."""
        self._pending[bisect_left(self._bounds, value)] += 1

    def observe_all(self, values: Sequence[float]) -> None:
        """Count many values."""
        pending, bounds = self._pending, self._bounds
        for value in values:
            pending[bisect_left(bounds, value)] += 1

    def flush(self) -> None:
        """Pass the pending counts to Flink; each bucket includes all lower buckets."""
        below = 0
        for counter, pending in zip(self._counters, self._pending, strict=True):
            below += pending
            if below:
                counter.inc(below)
        self._pending = [0] * len(self._counters)


class DetectorMetrics:
    """All metrics of one parallel instance of the detector."""

    def __init__(self, group: MetricGroup) -> None:
        """Register every metric of the detector that the catalogue lists."""
        self._group = group
        self._counters: dict[tuple[str, str], Counter] = {}
        self._pending: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._gauges: dict[str, Distribution] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in catalogue.DETECTOR_METRICS:
            if metric.kind is MetricKind.HISTOGRAM:
                self._histograms[metric.name] = Histogram(group, metric)
            elif metric.kind is MetricKind.GAUGE:
                self._gauges[metric.name] = group.distribution(metric.name)
            elif metric.label is None:
                self._counter(metric.name, "", "")
            else:
                for value in metric.values:
                    self._counter(metric.name, metric.label, value)
        self._score = self._histograms[catalogue.SCORE.name]
        self._processing_time = self._histograms[catalogue.PROCESSING_TIME_US.name]
        self._latency = self._histograms[catalogue.LATENCY_MS.name]
        self._alert_latency = self._histograms[catalogue.ALERT_LATENCY_MS.name]
        self._reply_latency = self._histograms[catalogue.REPLY_LATENCY_MS.name]
        self._state_bytes = self._histograms[catalogue.STATE_BYTES.name]
        self._records = self._decisions = 0
        self._flush_at_ms = 0
        self._before_flush: list[Callable[[], None]] = []

    def before_flush(self, count: Callable[[], None]) -> None:
        """Call a function before each flush: it counts what another thread did."""
        self._before_flush.append(count)

    def _counter(self, name: str, label: str, value: str) -> Counter:
        """Return the counter of a metric and label value, registered on first use."""
        counter = self._counters.get((name, value))
        if counter is None:
            group = self._group.add_group(label, value) if label else self._group
            counter = self._counters[name, value] = group.counter(name)
        return counter

    def count(self, metric: Metric, value: str = "", n: int = 1) -> None:
        """Count a rare event, without delay."""
        self._counter(metric.name, metric.label or "", value).inc(n)

    def gauge(self, metric: Metric, value: int) -> None:
        """Set a gauge."""
        self._gauges[metric.name].update(value)

    def record(self, outcome: Outcome) -> None:
        """Count the outcome of one record."""
        if outcome.account_action is not None:
            self._pending[catalogue.ACCOUNT_ACTIONS.name, outcome.account_action] += 1
        else:
            self._records += 1
        if outcome.decision is not None:
            self._decisions += 1
            self._score.observe(outcome.score)
            if outcome.is_degraded:
                self._pending[catalogue.DEGRADED_DECISIONS.name, ""] += 1
            if outcome.out_of_order_ms:
                self._pending[catalogue.OUT_OF_ORDER.name, ""] += 1
            if outcome.alert is not None:
                self._pending[catalogue.ALERTS.name, ""] += 1
                for reason in outcome.reasons:
                    self._pending[catalogue.ALERT_REASONS.name, reason] += 1
            if outcome.is_shadow_alert is not None or outcome.variant is not Variant.CHAMPION:
                self._record_trial(outcome)
        for letter in outcome.letters:
            self._pending[catalogue.DEAD_LETTERS.name, letter.reason] += 1

    def record_scores(self, scores: Sequence[float]) -> None:
        """Count decisions that have nothing but a score to count; the batched crossing counts them together."""
        self._records += len(scores)
        self._decisions += len(scores)
        self._score.observe_all(scores)

    def record_letters(self, reasons: Mapping[str, int]) -> None:
        """Count records that ended as a dead letter, by reason; the batched crossing counts them together."""
        for reason, n in reasons.items():
            self._records += n
            self._pending[catalogue.DEAD_LETTERS.name, reason] += n

    def record_sizes(self, sizes: Sequence[int]) -> None:
        """Observe the sizes of states that are being written, in bytes."""
        self._state_bytes.observe_all(sizes)

    def _record_trial(self, outcome: Outcome) -> None:
        """Count the results of the shadow model and the challenger."""
        if outcome.is_shadow_alert is not None:
            self._pending[catalogue.SHADOW_DECISIONS.name, ""] += 1
            self._pending[catalogue.SHADOW_ALERTS.name, ""] += outcome.is_shadow_alert
        if outcome.variant is not Variant.CHAMPION:
            self._pending[catalogue.CHALLENGER_DECISIONS.name, ""] += 1
            self._pending[catalogue.CHALLENGER_ALERTS.name, ""] += outcome.alert is not None

    def timing(self, elapsed_us: float, latency_ms: float | None) -> None:
        """Observe the processing time of a sampled record, and its latency: the record's age when it was scored."""
        self._processing_time.observe(elapsed_us)
        if latency_ms is not None:
            self._latency.observe(latency_ms)

    def alert(self, timestamp_ms: int | None, now_ms: int) -> None:
        """Observe the alert latency: the record's age when it caused an alert."""
        if timestamp_ms is not None:
            self._alert_latency.observe(now_ms - timestamp_ms)

    def reply(self, outcome: ReplyOutcome, timestamp_ms: int | None, now_ms: int) -> None:
        """Count a reply and observe its latency: the record's age when it was answered."""
        self._pending[catalogue.REPLIES.name, outcome] += 1
        if timestamp_ms is not None:
            self._reply_latency.observe(now_ms - timestamp_ms)

    def reply_fault(self, fault: RequestFault) -> None:
        """Count an invalid request for a reply."""
        self._pending[catalogue.REPLY_FAULTS.name, fault] += 1

    def due(self, now_ms: int) -> bool:
        """Return whether pending counts are to be flushed now."""
        return self._records >= FLUSH_EVERY or now_ms >= self._flush_at_ms

    def flush(self, now_ms: int) -> None:
        """Pass all pending counts to Flink."""
        self._flush_at_ms = now_ms + FLUSH_MS
        for count in self._before_flush:
            count()
        if self._records:
            self.count(catalogue.RECORDS, n=self._records)
        if self._decisions:
            self.count(catalogue.DECISIONS, n=self._decisions)
        self._records = self._decisions = 0
        for (name, value), n in self._pending.items():
            self._counter(name, _LABELS[name], value).inc(n)
        self._pending.clear()
        for histogram in self._histograms.values():
            histogram.flush()
