"""Sends the control messages of approved proposals, at least once; every API process has a sender."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from api.background import repeat
from api.cases.relay import KafkaTopic
from api.rules import store

if TYPE_CHECKING:
    from api.cases.relay import TopicSender
    from api.database import Database
    from flink_jobs.kafka.broker import Broker

_LOG: Final = logging.getLogger(__name__)
EVERY_S: Final = 1.0


def control_topic(broker: Broker, prefix: str) -> KafkaTopic:
    """Return the topic ``control``; its keys are the ids of the messages, as those of ``streamflow control``."""
    return KafkaTopic(broker, prefix, "control", lambda message: message.outbox_id)


class ProposalSender:
    """Takes approved proposals and sends them."""

    def __init__(self, database: Database, control: TopicSender) -> None:
        """Use a database and the topic ``control``."""
        self._database, self._control = database, control

    async def run(self) -> None:
        """Send what is due until cancelled."""
        await repeat(self.send_next, EVERY_S, _LOG, "an approved proposal was not sent; the next round tries again")

    async def send_next(self) -> bool:
        """Send the message that is due; return whether Kafka accepted one."""
        message = await store.take(self._database)
        if message is None:
            return False
        error = (await asyncio.to_thread(self._control.send, [message]))[message.outbox_id]
        if error is None:
            await store.mark_sent(self._database, message)
            return True
        await store.mark_failed(self._database, message, error)
        return False
