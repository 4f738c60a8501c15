"""Write records to Kafka, each exactly once, and report the partition and offset of each."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from kafka import KafkaProducer
from kafka.errors import AuthorizationError, KafkaError

from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.errors import connection_error, denied, no_topic
from flink_jobs.kafka.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    OnDelivered = Callable[[Outgoing, int, int], None]

MAX_IN_FLIGHT = 50_000
"""Largest number of unacknowledged records; kafka-python itself buffers without a limit if the broker is slow."""
DELIVERY_LIMIT_S = 60.0
HURRIED_LIMIT_S = 5.0
CONNECT_LIMIT_S = 10.0
LARGEST_REQUEST_BYTES = 1_048_576


def connect(broker: Broker) -> KafkaProducer:
    """Return an idempotent producer (acks=all).

    lz4 doubles kafka-python's throughput: its checksum is pure Python and runs over the compressed batch.

    Raises:
        UserError: no broker answers.
    """
    try:
        return KafkaProducer(
            **broker.client(),
            acks="all",
            enable_idempotence=True,
            linger_ms=10,
            batch_size=262_144,
            compression_type="lz4",
            max_request_size=LARGEST_REQUEST_BYTES,
            delivery_timeout_ms=int(DELIVERY_LIMIT_S * 1_000),
            max_block_ms=int(CONNECT_LIMIT_S * 1_000),
            bootstrap_timeout_ms=int(CONNECT_LIMIT_S * 1_000),
            allow_auto_create_topics=False,
        )
    except (KafkaError, ValueError) as cause:
        raise connection_error(broker, cause) from None


class RecordProducer:
    """Sends `Outgoing` records and reports each delivery, in the order of sending, on the caller's thread."""

    def __init__(self, broker: Broker, topic: str, on_delivered: OnDelivered) -> None:
        """Connect and check the topic.

        Args:
            broker: the cluster and the account.
            topic: full name of the topic.
            on_delivered: called with the record, its partition and its offset once the broker has it.

        Raises:
            UserError: no broker answers, or the topic does not exist.
        """
        self._topic = topic
        self._on_delivered = on_delivered
        self._pending: deque[tuple[Outgoing, Any]] = deque()
        self._producer = connect(broker)
        try:
            partitions = self._producer.partitions_for(topic)
        except AuthorizationError as cause:
            self._producer.close(timeout=0)
            raise denied(broker, type(cause).__name__) from None
        except KafkaError:
            partitions = None
        if not partitions:
            self._producer.close(timeout=0)
            raise no_topic(broker, topic)

    def __enter__(self) -> Self:
        """Return the producer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Wait for all deliveries and close; after an error or Ctrl-C, wait for at most ``HURRIED_LIMIT_S`` seconds."""
        try:
            if kind is None:
                self.flush()
            else:
                with suppress(KafkaError):
                    self._producer.flush(timeout=HURRIED_LIMIT_S)
                with suppress(UserError):
                    self.settle()
        finally:
            self._producer.close(timeout=1)

    def send(self, record: Outgoing) -> None:
        """Send one record with the wall time as its timestamp; blocks while too many are not acknowledged."""
        try:
            future = self._producer.send(self._topic, value=record.value, key=record.key)
        except KafkaError as cause:
            raise self._refused(cause) from None
        self._pending.append((record, future))
        if len(self._pending) > MAX_IN_FLIGHT:
            self._settle_oldest()
        else:
            self.settle()

    def settle(self) -> None:
        """Report the acknowledged deliveries, oldest first, without blocking."""
        pending = self._pending
        while pending and pending[0][1].is_done:
            self._settle_oldest()

    def flush(self) -> None:
        """Wait until every record is delivered and reported."""
        while self._pending:
            self._settle_oldest()

    def _settle_oldest(self) -> None:
        record, future = self._pending[0]
        try:
            landed = future.get(timeout=DELIVERY_LIMIT_S)
        except KafkaError as cause:
            raise self._refused(cause) from None
        self._pending.popleft()
        self._on_delivered(record, landed.partition, landed.offset)

    def _refused(self, cause: KafkaError) -> UserError:
        what = f"Kafka did not accept a record for {self._topic} ({type(cause).__name__}: {cause})"
        return UserError(
            what, "check with `streamflow status` that the broker is up; all earlier records are delivered"
        )
