"""Runs one round of the relay and kills itself with SIGKILL after Kafka has the labels, before they are marked."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from api.cases.outbox import Message
from api.cases.relay import KafkaTopic, Relay
from api.cases.webhooks import WebhookSender
from api.database import Database
from api.settings import ApiSettings
from flink_jobs.settings import load_settings


class DyingTopic(KafkaTopic):
    """Sends, then dies."""

    def send(self, messages: Sequence[Message]) -> dict[str, str | None]:
        """Send the labels and die if Kafka has accepted all."""
        results = super().send(messages)
        if not any(results.values()):
            os.kill(os.getpid(), signal.SIGKILL)
        return results


async def main() -> None:
    """Send the labels that are due."""
    settings = load_settings()
    database = Database(settings.postgres_dsn_as("api"), ApiSettings())
    await database.open()
    topic = DyingTopic(settings.broker("api"), settings.topic_prefix, "labels")
    await Relay(database, topic, WebhookSender()).send_labels()


if __name__ == "__main__":
    asyncio.run(main())
