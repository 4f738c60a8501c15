"""Metrics: what is counted, under which labels, and when it is handed to Flink."""

from __future__ import annotations

import pytest

from flink_jobs.core.outcome import DeadLetter, Outcome
from flink_jobs.core.reasons import ACCOUNT_REASONS, DeadLetterReason, Disposition, ReasonCode
from flink_jobs.core.state.codec import MAX_STATE_BYTES
from flink_jobs.job.detector.detector_metrics import FLUSH_EVERY, FLUSH_MS, DetectorMetrics
from flink_jobs.metrics import catalogue
from flink_jobs.metrics.catalogue import MetricKind
from tests.strategies import NOW_MS
from tests.unit.job.fake_runtime import Clock, MetricGroup, Runtime
from tests.unit.job.samples import control, detector, record, transaction

DECIDED = Outcome(b"s" * 300, "{}", customer_id="c-1", score=0.35)
DEGRADED = DECIDED._replace(is_degraded=True)


@pytest.fixture
def runtime() -> Runtime:
    return Runtime()


@pytest.fixture
def metrics(runtime: Runtime) -> DetectorMetrics:
    return DetectorMetrics(MetricGroup(runtime.metrics))


def redelivery() -> Outcome:
    """Return the outcome of a redelivered transaction."""
    letter = DeadLetter(Disposition.DUPLICATE, DeadLetterReason.DUPLICATE_TRANSACTION, "dl_1", "{}")
    return Outcome(letters=(letter,))


def buckets(runtime: Runtime, metric: catalogue.Metric) -> list[int | None]:
    bounds = [f"{bound:g}" for bound in metric.buckets] + ["+Inf"]
    return [runtime.count(f"{metric.name}_bucket", le=bound) for bound in bounds]


@pytest.mark.usefixtures("metrics")
def test_what_has_no_label_is_there_from_the_start(runtime: Runtime) -> None:
    unlabelled = [metric for metric in catalogue.DETECTOR_METRICS if metric.label is None]
    assert {metric.kind for metric in unlabelled} == set(MetricKind)
    for metric in unlabelled:
        if metric.kind is MetricKind.HISTOGRAM:
            assert buckets(runtime, metric) == [0] * (len(metric.buckets) + 1)
        elif metric.kind is MetricKind.GAUGE:
            assert runtime.gauge(metric.name) is None
        else:
            assert runtime.count(metric.name) == 0


def test_the_histogram_of_state_sizes_covers_a_full_state() -> None:
    assert catalogue.STATE_BYTES.buckets[-2] < MAX_STATE_BYTES <= catalogue.STATE_BYTES.buckets[-1]


def test_each_kind_of_outcome_is_counted(runtime: Runtime, metrics: DetectorMetrics) -> None:
    reasons = (ReasonCode.HIGH_AMOUNT, ReasonCode.BLACKLISTED)
    metrics.record(DECIDED)
    metrics.record(DECIDED._replace(alert="{}", reasons=reasons, out_of_order_ms=5, is_degraded=True))
    metrics.record(redelivery())
    metrics.flush(NOW_MS)

    counted = {name: runtime.count(name) for name in ("records", "decisions", "alerts", "degraded_decisions")}
    assert counted == {"records": 3, "decisions": 2, "alerts": 1, "degraded_decisions": 1}
    assert runtime.count("out_of_order_decisions") == 1
    assert [
        runtime.count("alert_reasons", reason=reason) for reason in ReasonCode if reason not in ACCOUNT_REASONS
    ] == [1, 0, 0, 0, 1, 0]
    assert runtime.count("dead_letters", reason="DUPLICATE_TRANSACTION") == 1


def test_a_flush_hands_over_once(runtime: Runtime, metrics: DetectorMetrics) -> None:
    metrics.record(DEGRADED)
    metrics.flush(NOW_MS)
    metrics.flush(NOW_MS)

    assert (runtime.count("records"), runtime.count("degraded_decisions")) == (1, 1)
    assert buckets(runtime, catalogue.SCORE)[-1] == 1


def test_histogram_buckets_are_cumulative_and_their_bounds_inclusive(
    runtime: Runtime, metrics: DetectorMetrics
) -> None:
    for score in (0.0, 0.1, 0.35, 0.95):
        metrics.record(DECIDED._replace(score=score))
    metrics.record_sizes([len(DECIDED.state or b"")] * 4)
    metrics.flush(NOW_MS)

    assert catalogue.SCORE.buckets[:4] == (0.1, 0.2, 0.3, 0.4)
    assert buckets(runtime, catalogue.SCORE) == [2, 2, 2, 3, 3, 3, 3, 3, 3, 4]
    assert buckets(runtime, catalogue.STATE_BYTES) == [0, 0, *[4] * 13]


def test_counts_are_due_by_number_and_by_time(metrics: DetectorMetrics) -> None:
    assert metrics.due(NOW_MS), "the first record shows at once"
    metrics.flush(NOW_MS)
    assert not metrics.due(NOW_MS + FLUSH_MS - 1)
    assert metrics.due(NOW_MS + FLUSH_MS)
    for _ in range(FLUSH_EVERY - 1):
        metrics.record(DECIDED)
    assert not metrics.due(NOW_MS)
    metrics.record(DECIDED)
    assert metrics.due(NOW_MS)


def test_the_detector_flushes_by_time(clock: Clock) -> None:
    operator = detector()
    for number in range(3):
        operator.send(record(transaction(f"t-{number}")))
    assert operator.runtime.count("decisions") == 1
    clock.now_ms += FLUSH_MS
    operator.send(record(transaction("t-3")))
    assert operator.runtime.count("decisions") == operator.runtime.count("degraded_decisions") == 4


def test_what_is_pending_when_traffic_stops_is_flushed_by_one_timer() -> None:
    operator = detector()
    for number in range(5):
        operator.send(record(transaction(f"t-{number}", f"c-{number}")))
    assert operator.runtime.count("decisions") == 1
    assert [timestamp for timestamp, _ in operator.timers.timers] == [NOW_MS + FLUSH_MS]

    assert not operator.fire_timers()

    assert operator.runtime.count("decisions") == 5
    operator.send(record(transaction("t-last")))
    assert len(operator.timers.timers) == 1, "the next pending count sets the next timer"


def test_the_detector_flushes_by_number() -> None:
    operator = detector()
    for number in range(FLUSH_EVERY):
        operator.send(record(transaction(f"t-{number}")))
    assert operator.runtime.count("records") == 1
    operator.send(record(transaction("t-last")))
    assert operator.runtime.count("records") == FLUSH_EVERY + 1


def test_one_record_in_sixteen_is_timed(clock: Clock) -> None:
    operator = detector()
    for number in range(33):
        operator.send(record(transaction(f"t-{number}")))
    clock.now_ms += FLUSH_MS
    operator.send(record(transaction("t-last")))

    timed = buckets(operator.runtime, catalogue.PROCESSING_TIME_US)
    assert timed == [0] + [2] * 10, "two of 40 us each"
    late = buckets(operator.runtime, catalogue.LATENCY_MS)
    assert late == [0, 0, 0, 0, 0] + [2] * 9, "120 ms after Kafka's timestamp"


def test_a_record_without_a_timestamp_has_no_latency(clock: Clock) -> None:
    operator = detector()
    for number in range(16):
        operator.send(record(transaction(f"t-{number}"))._replace(timestamp=""))
    clock.now_ms += FLUSH_MS
    operator.send(record(transaction("t-last")))

    assert buckets(operator.runtime, catalogue.PROCESSING_TIME_US)[-1] == 1
    assert buckets(operator.runtime, catalogue.LATENCY_MS)[-1] == 0


def test_control_outcomes_are_counted_by_what_became_of_them() -> None:
    operator = detector()
    operator.control(control({"alpha": 0.1}))
    operator.control(control({"alpha": 0.1}, offset=1))
    operator.control(control({"alpha": 9}, "ctl-2", 2))

    counted = [
        operator.runtime.count("control_messages", outcome=name) for name in ("applied", "duplicate", "rejected")
    ]
    assert counted == [1, 1, 1]


def test_the_name_in_prometheus_is_built_from_the_registered_groups(runtime: Runtime, metrics: DetectorMetrics) -> None:
    """Flink puts the names of the groups before the metric's own; the catalogue says the same."""
    metrics.record(redelivery())
    metrics.record(DECIDED._replace(alert="{}", reasons=(ReasonCode.BLACKLISTED,), is_degraded=True))
    metrics.count(catalogue.CONTROL_MESSAGES, "applied")
    metrics.count(catalogue.MODEL_CUT_OFFS, "shadow")
    metrics.flush(NOW_MS)

    registered = {
        catalogue.FLINK_OPERATOR_PREFIX + "".join(f"{label}_" for label, _ in labels) + name
        for name, labels in runtime.metrics
    }
    assert registered == {catalogue.prometheus_name(metric) for metric in catalogue.DETECTOR_METRICS}
