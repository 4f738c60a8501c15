"""Latency from the Kafka timestamp of a transaction to the moment a consumer receives its decision."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.waiting import wait_for
from tests.lab.benchmarks import engines, workload
from tests.lab.benchmarks.bench_report import ResultSection, number
from tests.lab.benchmarks.rig import JobPlan, Rig

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

WARM_UP_S = 15.0
PLANS = (
    JobPlan("exactly_once", 5_000),
    JobPlan("exactly_once", 1_000),
    JobPlan("at_least_once", 5_000),
    JobPlan("at_least_once", 1_000),
)
METHOD = (
    "From the Kafka timestamp of a transaction (set by its producer when it sends) to the moment a consumer receives "
    "its decision: a read_committed consumer for exactly_once, a read_uncommitted one for at_least_once. Sent evenly "
    f"at half the measured throughput; the first {WARM_UP_S:.0f} s are not counted. Producer, consumer, broker and job "
    "share the machine."
)
LIMIT_S = 60.0
"""Longest wait for the remaining decisions after the last transaction was sent."""
_MARK = b"latency-mark"
_TICK_S = 0.005


@dataclass(frozen=True, slots=True)
class Received:
    """One decision: send time of its transaction and receive time, both in ms since the epoch."""

    sent_ms: int
    received_ms: float


def follow(broker: Broker, topic: str, isolation: str, events: int, answer: Connection) -> None:
    """Consume decisions until all have arrived or the other end sends something; answer with pairs of times.

    Runs in a separate process. Answers "ready" first, then a list of ``(sent_ms, received_ms)``.
    """
    consumer: Any = KafkaConsumer(
        **broker.client(),
        isolation_level=isolation,
        group_id=None,
        enable_auto_commit=False,
        fetch_max_wait_ms=10,
        max_poll_records=5_000,
    )
    places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    consumer.poll(timeout_ms=100)
    answer.send("ready")
    received: list[tuple[int, float]] = []
    while len(received) < events and not answer.poll():
        for records in consumer.poll(timeout_ms=50).values():
            now_ms = time.time() * 1000
            received += [(sent_at(record.value), now_ms) for record in records]
    answer.send(received)
    consumer.close()


def sent_at(decision: bytes) -> int:
    """Return the send time of a decision's transaction, in ms since the epoch; the transaction id ends in it."""
    return int(orjson.loads(decision)["transaction_id"].rpartition("-")[2])


def marked(events: int) -> list[workload.InputMessage]:
    """Return traffic whose transaction ids end in a mark, which the sender replaces by the send time."""
    messages = []
    for message in workload.card_traffic(events):
        document = orjson.loads(message.value or b"null")
        document["transaction_id"] += f"-{_MARK.decode()}"
        messages.append(workload.InputMessage(message.key, orjson.dumps(document)))
    return messages


def send_evenly(broker: Broker, topic: str, messages: list[workload.InputMessage], rate: float) -> float:
    """Send at a steady rate, in small bursts every few milliseconds; return the reached rate in records per second."""
    producer: Any = KafkaProducer(**broker.client(), linger_ms=5, compression_type="lz4")
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
        time.sleep(_TICK_S)
    producer.flush(timeout=60)
    reached = len(messages) / (time.monotonic() - started)
    producer.close(timeout=5)
    return reached


def run(rig: Rig, plan: JobPlan, rate: float, seconds: float) -> tuple[np.ndarray[Any, Any], float]:
    """Return the latencies of one run in ms, without the warm-up, and the reached rate in transactions per second.

    Raises:
        UserError: some decisions did not arrive.
    """
    messages = marked(int(rate * (WARM_UP_S + seconds)))
    prefix = rig.new_prefix("latency")
    isolation = "read_committed" if plan.guarantee == "exactly_once" else "read_uncommitted"
    context = multiprocessing.get_context("spawn")
    with rig.detector(prefix, plan):
        ours, theirs = context.Pipe()
        place = topic_name(prefix, "decisions")
        consumer = context.Process(target=follow, args=(rig.broker, place, isolation, len(messages), theirs))
        consumer.start()
        theirs.close()  # then `recv` below raises EOFError if the consumer has died
        try:
            wait_for(lambda: ours.poll() or not consumer.is_alive(), limit_s=60, what="the consumer of decisions")
            ours.recv()
            reached = send_evenly(rig.broker, topic_name(prefix, "transactions"), messages, rate)
            if not ours.poll(LIMIT_S):
                ours.send("stop")
            found = [Received(*pair) for pair in ours.recv()]
        except EOFError:
            raise UserError("the consumer of decisions ended early", "see its error above") from None
        finally:
            consumer.kill()
            consumer.join()
    workload.drop_topics(rig.broker, prefix)
    if len(found) < len(messages):
        raise UserError(
            f"{len(found)} of {len(messages)} decisions arrived at {rate:,.0f} transactions/s", "set a lower --rate"
        )
    first_ms = min(item.sent_ms for item in found) + WARM_UP_S * 1000
    return np.array([item.received_ms - item.sent_ms for item in found if item.sent_ms >= first_ms]), reached


def measure(rig: Rig, rate: float, seconds: float, rounds: int, say: Callable[[str], None]) -> list[ResultSection]:
    """Measure the latency of both guarantees at two checkpoint intervals."""
    section = ResultSection(
        "latency",
        f"Latency at {rate:,.0f} transactions/s",
        METHOD,
        ("guarantee", "checkpoint interval", "p50 ms", "p99 ms", "max ms", "transactions/s reached"),
    )
    found: dict[JobPlan, list[tuple[np.ndarray[Any, Any], float]]] = {plan: [] for plan in PLANS}
    for _ in range(rounds):
        for plan in PLANS:
            latencies, reached = run(rig, plan, rate, seconds)
            found[plan].append((latencies, reached))
            p50, p99 = np.percentile(latencies, (50, 99))
            say(f"{plan.guarantee}, {plan.checkpoint_interval_ms / 1000:g} s: p50 {p50:,.0f} ms, p99 {p99:,.0f} ms")
            section.raw.append(
                {
                    "guarantee": plan.guarantee,
                    "interval_ms": plan.checkpoint_interval_ms,
                    "rate": reached,
                    "p50_ms": float(p50),
                    "p99_ms": float(p99),
                }
            )
    for plan, runs in found.items():
        name = f"{plan.guarantee}, checkpoint every {plan.checkpoint_interval_ms / 1000:g} s"
        for percentile in (50, 99):
            values = [float(np.percentile(latencies, percentile)) for latencies, _ in runs]
            section.cost(f"{name}, p{percentile}", values, "ms")
        p50, p99, longest = np.median([np.percentile(latencies, (50, 99, 100)) for latencies, _ in runs], axis=0)
        section.add(
            plan.guarantee,
            f"{plan.checkpoint_interval_ms / 1000:g} s",
            number(p50),
            number(p99),
            number(longest),
            number(float(np.median([reached for _, reached in runs]))),
        )
    return [section]


def half_load(rig: Rig, events: int, known: float | None) -> float:
    """Return half of the job's throughput in events per second; ``known`` is the throughput if already measured."""
    if known is None:
        messages = workload.card_traffic(events)
        expected = engines.run_evaluator(messages, rig.model_dir)[1]
        engines.warm_up(rig, messages, expected)
        known = engines.run_detector(rig, messages, JobPlan(), expected).rate.events_per_s
    return known / 2
