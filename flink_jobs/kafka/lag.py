"""The lag of consumer groups."""

from __future__ import annotations

from dataclasses import dataclass

from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.retries import retried
from flink_jobs.kafka.topics import admin


@dataclass(frozen=True)
class ConsumerLag:
    """The committed offset of one group in one topic, summed over partitions. Flink commits it with each checkpoint."""

    group: str
    topic: str
    position: int
    end: int

    @property
    def lag(self) -> int:
        """Records between the committed offset and the end of the topic, transaction markers included."""
        return max(0, self.end - self.position)


def consumer_lag(broker: Broker) -> list[ConsumerLag]:
    """Return the lag of every group; an empty list if the broker does not answer, so that a status still prints."""
    try:
        with admin(broker) as client:
            groups = [group["group_id"] for group in retried(client.list_groups)]
            positions = retried(lambda: client.list_group_offsets(dict.fromkeys(groups))) if groups else {}
            wanted = {partition for offsets in positions.values() for partition in offsets}
            latest = dict.fromkeys(wanted, OffsetSpec.LATEST)
            ends = retried(lambda: client.list_partition_offsets(latest)) if wanted else {}
    except (KafkaError, UserError):
        return []
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for group, offsets in positions.items():
        for partition, position in offsets.items():
            at, end = sums.get((group, partition.topic), (0, 0))
            sums[group, partition.topic] = (at + max(0, position.offset), end + ends[partition].offset)
    return [ConsumerLag(group, topic, at, end) for (group, topic), (at, end) in sorted(sums.items())]
