"""The relay: takes messages from the outbox and sends them at least once; every API process has one.

Labels go to the topic ``labels`` and actions on accounts to ``user-actions``, as those of ``streamflow label`` and
``streamflow account``: same contract, same key, same partitioner. They are tried without end, so an outage of Kafka
loses none. A webhook is a dead letter after ``WEBHOOK_ATTEMPTS``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from api.background import repeat
from api.cases import outbox
from api.cases.outbox import Kind, Message
from flink_jobs.contracts.topic_contracts import topic_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Message as KafkaMessage

    from api.cases.webhooks import WebhookSender
    from api.database import Database
    from flink_jobs.kafka.broker import Broker

_LOG: Final = logging.getLogger(__name__)
WEBHOOK_ATTEMPTS: Final = 10
WEBHOOKS_AT_ONCE: Final = 4
EVERY_S: Final = 0.5
SEND_LIMIT_MS: Final = 5_000


class TopicSender(Protocol):
    """What the relay needs of Kafka."""

    def send(self, messages: Sequence[Message]) -> dict[str, str | None]:
        """Send messages; return for each message ``None``, or why it was not accepted."""


def _customer(message: Message) -> str:
    return str(message.payload["customer_id"])


class KafkaTopic:
    """A topic that messages of the outbox go to: ``labels``, ``user-actions`` or ``control``."""

    def __init__(self, broker: Broker, prefix: str, suffix: str, key_of: Callable[[Message], str] = _customer) -> None:
        """Set the topic and the keys of its messages, by default customers; the first message connects."""
        self._broker, self._topic, self._key_of = broker, topic_name(prefix, suffix), key_of
        self._producer: Producer | None = None

    def send(self, messages: Sequence[Message]) -> dict[str, str | None]:
        """Send messages and wait until all replicas in sync have them; blocks up to ``SEND_LIMIT_MS`` and a second."""
        results: dict[str, str | None] = {message.outbox_id: "no answer of Kafka" for message in messages}
        try:
            producer = self._producer
            if producer is None:
                producer = self._producer = self._connected()
            for message in messages:
                producer.produce(
                    self._topic,
                    value=orjson.dumps(message.payload),
                    key=self._key_of(message).encode(),
                    on_delivery=_delivered(results, message.outbox_id),
                )
            producer.flush(SEND_LIMIT_MS / 1_000 + 1)
        except (BufferError, KafkaException) as error:
            self._producer = None
            return {name: result and str(error) for name, result in results.items()}
        return dict(results)

    def _connected(self) -> Producer:
        options: dict[str, Any] = {
            **self._broker.librdkafka(),
            "error_cb": self._note,
            "log_level": 0,
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": SEND_LIMIT_MS,
            "partitioner": "murmur2_random",  # that of all other producers
        }
        return Producer(options)

    def _note(self, error: KafkaError) -> None:
        if error.fatal():
            self._producer = None


def _delivered(results: dict[str, str | None], name: str) -> Callable[[KafkaError | None, KafkaMessage], None]:
    def note(error: KafkaError | None, _: KafkaMessage) -> None:
        results[name] = None if error is None else error.name()

    return note


class Relay:
    """Sends the messages of the outbox."""

    def __init__(
        self,
        database: Database,
        labels: TopicSender,
        webhooks: WebhookSender,
        note_round: Callable[[str], None] = lambda _: None,
        *,
        actions: TopicSender | None = None,
    ) -> None:
        """Use a database and the ways out; without ``actions``, those stay in the outbox.

        ``note_round`` gets the kind of each completed round.
        """
        self._database, self._labels, self._webhooks, self._actions = database, labels, webhooks, actions
        self._note_round = note_round

    async def run(self) -> None:
        """Send until cancelled; a slow receiver of webhooks delays no label and no action."""
        steps: list[tuple[Kind, Callable[[], Any]]] = [
            (Kind.LABEL, self.send_labels),
            (Kind.WEBHOOK, self.send_webhooks),
        ]
        if self._actions is not None:
            steps.append((Kind.ACTION, self.send_actions))
        await asyncio.gather(*(self._repeat(kind, step) for kind, step in steps))

    async def send_labels(self) -> int:
        """Send the labels that are due; return how many were taken."""
        return await self._send(Kind.LABEL, self._labels)

    async def send_actions(self) -> int:
        """Send the actions on accounts that are due; return how many were taken."""
        return 0 if self._actions is None else await self._send(Kind.ACTION, self._actions)

    async def _send(self, kind: Kind, topic: TopicSender) -> int:
        messages = await outbox.take(self._database, kind)
        if messages:
            results = await asyncio.to_thread(topic.send, messages)
            await outbox.mark_sent(self._database, [name for name, error in results.items() if error is None])
            await self._note_failures(messages, results, None)
        return len(messages)

    async def send_webhooks(self) -> int:
        """Send the webhooks that are due; return how many were taken."""
        messages = await outbox.take(self._database, Kind.WEBHOOK, WEBHOOKS_AT_ONCE)
        if messages:
            errors = await asyncio.gather(*(asyncio.to_thread(self._webhooks.send, message) for message in messages))
            results = {message.outbox_id: error for message, error in zip(messages, errors, strict=True)}
            await outbox.mark_sent(self._database, [name for name, error in results.items() if error is None])
            await self._note_failures(messages, results, WEBHOOK_ATTEMPTS)
        return len(messages)

    async def _note_failures(
        self, messages: Sequence[Message], results: dict[str, str | None], most: int | None
    ) -> None:
        failed: dict[tuple[str, int], list[str]] = defaultdict(list)
        for message in messages:
            error = results[message.outbox_id]
            if error is not None:
                failed[error, message.attempts].append(message.outbox_id)
        for (error, attempts), ids in failed.items():
            await outbox.mark_failed(self._database, ids, error, attempts, most)

    async def _repeat(self, kind: Kind, step: Callable[[], Any]) -> None:
        async def noted() -> int:
            count: int = await step()
            self._note_round(kind.value)
            return count

        await repeat(noted, EVERY_S, _LOG, "the outbox was not sent; the next round tries again")
