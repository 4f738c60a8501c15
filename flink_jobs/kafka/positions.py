"""The offsets of each partition: the first, the end, and the one that the reading job has committed."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from kafka import TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import UserError
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.retries import retried
from flink_jobs.kafka.topics import admin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from flink_jobs.kafka.broker import Broker
    from flink_jobs.kafka.consumer import Position, Record

READERS: Final[Mapping[str, str]] = {
    "transactions": "detect", "decisions": "archive", "alerts": "archive", "dlq": "archive", "audit": "archive",
    "labels": "archive", "user-actions": "archive",
}  # fmt: skip
"""The job that reads each topic. The name of its consumer group is the topic prefix, a dash, and the job."""
COUNT_UP_TO: Final = 20_000
"""A backlog up to this many offsets is counted record by record; above, the number of offsets is used instead, which
includes transaction markers."""


READ_ACROSS: Final = 10_000
"""Offsets between two ranges that are read along rather than skipped with a new reader."""


class PartitionPosition(NamedTuple):
    """One partition of a topic and the job that reads it.

    Attributes:
        topic: full name.
        partition: number.
        first_offset: of the oldest record that Kafka still has.
        end_offset: after the last committed record.
        read_offset: the offset that the job committed with its last checkpoint; ``None`` before the first.
        waiting: committed records behind ``read_offset``. A job that was stopped may have written the rows of some:
            its last commit does not arrive (``warehouse.backlog`` looks for the rows).
    """

    topic: str
    partition: int
    first_offset: int
    end_offset: int
    read_offset: int | None
    waiting: int


def read_positions(broker: Broker, prefix: str) -> list[PartitionPosition]:
    """Return the offsets of every partition of the topics that a job reads.

    The committed offsets of the jobs are read before the ends of the topics, so no offset is beyond the end.

    Raises:
        UserError: no broker answers, it stopped answering, or a topic does not exist.
    """
    groups = {topic_name(prefix, suffix): f"{prefix}-{job}" for suffix, job in READERS.items()}
    try:
        with CommittedReader(broker, list(groups)) as reader, admin(broker) as client:
            # A group that never committed has no coordinator to ask.
            known = {group["group_id"] for group in retried(client.list_groups)} & set(groups.values())
            committed = retried(lambda: client.list_group_offsets(dict.fromkeys(known))) if known else {}
            ends = reader.end_offsets()
            wanted = {TopicPartition(*place): OffsetSpec.EARLIEST for place in ends}
            first = retried(lambda: client.list_partition_offsets(wanted))
    except KafkaError as cause:
        what = f"the broker at {broker} did not return its offsets ({type(cause).__name__})"
        raise UserError(what, "see `streamflow status`, and try again") from None
    read: dict[Position, int | None] = {}
    for place in ends:
        offset = committed.get(groups[place[0]], {}).get(TopicPartition(*place))
        read[place] = offset.offset if offset is not None and offset.offset >= 0 else None
    oldest = {place: first[TopicPartition(*place)].offset for place in ends}
    begin = {place: max(oldest[place], read[place] or 0) for place in ends}
    waiting = {place: ends[place] - begin[place] for place in ends}
    countable = {place: at for place, at in begin.items() if 0 < waiting[place] <= COUNT_UP_TO}
    # Ends of transactions take offsets and are not records.
    found = Counter((record.topic, record.partition) for record in _records(broker, countable))
    waiting |= {place: found[place] for place in countable}
    return [
        PartitionPosition(*place, oldest[place], ends[place], read[place], waiting[place]) for place in sorted(ends)
    ]


def group_bounds(broker: Broker, topic: str, groups: Sequence[str]) -> dict[int, tuple[int, int]]:
    """Return, by partition, the first offset in Kafka and the smallest offset that all groups have committed.

    Both are equal where a group has committed nothing.

    Raises:
        UserError: no broker answers, or the topic does not exist.
    """
    try:
        with CommittedReader(broker, [topic]) as reader, admin(broker) as client:
            known = {group["group_id"] for group in retried(client.list_groups)}
            committed = [
                retried(partial(client.list_group_offsets, [group]))[group] if group in known else {}
                for group in groups
            ]
            places = [TopicPartition(*place) for place in reader.end_offsets()]
            first = retried(lambda: client.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST)))
    except KafkaError as cause:
        what = f"the broker at {broker} did not return its offsets ({type(cause).__name__})"
        raise UserError(what, "see `streamflow status`, and try again") from None
    found = {}
    for place in places:
        oldest = first[place].offset
        ends = [offsets[place].offset if place in offsets else oldest for offsets in committed]
        found[place.partition] = oldest, max(oldest, min(ends))
    return found


def waiting_records(broker: Broker, positions: Iterable[PartitionPosition]) -> Iterator[Record]:
    """Yield the committed records behind the committed offset of their job, of partitions with few of them.

    Partitions with more than ``COUNT_UP_TO`` offsets to read are left out.

    Raises:
        UserError: the broker does not answer.
    """
    begin = {
        (item.topic, item.partition): max(item.first_offset, item.read_offset or 0)
        for item in positions
        if item.waiting
    }
    ends = {(item.topic, item.partition): item.end_offset for item in positions}
    few = {place: at for place, at in begin.items() if ends[place] - at <= COUNT_UP_TO}
    return (record for record in _records(broker, few) if record.offset < ends[record.topic, record.partition])


def _records(broker: Broker, begin: Mapping[Position, int]) -> Iterator[Record]:
    """Yield the committed records of partitions from these offsets on."""
    if begin:
        with CommittedReader(broker, sorted({topic for topic, _ in begin}), begin, only=begin.keys()) as reader:
            yield from reader.read_to_end()


def committed_offsets(broker: Broker, topic: str, ranges: Sequence[tuple[int, int, int]]) -> set[tuple[int, int]]:
    """Return which offsets hold a committed record.

    Args:
        broker: the cluster and the account.
        topic: full name.
        ranges: (partition, first offset, last offset), in order within each partition.

    Returns:
        (partition, offset) pairs; offsets of aborted transactions and of transaction markers are not among them.

    Raises:
        UserError: the broker does not answer.
    """
    found: set[tuple[int, int]] = set()
    for window in _windows(ranges):
        place, end = (topic, window[0][0]), window[-1][2]
        wanted = {offset for _, first, last in window for offset in range(first, last + 1)}
        with CommittedReader(broker, [topic], {place: window[0][1]}, only=[place]) as reader:
            for record in reader.read_to_end():
                if record.offset in wanted:
                    found.add((record.partition, record.offset))
                if record.offset >= end:
                    break
    return found


def _windows(ranges: Sequence[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """Yield ranges of one partition that are close enough to be read in one go."""
    window: list[tuple[int, int, int]] = []
    for item in ranges:
        if window and (item[0] != window[-1][0] or item[1] - window[-1][2] > READ_ACROSS):
            yield window
            window = []
        window.append(item)
    if window:
        yield window
