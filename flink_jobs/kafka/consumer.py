"""Read the committed records of topics up to their present end: for ledgers, dead letters and audits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.errors import denied, no_topic, unreachable, wrong_password

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from confluent_kafka import Message

T = TypeVar("T")
Position = tuple[str, int]  # (topic, partition)
CONNECT_LIMIT_S = 10.0
STALL_LIMIT_S = 60.0
ATTEMPT_S = 1.0
"""Longest time in one call of the client, in which Ctrl-C has no effect."""
POLL_S = 0.02
BATCH = 5_000
_EARLIEST: Final = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: Final = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_OPTIONS: Final = {
    # librdkafka needs the name of a group; this reader joins no group and commits nothing.
    "group.id": "streamflow-no-group",
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 20,  # a new start offset takes effect after the fetch under way
    "fetch.max.bytes": 16 * 1_048_576,
    "max.partition.fetch.bytes": 4 * 1_048_576,
    "queued.max.messages.kbytes": 16 * 1_024,
    "fetch.queue.backoff.ms": 10,  # by default a full queue stops fetching for a second
}
_DENIED: Final = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED}
# About the group that this reader does not join.
_ABOUT_THE_GROUP: Final = {KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.COORDINATOR_NOT_AVAILABLE}


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
    """Reads topics with ``isolation.level=read_committed``, without a consumer group, and keeps its own offsets.

    Each ``read_to_end`` continues where the previous one ended, so a caller can follow topics by calling it again.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        start: Mapping[Position, int] | None = None,
        *,
        only: Container[Position] | None = None,
    ) -> None:
        """Connect, and set the offset that reading starts from in each partition.

        Args:
            broker: the cluster and the account.
            topics: full names.
            start: first offset of each partition; a partition that is not named is read from its beginning.
            only: partitions to read; default: all.

        Raises:
            UserError: no broker answers, or a topic does not exist.
        """
        self._broker = broker
        self._problem: KafkaError | None = None
        self._assigned = False
        self._connection = {**broker.librdkafka(), "error_cb": self._note, "log_level": 0}
        try:
            # Questions have a connection of their own: on the consumer's they would wait behind its fetches.
            self._admin = AdminClient(self._connection)
            self._consumer = Consumer({**self._connection, **_OPTIONS})
        except KafkaException as cause:
            raise unreachable(broker, str(cause.args[0])) from None
        try:
            places = self._partitions(topics)
        except UserError:
            self.close()
            raise
        self._starts: dict[Position, int] = {
            place: (start or {}).get(place, OFFSET_BEGINNING) for place in places if only is None or place in only
        }

    def __enter__(self) -> Self:
        """Return the reader."""
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()

    def end_offsets(self) -> dict[Position, int]:
        """Return, per partition, the offset after the last committed record.

        Raises:
            UserError: the broker does not answer.
        """
        return {place: end for place, (_, end) in self._bounds(self._starts).items()}

    def seek_to_end(self) -> None:
        """Skip all records that are committed now."""
        self._starts = self.end_offsets()
        self._assigned = False

    def read_to_end(self) -> Iterator[Record]:
        """Yield the records that were committed before the call and not read yet, in order within each partition.

        Raises:
            UserError: the account may not read, or the broker stopped answering before the end was reached.
        """
        bounds = self._bounds(self._starts)
        if not self._assigned:
            self._consumer.assign([TopicPartition(*place, offset) for place, offset in self._starts.items()])
            self._assigned = True
        last_progress = time.monotonic()
        while behind := self._behind(bounds):
            records = self._poll(BATCH)
            if records:
                last_progress = time.monotonic()
            elif time.monotonic() - last_progress > STALL_LIMIT_S:
                raise self._stalled(f"before the end of {', '.join(f'{name}-{number}' for name, number in behind)}")
            yield from records

    def read_at(self, topic: str, partition: int, offset: int) -> Record | None:
        """Return one record, ``None`` if the topic no longer holds it. The next ``read_to_end`` starts over.

        Raises:
            UserError: the account may not read, or the broker stopped answering.
        """
        place = (topic, partition)
        first, end = self._bounds([place])[place]
        if not first <= offset < end:
            return None
        self._assigned = False
        self._consumer.assign([TopicPartition(topic, partition, offset)])
        limit = time.monotonic() + STALL_LIMIT_S
        while time.monotonic() < limit:
            for record in self._poll(1):
                return record if record.offset == offset else None
            if self._reached([place])[place] > offset:
                return None  # the end of a transaction, or a record of an aborted one
        raise self._stalled(f"from {topic}-{partition}")

    # ---- the client

    def _poll(self, most: int) -> list[Record]:
        """Return up to ``most`` records that have arrived; wait up to ``POLL_S`` for the first."""
        message = self._consumer.poll(POLL_S)
        if message is None:
            return []
        # `consume` alone would wait until the batch is full.
        messages = [message, *(self._consumer.consume(most - 1, 0) if most > 1 else ())]
        return [_record(item) for item in messages if self._is_record(item)]

    def _is_record(self, message: Message) -> bool:
        """Return whether it is a record; otherwise it is an error, which is noted.

        Raises:
            UserError: the account may not read.
        """
        error = message.error()
        if error is None:
            return True
        if error.code() in _DENIED:
            raise denied(self._broker, error.name())
        self._note(error)
        return False

    def _behind(self, bounds: Mapping[Position, tuple[int, int]]) -> list[Position]:
        """Return the partitions whose end is not reached."""
        reached = self._reached(bounds)
        return [
            place for place, (first, end) in bounds.items() if max(reached[place], self._starts[place], first) < end
        ]

    def _reached(self, places: Iterable[Position]) -> dict[Position, int]:
        """Return the offset after the last one read, ends of transactions included; negative before the first."""
        positions = self._consumer.position([TopicPartition(*place) for place in places])
        return {(item.topic, item.partition): item.offset for item in positions}

    def _bounds(self, places: Iterable[Position]) -> dict[Position, tuple[int, int]]:
        """Return the first offset and the offset after the last committed record of each partition."""
        partitions = [TopicPartition(*place) for place in places]
        first = self._ask(partial(self._offsets, partitions, _EARLIEST), STALL_LIMIT_S)
        ends = self._ask(partial(self._offsets, partitions, _LATEST), STALL_LIMIT_S)
        return {place: (first[place], ends[place]) for place in ends}

    def _offsets(self, partitions: list[TopicPartition], which: OffsetSpec) -> dict[Position, int]:
        futures = self._admin.list_offsets(
            dict.fromkeys(partitions, which), isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ATTEMPT_S
        )
        try:
            return {(item.topic, item.partition): future.result().offset for item, future in futures.items()}
        except KafkaException:
            # After a restart of the broker the old client keeps asking with the leader epoch from before it.
            self._admin = AdminClient(self._connection)
            raise

    def _partitions(self, topics: Sequence[str]) -> list[Position]:
        known = self._ask(partial(self._admin.list_topics, timeout=ATTEMPT_S), CONNECT_LIMIT_S).topics
        for topic in topics:
            if topic not in known or not known[topic].partitions:
                raise no_topic(self._broker, topic)
        return [(topic, number) for topic in topics for number in sorted(known[topic].partitions)]

    def _ask(self, call: Callable[[], T | None], limit_s: float) -> T:
        """Return the answer of the broker to one call, tried again until ``limit_s`` seconds have passed.

        Raises:
            UserError: the broker does not answer, or the account may not ask.
        """
        limit = time.monotonic() + limit_s
        while True:
            try:
                if (answer := call()) is not None:
                    return answer
            except KafkaException as cause:
                error: KafkaError = cause.args[0]
                if error.code() in _DENIED:
                    raise denied(self._broker, error.name()) from None
                self._note(error)
            self._admin.poll(0)  # the client reports a wrong password only here
            if time.monotonic() > limit:
                raise self._unreachable()

    def _note(self, error: KafkaError) -> None:
        """Keep the cause for the message that a time limit ends with; a wrong password explains all others."""
        known = self._problem is not None and self._problem.code() == KafkaError._AUTHENTICATION  # noqa: SLF001 - its public name
        if not known and error.code() not in _ABOUT_THE_GROUP:
            self._problem = error

    def _unreachable(self) -> UserError:
        problem = self._problem
        if problem is not None and problem.code() == KafkaError._AUTHENTICATION:  # noqa: SLF001 - its public name
            return wrong_password(self._broker)
        return unreachable(self._broker, "no answer" if problem is None else problem.name())

    def _stalled(self, where: str) -> UserError:
        cause = f" ({self._problem.str()})" if self._problem is not None else ""
        return UserError(
            f"no data came from Kafka for {STALL_LIMIT_S:g} s, {where}{cause}",
            "check with `streamflow status` that the broker is up, and try again",
        )


def _record(message: Message) -> Record:
    found: Any = message  # its topic, partition and offset are set: it is no error
    headers = tuple((name, value or b"") for name, value in found.headers() or ())
    return Record(
        found.topic(), found.partition(), found.offset(), found.timestamp()[1], found.key(), found.value(), headers
    )
