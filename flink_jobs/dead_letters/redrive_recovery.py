"""What became of records that a run was about to send when it was killed.

Such a record is on Kafka or it is not, and Kafka can be asked: each carries its letter and its run in its headers. So
the topic is read from where it ended when the run began. What the dead run had handed to its socket may still land for
a moment; nothing is asked before that moment has passed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from flink_jobs.core.dead_letters.redrive import HEADER_LETTER, HEADER_RUN
from flink_jobs.kafka.consumer import CommittedReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flink_jobs.dead_letters.redrive_audit import Interrupted, RedriveStore
    from flink_jobs.kafka.broker import Broker
    from flink_jobs.kafka.consumer import Position

SETTLE_S: Final = 5.0
"""After a claim, how long a request of a dead process may still be on its way to the broker."""


def settle_interrupted(store: RedriveStore, broker: Broker) -> tuple[int, int]:
    """Complete the audit of runs that were cut short; return how many records had been sent, and how many not.

    Raises:
        UserError: no broker, or a topic is gone.
    """
    open_items = store.interrupted()
    if not open_items:
        return 0, 0
    time.sleep(max(0.0, SETTLE_S - min(item.age_s for item in open_items)))
    landed = _find(broker, open_items)
    store.note_sent(landed)
    for item in open_items:
        if item.redrive_id not in landed:
            store.note_abandoned(item.redrive_id, "the run was cut short before it was sent")
    return len(landed), len(open_items) - len(landed)


def _find(broker: Broker, items: Sequence[Interrupted]) -> dict[int, tuple[int, int]]:
    """Return where records landed, by the number of their attempt."""
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
