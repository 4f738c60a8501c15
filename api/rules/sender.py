"""Sends the control messages of approved proposals, at least once; every API process has a sender."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson
from confluent_kafka import KafkaException, Producer

from api.errors import ApiError
from api.rules import store
from flink_jobs.contracts.topic_contracts import topic_name

if TYPE_CHECKING:
    from confluent_kafka import KafkaError
    from confluent_kafka import Message as KafkaMessage

    from api.cases.outbox import Message
    from api.database import Database
    from flink_jobs.kafka.broker import Broker

_LOG: Final = logging.getLogger(__name__)
EVERY_S: Final = 1.0
SEND_LIMIT_MS: Final = 5_000


class Control(Protocol):
    """What the sender needs of Kafka."""

    def send(self, message: Message) -> str | None:
        """Send a control message; return ``None``, or why it was not accepted."""


class ControlTopic:
    """The topic ``control``."""

    def __init__(self, broker: Broker, prefix: str) -> None:
        """Set the topic; nothing connects before the first message."""
        self._broker, self._topic = broker, topic_name(prefix, "control")

    def send(self, message: Message) -> str | None:
        """Send a message and wait until all replicas in sync have it. Changes are rare, so no connection is kept."""
        results: list[str | None] = ["no answer of Kafka"]

        def note(error: KafkaError | None, _: KafkaMessage) -> None:
            results[0] = None if error is None else error.name()

        options: dict[str, Any] = {
            **self._broker.librdkafka(),
            "log_level": 0,
            "acks": "all",
            "enable.idempotence": True,
            "delivery.timeout.ms": SEND_LIMIT_MS,
        }
        try:
            producer = Producer(options)
            producer.produce(
                self._topic, value=orjson.dumps(message.payload), key=message.outbox_id.encode(), on_delivery=note
            )
            producer.flush(SEND_LIMIT_MS / 1_000 + 1)
        except (BufferError, KafkaException) as error:
            return str(error)
        return results[0]


class ProposalSender:
    """Takes approved proposals and sends them."""

    def __init__(self, database: Database, control: Control) -> None:
        """Use a database and a topic."""
        self._database, self._control = database, control

    async def run(self) -> None:
        """Send what is due until cancelled."""
        while True:
            was_sent = False
            try:
                was_sent = await self.send_next()
            except ApiError:
                pass  # the database does not answer
            except Exception:  # noqa: BLE001 - the loop must not end
                _LOG.exception("an approved proposal was not sent; the next round tries again")
            if not was_sent:
                await asyncio.sleep(EVERY_S)

    async def send_next(self) -> bool:
        """Send the message that is due; return whether Kafka accepted one."""
        message = await store.take(self._database)
        if message is None:
            return False
        error = await asyncio.to_thread(self._control.send, message)
        if error is None:
            await store.mark_sent(self._database, message)
            return True
        await store.mark_failed(self._database, message, error)
        return False
