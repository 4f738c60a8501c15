"""A consumer without a group that reads one topic from its beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafka import KafkaConsumer, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping


def open_consumer(client: Mapping[str, Any], topic: str, isolation: str, fetch_max_wait_ms: int) -> Any:  # noqa: ANN401 - kafka-python has no types
    """Return a consumer at the beginning of every partition, connected.

    Args:
        client: address and login of the broker, as kafka-python takes them.
        topic: the topic.
        isolation: ``read_committed`` or ``read_uncommitted``.
        fetch_max_wait_ms: longest wait of the broker for new records.
    """
    consumer: Any = KafkaConsumer(
        **client,
        isolation_level=isolation,
        group_id=None,
        enable_auto_commit=False,
        fetch_max_wait_ms=fetch_max_wait_ms,
        max_poll_records=5_000,
    )
    places = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    consumer.poll(timeout_ms=100)
    return consumer
