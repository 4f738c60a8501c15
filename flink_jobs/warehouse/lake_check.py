"""Whether the lake holds each decision of Kafka exactly once.

Each row of the lake has the coordinates of its message. An offset without a row is lost if Kafka holds a committed
message there; the ends of transactions and the records of aborted transactions take offsets too. Offsets that Kafka has
deleted are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.kafka.positions import committed_offsets, group_bounds
from flink_jobs.warehouse.completeness import OffsetRange
from flink_jobs.warehouse.lake_files import live_files

if TYPE_CHECKING:
    from flink_jobs.kafka.broker import Broker
    from flink_jobs.warehouse.lake_files import LakeStore

TABLES: Final = ("decisions", "rejected_decisions")
_PLACE: Final = ("decision_partition", "decision_offset")
_BATCH: Final = 1 << 20
Reader = Callable[[Sequence[OffsetRange]], set[tuple[int, int]]]
"""Takes ranges and returns the (partition, offset) pairs that hold a committed record."""


class LakePartition(NamedTuple):
    """A partition of the decisions topic, and what the lake holds of it.

    Attributes:
        partition: number.
        first_offset: first offset that was compared.
        read_offset: the offset up to which the lake job has completed its files.
        rows: compared offsets with a row.
        lost: committed messages without a row.
        duplicated: rows beyond the first of a message.
        without_record: compared offsets that hold no committed message.
    """

    partition: int
    first_offset: int
    read_offset: int
    rows: int
    lost: int
    duplicated: int
    without_record: int

    @property
    def is_complete(self) -> bool:
        """Whether each message has one row."""
        return not self.lost and not self.duplicated


def check(store: LakeStore, broker: Broker, prefix: str, newest: int | None = None) -> list[LakePartition]:
    """Compare the lake with the decisions topic up to the offsets that the lake job has committed.

    Args:
        store: the lake.
        broker: the cluster and the account.
        prefix: of the topic and the consumer groups.
        newest: compare only so many offsets of each partition; default: all that Kafka still holds.

    Raises:
        UserError: no broker answers, or the topic does not exist.
    """
    topic = topic_name(prefix, "decisions")
    # The job reads the topic twice, so it has two groups: a file is complete up to the smaller offset.
    found = group_bounds(broker, topic, [f"{prefix}-lake", f"{prefix}-lake-check"])
    bounds = {
        number: (first if newest is None else max(first, end - newest), end) for number, (first, end) in found.items()
    }
    return compare(store, bounds, partial(committed_offsets, broker, topic))


def compare(store: LakeStore, bounds: Mapping[int, tuple[int, int]], read: Reader) -> list[LakePartition]:
    """Compare the rows of the lake with the messages of Kafka.

    Needs two bytes of memory for each compared offset.

    Args:
        store: the lake.
        bounds: first offset and the offset after the last one to compare, by partition.
        read: looks at offsets without a row in Kafka.
    """
    counts = {number: np.zeros(max(0, end - first), np.uint16) for number, (first, end) in bounds.items()}
    for table in TABLES:
        for name in live_files(store, table):
            for numbers, offsets in _places(store, name):
                _count(counts, bounds, numbers, offsets)
    gaps = [item for number, count in sorted(counts.items()) for item in _gaps(number, bounds[number][0], count == 0)]
    lost = read(gaps) if gaps else set()
    return [
        LakePartition(
            partition=number,
            first_offset=bounds[number][0],
            read_offset=bounds[number][1],
            rows=int(np.count_nonzero(count)),
            lost=(missing := sum(1 for partition, _ in lost if partition == number)),
            duplicated=int(count.sum(dtype=np.int64)) - int(np.count_nonzero(count)),
            without_record=int(np.count_nonzero(count == 0)) - missing,
        )
        for number, count in sorted(counts.items())
    ]


def _places(store: LakeStore, name: str) -> Iterator[tuple[Any, Any]]:
    """Yield partitions and offsets of the rows of a file, as arrays."""
    from pyarrow import parquet  # noqa: PLC0415 - takes a second to import

    with store.open(name) as source, parquet.ParquetFile(source) as file:
        for batch in file.iter_batches(batch_size=_BATCH, columns=list(_PLACE)):
            numbers, offsets = (batch.column(column).to_numpy(zero_copy_only=False) for column in _PLACE)
            yield numbers, offsets


def _count(counts: dict[int, Any], bounds: Mapping[int, tuple[int, int]], numbers: Any, offsets: Any) -> None:  # noqa: ANN401
    """Add the rows of a file to the number of rows of each offset."""
    for number in np.unique(numbers):
        if int(number) not in bounds:
            continue
        first, end = bounds[int(number)]
        mine = offsets[(numbers == number) & (offsets >= first) & (offsets < end)] - first
        if len(mine):
            low = int(mine.min())
            found = np.bincount(mine - low)
            counts[int(number)][low : low + len(found)] += found.astype(np.uint16)


def _gaps(number: int, first: int, is_gap: Any) -> Iterator[OffsetRange]:  # noqa: ANN401 - an array
    """Yield the ranges of offsets without a row."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_gap, [False])).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2):
        yield OffsetRange(number, first + int(begin), first + int(end) - 1)
