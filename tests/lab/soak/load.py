"""Traffic for hours: a sender with a steady rate and constant memory, and a reader of the decisions."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import orjson
from kafka import KafkaProducer

from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.traffic.simulate import SimulationPlan, simulate
from tests.lab.benchmarks import workload
from tests.lab.topic_consumer import open_consumer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

GARBAGE = 0.01
_ID = b'"transaction_id":"'
_TICK_S = 0.005
_FLUSH_S = 0.25
DECODED_EVERY = 8
"""One of this number of decisions is timed, so that the reader does not slow down the job."""


def endless(customers: int) -> Iterator[workload.InputMessage]:
    """Yield simulated card traffic without end; one record in a hundred is malformed."""
    for record in with_faults(simulate(SimulationPlan(customers=customers)), FaultPlan(malformed=GARBAGE)):
        yield workload.InputMessage(record.key, record.value)


def stamped(value: bytes | None, now_ms: int) -> bytes | None:
    """Return a payload whose transaction id ends in the send time; a payload without an id is returned unchanged."""
    if value is None or (start := value.find(_ID)) < 0 or (end := value.find(b'"', start + len(_ID))) < 0:
        return value
    return b"%s-%d%s" % (value[:end], now_ms, value[end:])


def sent_at(decision: bytes) -> int:
    """Return the send time of a decision's transaction, in ms since the epoch; the transaction id ends in it."""
    return int(orjson.loads(decision)["transaction_id"].rpartition("-")[2])


class Sender:
    """Sends at a steady rate; the transaction id of each record ends in the send time."""

    def __init__(self, bootstrap: str, topic: str, messages: Iterator[workload.InputMessage]) -> None:
        """Connect to the broker without sending."""
        self._producer: Any = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, compression_type="lz4")
        self._topic = topic
        self._messages = messages
        self._partitions = len(self._producer.partitions_for(topic))
        self.sent = 0

    def run(self, rate: float, done: threading.Event) -> None:
        """Send ``rate`` records per second until ``done`` is set."""
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
    """Read committed decisions until the other end closes or sends something.

    Runs in a separate process. Answers "ready" first, then four times per second ``(decisions so far, latencies in ms
    since the last answer)``.
    """
    consumer = open_consumer({"bootstrap_servers": bootstrap}, topic, "read_committed", fetch_max_wait_ms=50)
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
