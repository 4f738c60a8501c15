"""Message keys that Kafka's partitioner maps to given partitions."""

from __future__ import annotations

from itertools import count

from kafka.partitioner import murmur2


def keys_of_partitions(partitions: int) -> tuple[str, ...]:
    """Return, for each partition, the smallest decimal number that Kafka's default partitioner maps to it as a key.

    Flink's SQL sink cannot name a partition; it can name a key.

    Args:
        partitions: number of partitions of the topic.
    """
    found: dict[int, str] = {}
    for number in count():
        found.setdefault(partition_of_key(str(number), partitions), str(number))
        if len(found) == partitions:
            return tuple(found[partition] for partition in range(partitions))
    raise AssertionError  # `count` does not end


def partition_of_key(key: str, partitions: int) -> int:
    """Return the partition to which Kafka's default partitioner maps a key (UTF-8)."""
    return int((murmur2(key.encode()) & 0x7FFFFFFF) % partitions)
