"""Finds out which records of a killed run reached Kafka, and completes the audit.

Each redriven record names its dead letter and its run in its headers. So the topics are read from their end offsets
before the run. A request that the killed process had written to its socket can still arrive for a few seconds; the
topics are read after that time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from flink_jobs.core.dead_letters.redrive import HEADER_LETTER, HEADER_RUN
from flink_jobs.kafka.consumer import CommittedReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flink_jobs.dead_letters.redrive_audit import InterruptedSend, RedriveStore
    from flink_jobs.kafka.broker import Broker
    from flink_jobs.kafka.consumer import Position

SETTLE_S: Final = 5.0
"""Seconds after a claim in which a request of a killed process can still arrive at the broker."""


def settle_interrupted(store: RedriveStore, broker: Broker) -> tuple[int, int]:
    """Complete the audit of interrupted runs; return the number of records that were sent, and of those that were not.

    Raises:
        UserError: no broker answers, or a topic does not exist.
    """
    open_items = store.interrupted()
    if not open_items:
        return 0, 0
    time.sleep(max(0.0, SETTLE_S - min(item.age_s for item in open_items)))
    landed = _find(broker, open_items)
    store.note_sent(landed)
    for item in open_items:
        if item.redrive_id not in landed:
            store.note_abandoned(item.redrive_id, "the run was interrupted before the record was sent")
    return len(landed), len(open_items) - len(landed)


def _find(broker: Broker, items: Sequence[InterruptedSend]) -> dict[int, tuple[int, int]]:
    """Return partition and offset of the records that Kafka has, by attempt number."""
    wanted = {(item.run_id.encode(), item.dlq_id.encode()): item.redrive_id for item in items}
    topics = sorted({item.topic for item in items})
    start: dict[Position, int] = {}
    for item in items:
        for position, offset in item.positions.items():
            if position[0] in topics:
                start[position] = min(offset, start.get(position, offset))
    landed: dict[int, tuple[int, int]] = {}
    with CommittedReader(broker, topics, start) as reader:
        for record in reader.read_to_end():
            headers = dict(record.headers)
            number = wanted.get((headers.get(HEADER_RUN, b""), headers.get(HEADER_LETTER, b"")))
            if number is not None:
                landed[number] = (record.partition, record.offset)
    return landed
