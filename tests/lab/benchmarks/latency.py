"""Latency from the Kafka timestamp of a transaction to the moment a consumer receives its decision or alert."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from kafka import KafkaProducer

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from tests.lab.benchmarks import engines, workload
from tests.lab.benchmarks.bench_report import ResultSection, number
from tests.lab.benchmarks.followers import Follower
from tests.lab.benchmarks.rig import JobPlan, Rig
from tests.stack_control import kill_taskmanager, start_taskmanager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flink_jobs.local.stack import Stack

WARM_UP_S = 15.0
FRESH_S = 45.0
"""Length of a first run that is not counted: the JVM of a fresh TaskManager compiles in its first minute."""
PLANS = (
    JobPlan("exactly_once", 5_000),
    JobPlan("exactly_once", 1_000),
    JobPlan("at_least_once", 5_000),
    JobPlan("at_least_once", 1_000),
)
FAILOVER = JobPlan("exactly_once", 5_000)
"""The plan that is also measured with a killed TaskManager."""
OUTAGE_S = 30.0
"""Alerts of transactions sent within this time after the kill count as "during the failover"."""
METHOD = (
    "From the Kafka timestamp of a transaction (set by its producer when it sends) to the moment a consumer receives "
    "its decision or its alert: a read_committed consumer for exactly_once, a read_uncommitted one for at_least_once. "
    "Each topic has a consumer process of its own. "
    "Alerts are at least once in every run. Sent evenly; not counted are the first minute of a fresh TaskManager, in "
    f"which the JVM compiles, and the first {WARM_UP_S:.0f} s of each run. Failover: the "
    "only TaskManager is killed in the middle and started again, and of several alerts of one transaction the first "
    f"counts; *during* are transactions sent up to {OUTAGE_S:.0f} s after the kill, *after* are later ones. "
    "Producer, consumer, broker and job share the machine."
)
LIMIT_S = 240.0
"""Longest wait for the remaining decisions after the last transaction was sent."""
_MARK = b"latency-mark"
_TICK_S = 0.005
_REST_S = 1.0
"""Time for the alerts of the last transactions after their decisions arrived."""


@dataclass(frozen=True, slots=True)
class Received:
    """One decision or alert: its transaction, and the send time and receive time in ms since the epoch."""

    transaction: str
    received_ms: float
    is_alert: bool

    @property
    def sent_ms(self) -> int:
        """The send time; the transaction id ends in it."""
        return int(self.transaction.rpartition("-")[2])


@dataclass(frozen=True, slots=True)
class Found:
    """The latencies of one run in ms, without the warm-up, and the reached rate in transactions/s."""

    decisions: np.ndarray[Any, Any]
    alerts: np.ndarray[Any, Any]
    rate: float
    during: np.ndarray[Any, Any] | None = None
    """Alerts during a failover."""


def marked(events: int) -> list[workload.InputMessage]:
    """Return traffic whose transaction ids end in a mark, which the sender replaces by the send time."""
    messages = []
    for message in workload.card_traffic(events):
        document = orjson.loads(message.value or b"null")
        document["transaction_id"] += f"-{_MARK.decode()}"
        messages.append(workload.InputMessage(message.key, orjson.dumps(document)))
    return messages


def send_evenly(
    broker: Broker, topic: str, messages: list[workload.InputMessage], rate: float, halfway: Callable[[], None] | None
) -> float:
    """Send at a steady rate, in small bursts every few milliseconds; return the reached rate in records per second.

    ``halfway`` is called once in the middle; it must not take long.
    """
    producer: Any = KafkaProducer(**broker.client(), linger_ms=0, compression_type="lz4")
    partitions = len(producer.partitions_for(topic))
    started = time.monotonic()
    sent = 0
    while sent < len(messages):
        due = min(len(messages), int((time.monotonic() - started) * rate) + 1)
        for message in messages[sent:due]:
            now_ms = time.time_ns() // 1_000_000
            producer.send(
                topic,
                value=(message.value or b"").replace(_MARK, b"%d" % now_ms),
                key=message.key,
                partition=workload.partition_of(message.key, partitions),
                timestamp_ms=now_ms,
            )
        sent = due
        if halfway is not None and sent >= len(messages) // 2:
            halfway()
            halfway = None
        time.sleep(_TICK_S)
    producer.flush(timeout=60)
    reached = len(messages) / (time.monotonic() - started)
    producer.close(timeout=5)
    return reached


def run(rig: Rig, plan: JobPlan, rate: float, seconds: float, *, failover: bool = False) -> Found:
    """Return the latencies of one run.

    Raises:
        UserError: some decisions did not arrive.
    """
    messages = marked(int(rate * (WARM_UP_S + seconds)))
    prefix = rig.new_prefix("latency")
    isolation = "read_committed" if plan.guarantee == "exactly_once" else "read_uncommitted"
    killed_ms: list[float] = []

    def fail() -> None:
        killed_ms.append(time.time() * 1000)
        threading.Thread(target=_restart, args=(rig.stack,), daemon=True).start()

    with rig.detector(prefix, plan):
        decisions = Follower(rig.broker, topic_name(prefix, "decisions"), isolation, len(messages))
        alerts = Follower(rig.broker, topic_name(prefix, "alerts"), isolation)
        try:
            for follower in (decisions, alerts):
                if not follower.wait(LIMIT_S):
                    raise UserError(f"a consumer did not start within {LIMIT_S:.0f} s", "see its error above")
                follower.answer()
            topic = topic_name(prefix, "transactions")
            reached = send_evenly(rig.broker, topic, messages, rate, fail if failover else None)
            if not decisions.wait(LIMIT_S):
                decisions.stop()
            found = [Received(name, at_ms, is_alert=False) for name, at_ms in decisions.answer()]
            time.sleep(_REST_S)
            alerts.stop()
            found += [Received(name, at_ms, is_alert=True) for name, at_ms in alerts.answer()]
        finally:
            decisions.kill()
            alerts.kill()
    workload.drop_topics(rig.broker, prefix)
    return _latencies(found, len(messages), reached, killed_ms[0] if killed_ms else None)


def _restart(stack: Stack) -> None:
    """Kill the only TaskManager with SIGKILL and start it again."""
    kill_taskmanager(stack, 1)
    start_taskmanager(stack, 1)


def _latencies(found: list[Received], events: int, rate: float, killed_ms: float | None) -> Found:
    decisions = [item for item in found if not item.is_alert]
    if len(decisions) < events:
        raise UserError(f"{len(decisions)} of {events} decisions arrived at {rate:,.0f}/s", "set a lower --rate")
    first_ms = min(item.sent_ms for item in decisions) + WARM_UP_S * 1000
    alerts: dict[str, Received] = {}
    for item in found:
        if item.is_alert and item.sent_ms >= first_ms:
            alerts.setdefault(item.transaction, item)  # after a failure an alert comes again
    if killed_ms is not None:
        # A second before the kill, records may be read and not yet scored.
        during = [item for item in alerts.values() if -1_000 <= item.sent_ms - killed_ms < OUTAGE_S * 1000]
        after = [item for item in alerts.values() if item.sent_ms - killed_ms >= OUTAGE_S * 1000]
        return Found(_ages(decisions), _ages(after), rate, _ages(during))
    return Found(_ages([item for item in decisions if item.sent_ms >= first_ms]), _ages(alerts.values()), rate)


def _ages(items: Iterable[Received]) -> np.ndarray[Any, Any]:
    return np.array([item.received_ms - item.sent_ms for item in items])


def measure(rig: Rig, rate: float, seconds: float, rounds: int, say: Callable[[str], None]) -> list[ResultSection]:
    """Measure decisions and alerts under both guarantees at two checkpoint intervals, and alerts around a failover."""
    section = ResultSection(
        "latency",
        f"Latency at {rate:,.0f} transactions/s",
        METHOD,
        ("run", "messages", "p50 ms", "p99 ms", "max ms", "transactions/s reached"),
    )
    runs: dict[tuple[str, str], list[tuple[np.ndarray[Any, Any], float]]] = {}
    run(rig, PLANS[0], rate, min(FRESH_S, seconds))
    for _ in range(rounds):
        for plan, failover in [*((plan, False) for plan in PLANS), (FAILOVER, True)]:
            found = run(rig, plan, rate, max(seconds, 4 * OUTAGE_S) if failover else seconds, failover=failover)
            name = f"{plan.guarantee}, checkpoint every {plan.checkpoint_interval_ms / 1000:g} s"
            measured = {"decisions": found.decisions, "alerts": found.alerts}
            if found.during is not None:
                name += ", failover"
                measured = {"alerts during": found.during, "alerts after": found.alerts}
            for what, latencies in measured.items():
                if not len(latencies):
                    raise UserError(f"{name}: no {what} to measure", "raise --rate or --seconds")
                runs.setdefault((name, what), []).append((latencies, found.rate))
                p50, p99 = np.percentile(latencies, (50, 99))
                say(f"{name}, {what}: p50 {p50:,.0f} ms, p99 {p99:,.0f} ms ({len(latencies):,})")
                section.raw.append(
                    {"run": name, "messages": what, "rate": found.rate, "p50_ms": float(p50), "p99_ms": float(p99)}
                )
    for (name, what), some in runs.items():
        for percentile in (50, 99):
            values = [float(np.percentile(latencies, percentile)) for latencies, _ in some]
            # The reports before the immediate lane measured decisions only, under this name.
            shown = name if what == "decisions" else f"{name}, {what}"
            section.cost(f"{shown}, p{percentile}", values, "ms")
        p50, p99, longest = np.median([np.percentile(latencies, (50, 99, 100)) for latencies, _ in some], axis=0)
        rate_reached = float(np.median([reached for _, reached in some]))
        section.add(name, what, number(p50), number(p99), number(longest), number(rate_reached))
    return [section]


def half_load(rig: Rig, events: int, known: float | None) -> float:
    """Return half of the job's throughput in events per second; ``known`` is the throughput if already measured."""
    if known is None:
        messages = workload.card_traffic(events)
        expected = engines.run_evaluator(messages, rig.model_dir)[1]
        engines.warm_up(rig, messages, expected)
        known = engines.run_detector(rig, messages, JobPlan(), expected).rate.events_per_s
    return known / 2
