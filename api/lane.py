"""Sends transactions to Kafka and waits for the job's replies; see ``flink_jobs/contracts/topics/replies.yaml``.

Each process reads one partition of the replies topic, from its end, and names it in the headers of every transaction.
Two processes may read the same partition: each ignores request ids that are not its own.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.replies import REPLY_PARTITION, REPLY_TO, REQUEST_ID
from flink_jobs.logs import TRACE
from flink_jobs.tracing.context import HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Message

    from flink_jobs.core.reply_document import ReplyDocument
    from flink_jobs.kafka.broker import Broker

_ATTEMPT_S: Final = 1.0
_BATCH: Final = 500
_POLL_S: Final = 0.1


class LostError(Exception):
    """Kafka did not acknowledge a transaction: it may be stored or not."""


class SendSpans(Protocol):
    """The spans of one transaction of a sampled trace."""

    traceparent: str

    def acknowledged(self, error: str | None) -> None:
        """End the span of the producer."""

    def replied(self, topic: str) -> None:
        """Make the span of the wait for the reply."""


class SendTracer(Protocol):
    """Makes these spans."""

    def sending(self, topic: str) -> SendSpans | None:
        """Start the spans of a transaction; ``None`` if its trace is not sampled."""


@dataclass(slots=True)
class Pending:
    """One transaction on its way."""

    acknowledged: asyncio.Future[None]
    """Done when every replica in sync has the record; fails with ``LostError``."""
    reply: asyncio.Future[ReplyDocument]
    sent_at: float = field(default_factory=time.monotonic)
    spans: SendSpans | None = None


class Sender(Protocol):
    """What the decisions need of Kafka."""

    def send(self, payload: bytes, customer_id: str, request_id: str) -> Pending:
        """Send a transaction and return what to wait for."""

    def forget(self, request_id: str) -> None:
        """Stop waiting for a reply."""


class Lane:
    """The producer of transactions and the reader of replies; both use threads of their own."""

    def __init__(
        self,
        broker: Broker,
        prefix: str,
        acknowledge_ms: int,
        partition: int | None = None,
        tracer: SendTracer | None = None,
    ) -> None:
        """Set the topics; nothing connects before ``start``.

        Args:
            broker: the cluster and the account.
            prefix: of the topics.
            acknowledge_ms: longest time until a transaction is acknowledged.
            partition: the partition of the replies to read; ``None`` for a random one.
            tracer: makes spans of sampled traces; ``None``: no spans.
        """
        self._connection = {**broker.librdkafka(), "error_cb": self._note, "log_level": 0}
        self._transactions, self._replies = topic_name(prefix, "transactions"), topic_name(prefix, "replies")
        self._acknowledge_ms = acknowledge_ms
        self._wanted = partition
        self._tracer = tracer
        self._partition: int | None = None
        self._waiting: dict[str, Pending] = {}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._producer: Producer | None = None
        self._delivered_now: list[tuple[asyncio.Future[None], KafkaError | None]] = []

    @property
    def is_ready(self) -> bool:
        """Whether replies are read."""
        return self._partition is not None

    def start(self) -> None:
        """Start both threads; call it in the event loop that waits for the answers."""
        self._loop = asyncio.get_running_loop()
        self._producer = self._connected()
        for target in (self._serve_deliveries, self._read_replies):
            thread = threading.Thread(target=target, name=target.__name__, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop both threads; transactions that are not acknowledged get half a second."""
        self._stop.set()
        for thread in self._threads:
            thread.join(2 * _ATTEMPT_S)
        if self._producer is not None:
            self._producer.flush(0.5)

    def send(self, payload: bytes, customer_id: str, request_id: str) -> Pending:
        """Send a transaction and return what to wait for. A retry with the same request id takes over the wait."""
        pending = Pending(self._loop.create_future(), self._loop.create_future())
        self._waiting[request_id] = pending
        headers: list[tuple[str, str | bytes | None]] = [
            (REPLY_TO, self._replies.encode()),
            (REQUEST_ID, request_id.encode()),
        ]
        if self._partition is not None:
            headers.append((REPLY_PARTITION, str(self._partition).encode()))
        if self._tracer is not None:
            pending.spans = self._tracer.sending(self._transactions)
        if trace := TRACE.get() if pending.spans is None else pending.spans.traceparent:
            headers.append((HEADER, trace.encode()))
        try:
            producer = self._producer
            if producer is None:
                producer = self._producer = self._connected()
            producer.produce(
                self._transactions,
                value=payload,
                key=customer_id.encode(),
                headers=headers,
                on_delivery=self._delivered(pending),
            )
        except (BufferError, KafkaException) as error:
            pending.acknowledged.set_exception(LostError(str(error)))
            if pending.spans is not None:
                pending.spans.acknowledged(type(error).__name__)
        return pending

    def forget(self, request_id: str) -> None:
        """Stop waiting for a reply."""
        pending = self._waiting.pop(request_id, None)
        if pending is not None and pending.acknowledged.done():
            pending.acknowledged.exception()  # retrieved: else asyncio reports it
        elif pending is not None:
            pending.acknowledged.cancel()

    # ---- the producer

    def _connected(self) -> Producer:
        return Producer(
            {
                **self._connection,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 1,
                "delivery.timeout.ms": self._acknowledge_ms,
                # The partition of a customer must be that of all other producers, which use Kafka's own partitioner.
                "partitioner": "murmur2_random",
            }
        )

    def _delivered(self, pending: Pending) -> Callable[[KafkaError | None, Message], None]:
        def note(error: KafkaError | None, _: Message) -> None:
            if pending.spans is not None:
                pending.spans.acknowledged(None if error is None else error.name())
            self._delivered_now.append((pending.acknowledged, error))

        return note

    def _serve_deliveries(self) -> None:
        while not self._stop.is_set():
            producer = self._producer
            if producer is None:
                self._stop.wait(_POLL_S)
            else:
                producer.poll(_POLL_S)
                self._pass_on_deliveries()

    def _pass_on_deliveries(self) -> None:
        """Wake the event loop once for all deliveries that the last poll reported."""
        if self._delivered_now:
            delivered, self._delivered_now = self._delivered_now, []
            self._loop.call_soon_threadsafe(_settle_all, delivered)

    def _note(self, error: KafkaError) -> None:
        """Replace a producer that can never send again."""
        if error.fatal():
            self._producer = None

    # ---- the reader

    def _read_replies(self) -> None:
        consumer = Consumer(
            {
                **self._connection,
                "group.id": "streamflow-no-group",
                "enable.auto.commit": False,
                "auto.offset.reset": "latest",
                "isolation.level": "read_uncommitted",
                "fetch.wait.max.ms": 100,
            }
        )
        try:
            while not self._stop.is_set() and not self._assign(consumer):
                self._stop.wait(_ATTEMPT_S)
            while not self._stop.is_set():
                first = consumer.poll(_POLL_S)
                if first is not None:
                    messages = [first, *consumer.consume(_BATCH, 0)]
                    values = [item.value() for item in messages if item.error() is None]
                    self._loop.call_soon_threadsafe(self._arrived, values)
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> bool:
        """Read from the end of the partition; return False while Kafka does not answer or the topic is missing."""
        try:
            known = consumer.list_topics(self._replies, timeout=_ATTEMPT_S).topics[self._replies].partitions
            if not known:
                return False
            wanted = self._wanted
            partition = wanted if wanted is not None and wanted in known else secrets.choice(sorted(known))
            place = TopicPartition(self._replies, partition)
            # A number, not "the end": the end would be looked up at the first fetch, after the first replies.
            _, end = consumer.get_watermark_offsets(place, timeout=_ATTEMPT_S)
        except (KafkaException, TypeError):  # a time limit returns None instead of the two offsets
            return False
        consumer.assign([TopicPartition(self._replies, partition, end)])
        self._partition = partition
        return True

    def _arrived(self, values: list[Any]) -> None:
        for value in values:
            document: ReplyDocument = orjson.loads(value or b"{}")
            pending = self._waiting.get(document.get("request_id", ""))
            if pending is not None and not pending.reply.done():
                pending.reply.set_result(document)
                if pending.spans is not None:
                    pending.spans.replied(self._replies)


def _settle_all(delivered: list[tuple[asyncio.Future[None], KafkaError | None]]) -> None:
    for acknowledged, error in delivered:
        if acknowledged.done():
            continue
        if error is None:
            acknowledged.set_result(None)
        else:
            acknowledged.set_exception(LostError(error.name()))
