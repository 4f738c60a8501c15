"""Traffic for hours: sent at a steady rate without holding it in memory, and followed until it is decided."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.traffic.simulate import SimulationPlan, simulate
from tests.lab.benchmarks import workload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

GARBAGE = 0.01
_ID = b'"transaction_id":"'
_TICK_S = 0.005
_FLUSH_S = 0.25
DECODED_EVERY = 8
"""One decision in so many is timed: the reader must not cost what is measured."""


def endless(customers: int) -> Iterator[workload.Message]:
    """Yield simulated card traffic, one record in a hundred of it garbage."""
    for record in with_faults(simulate(SimulationPlan(customers=customers)), FaultPlan(malformed=GARBAGE)):
        yield workload.Message(record.key, record.value)


def stamped(value: bytes | None, now_ms: int) -> bytes | None:
    """Return a payload whose transaction id ends in the time of sending; what has no id stays as it is."""
    if value is None or (start := value.find(_ID)) < 0 or (end := value.find(b'"', start + len(_ID))) < 0:
        return value
    return b"%s-%d%s" % (value[:end], now_ms, value[end:])


def sent_at(decision: bytes) -> int:
    """Return when the transaction of a decision was sent, ms since the epoch: its id says so."""
    return int(orjson.loads(decision)["transaction_id"].rpartition("-")[2])


class Sender:
    """Sends at a steady rate, each record with the time of its sending in its transaction id."""

    def __init__(self, bootstrap: str, topic: str, messages: Iterator[workload.Message]) -> None:
        """Connect; nothing is sent yet."""
        self._producer: Any = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, compression_type="lz4")
        self._topic = topic
        self._messages = messages
        self._partitions = len(self._producer.partitions_for(topic))
        self.sent = 0

    def run(self, rate: float, done: threading.Event) -> None:
        """Send ``rate`` records a second until ``done``."""
        started, first = time.monotonic(), self.sent
        while not done.wait(_TICK_S):
            due = first + int((time.monotonic() - started) * rate)
            while self.sent < due:
                message, now_ms = next(self._messages), time.time_ns() // 1_000_000
                self._producer.send(
                    self._topic,
                    value=stamped(message.value, now_ms),
                    key=message.key,
                    partition=workload.partition_of(message.key, self._partitions),
                    timestamp_ms=now_ms,
                )
                self.sent += 1
        self._producer.flush(timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._producer.close(timeout=5)


def follow(bootstrap: str, topic: str, answer: Connection) -> None:
    """Read committed decisions in a process of its own until the other end hangs up or sends something.

    Answers "ready", then ``(decisions so far, latencies in ms since the last answer)`` four times a second.
    """
    consumer: Any = KafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        group_id=None,
        enable_auto_commit=False,
        fetch_max_wait_ms=50,
        max_poll_records=5_000,
    )
    places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    consumer.poll(timeout_ms=100)
    answer.send("ready")
    count, timed = 0, list[float]()
    last = time.monotonic()
    while not answer.poll():
        for records in consumer.poll(timeout_ms=100).values():
            now_ms = time.time() * 1000
            count += len(records)
            timed += [now_ms - sent_at(record.value) for record in records[::DECODED_EVERY]]
        if time.monotonic() - last >= _FLUSH_S:
            last = time.monotonic()
            answer.send((count, timed))
            timed = []
    consumer.close()
