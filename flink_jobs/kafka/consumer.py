"""Read committed records of topics up to their present end: for ledgers, dead letters and audits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import AuthorizationError, KafkaError

from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.errors import connection_error, denied, no_topic

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence
    from types import TracebackType

Position = tuple[str, int]  # (topic, partition)
CONNECT_LIMIT_S = 10.0
STALL_LIMIT_S = 60.0
POLL_MS = 200


@dataclass(frozen=True, slots=True)
class Record:
    """One Kafka record as read; times in milliseconds since the epoch, UTC."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class CommittedReader:
    """Reads topics with ``isolation.level=read_committed``, without a consumer group, keeping its positions.

    Each ``read_to_end`` goes on where the one before ended, so a caller can follow topics by calling it again.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        start: Mapping[Position, int] | None = None,
        *,
        only: Container[Position] | None = None,
    ) -> None:
        """Connect and place the reader.

        Args:
            broker: the cluster, and who we are there.
            topics: full names.
            start: first offset of each partition; a partition not named starts at its beginning.
            only: partitions to read; default: all.

        Raises:
            UserError: no broker answers, or a topic does not exist.
        """
        try:
            self._consumer: Any = KafkaConsumer(
                **broker.client(),
                isolation_level="read_committed",
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                bootstrap_timeout_ms=int(CONNECT_LIMIT_S * 1_000),
                fetch_max_bytes=16 * 1_048_576,
                max_partition_fetch_bytes=4 * 1_048_576,
                max_poll_records=5_000,
                allow_auto_create_topics=False,
            )
        except (KafkaError, ValueError) as cause:
            raise connection_error(broker, cause) from None
        places = [
            TopicPartition(topic, number)
            for topic in topics
            for number in self._partitions(topic, broker)
            if only is None or (topic, number) in only
        ]
        self._consumer.assign(places)
        self._consumer.seek_to_beginning(*places)
        for (topic, partition), offset in (start or {}).items():
            self._consumer.seek(TopicPartition(topic, partition), offset)
        self._places = places

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def end_offsets(self) -> dict[Position, int]:
        """Return, per partition, the offset after the last committed record."""
        ends = self._consumer.end_offsets(self._places)
        return {(place.topic, place.partition): offset for place, offset in ends.items()}

    def close(self) -> None:
        """Close the connection."""
        sockets = _open_sockets(self._consumer)
        self._consumer.close()
        for socket in sockets:
            socket.close()

    def seek_to_end(self) -> None:
        """Skip everything that is there now."""
        for (topic, partition), offset in self.end_offsets().items():
            self._consumer.seek(TopicPartition(topic, partition), offset)

    def read_to_end(self) -> Iterator[Record]:
        """Yield what was committed before the call and not read yet; order holds within a partition.

        Raises:
            UserError: the broker stopped answering before the end was reached.
        """
        ends = self.end_offsets()
        last_progress = time.monotonic()
        while self._behind(ends):
            batches = self._consumer.poll(timeout_ms=POLL_MS)
            if batches:
                last_progress = time.monotonic()
            elif time.monotonic() - last_progress > STALL_LIMIT_S:
                what = f"no data came from Kafka for {STALL_LIMIT_S:g} s, before the end of {self._behind(ends)}"
                raise UserError(what, "check with `streamflow status` that the broker is up, and try again")
            for records in batches.values():
                for record in records:
                    yield _record(record)

    def read_at(self, topic: str, partition: int, offset: int) -> Record | None:
        """Return one record, None when the topic does not hold it any more; the positions of reading are lost.

        Raises:
            UserError: the broker stopped answering.
        """
        place = TopicPartition(topic, partition)
        self._consumer.assign([place])
        first = self._consumer.beginning_offsets([place])[place]
        if not first <= offset < self._consumer.end_offsets([place])[place]:
            return None
        self._consumer.seek(place, offset)
        limit = time.monotonic() + STALL_LIMIT_S
        while time.monotonic() < limit:
            for record in self._consumer.poll(timeout_ms=POLL_MS, max_records=1).get(place, ()):
                return _record(record) if record.offset == offset else None
        raise UserError(
            f"no data came from Kafka for {STALL_LIMIT_S:g} s from {topic}-{partition}",
            "check with `streamflow status` that the broker is up, and try again",
        )

    def _behind(self, ends: Mapping[Position, int]) -> list[str]:
        """Name the partitions whose end is not reached."""
        return [
            f"{place.topic}-{place.partition}"
            for place in self._places
            if self._consumer.position(place) < ends[place.topic, place.partition]
        ]

    def _partitions(self, topic: str, broker: Broker) -> list[int]:
        try:
            partitions = self._consumer.partitions_for_topic(topic)
        except AuthorizationError as cause:
            self.close()
            raise denied(broker, cause) from None
        if not partitions:
            self.close()
            raise no_topic(broker, topic)
        return sorted(partitions)


def _open_sockets(consumer: Any) -> list[Any]:  # noqa: ANN401 - kafka-python's
    """Return the sockets that a consumer holds.

    kafka-python 3.0 asks for the next records before it is asked to, and leaves the socket to the garbage collector
    when it is closed before that request went out (``KafkaTCPTransport.close`` leaves the closing to a writer that
    ``NetworkSelector.close`` then cancels).
    """
    transports = [connection.transport for connection in consumer._client._manager._conns.values()]  # noqa: SLF001 - see above
    return [transport._sock for transport in transports if transport is not None and transport._sock is not None]  # noqa: SLF001


def _record(record: Any) -> Record:  # noqa: ANN401 - kafka-python's
    headers = tuple((name, value or b"") for name, value in record.headers or ())
    return Record(record.topic, record.partition, record.offset, record.timestamp, record.key, record.value, headers)
