"""Input of the benchmarks: simulated card traffic, encoded once and published to each run's own topics."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.producer import connect
from flink_jobs.kafka.topics import LOCAL_REPLICATION, admin, contracts
from flink_jobs.traffic.faults import FaultPlan, with_faults
from flink_jobs.traffic.simulate import SimulationPlan, simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CUSTOMERS = 5_000
OUTPUTS = ("decisions", "alerts", "dlq")
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class InputMessage:
    """One record to publish; the key is the customer id, the value None for a tombstone."""

    key: bytes
    value: bytes | None


def card_traffic(events: int, *, garbage: float = 0.0, customers: int = CUSTOMERS) -> list[InputMessage]:
    """Return ``events`` records of simulated traffic; about the share ``garbage`` (0 to 1) of them is malformed."""
    source = simulate(SimulationPlan(customers=customers))
    records = with_faults(source, FaultPlan(malformed=garbage))
    return [InputMessage(record.key, record.value) for record in itertools.islice(records, events)]


def many_customers(customers: int, events_each: int) -> Iterator[InputMessage]:
    """Yield ``events_each`` transactions of every customer, one day apart."""
    patterns = [event.transaction for event in itertools.islice(simulate(SimulationPlan(customers=1_000)), 1_000)]
    for number in range(events_each):
        for customer in range(customers):
            pattern = patterns[(customer + 7 * number) % len(patterns)]
            document = {
                **pattern,
                "transaction_id": f"m{number}-{customer}",
                "customer_id": f"m{customer:07d}",
                "event_time_ms": pattern["event_time_ms"] + number * 24 * HOUR_MS,
            }
            yield InputMessage(document["customer_id"].encode(), orjson.dumps(document))


def create_topics(broker: Broker, prefix: str) -> None:
    """Create the topics of the contracts under a prefix of this run.

    The broker sets the timestamps of output records with its own clock, so one clock measures all engines, whatever
    timestamp a client writes.
    """
    wanted = {
        name: {
            "num_partitions": contract.partitions,
            "replication_factor": LOCAL_REPLICATION,
            "configs": {
                **dict(contract.config),
                **({"message.timestamp.type": "LogAppendTime"} if contract.suffix in OUTPUTS else {}),
            },
        }
        for name, contract in contracts(prefix).items()
    }
    with admin(broker, timeout_s=30.0) as client:
        client.create_topics(wanted, wait_for_metadata=True)


def drop_topics(broker: Broker, prefix: str) -> None:
    """Delete the topics of a run, because a long benchmark would fill the disk."""
    with admin(broker, timeout_s=30.0) as client:
        client.delete_topics(list(contracts(prefix)))


def partition_of(key: bytes, partitions: int) -> int:
    """Return a customer's partition, by CRC32, because Kafka's own hash is slow in Python."""
    return zlib.crc32(key) % partitions


def publish(broker: Broker, prefix: str, messages: Iterable[InputMessage]) -> None:
    """Write messages to the transactions topic and wait until the broker has acknowledged all of them.

    Raises:
        UserError: the broker rejected a message.
    """
    topic = topic_name(prefix, "transactions")
    producer = connect(broker)
    try:
        partitions = len(producer.partitions_for(topic))
        futures = [
            producer.send(topic, value=message.value, key=message.key, partition=partition_of(message.key, partitions))
            for message in messages
        ]
        producer.flush(timeout=120)
        failed = next((future.exception for future in futures if future.failed()), None)
    finally:
        producer.close(timeout=5)
    if failed is not None:
        raise UserError(f"Kafka rejected the workload ({failed})", "see kafka.log of the benchmark's stack")
