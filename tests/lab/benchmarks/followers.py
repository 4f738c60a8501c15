"""Consumer processes that note when each message of a topic arrives."""

from __future__ import annotations

import multiprocessing
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import orjson

from flink_jobs.errors import UserError
from tests.lab.topic_consumer import open_consumer

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from flink_jobs.kafka.broker import Broker


def follow(broker: Broker, topic: str, isolation: str, events: int | None, answer: Connection) -> None:
    """Consume a topic until ``events`` messages have arrived or the other end sends something.

    Runs in a separate process. Answers "ready" first, then a list of transaction ids with their receive times in ms.
    """
    consumer = open_consumer(broker.client(), topic, isolation, fetch_max_wait_ms=10)
    answer.send("ready")
    received: list[tuple[str, float]] = []
    while (events is None or len(received) < events) and not answer.poll():
        for records in consumer.poll(timeout_ms=50).values():
            now_ms = time.time() * 1000
            received += [(orjson.loads(record.value)["transaction_id"], now_ms) for record in records]
    answer.send(received)
    consumer.close()


class Follower:
    """A process that follows one topic.

    Decisions and alerts have one each: a checkpoint makes thousands of decisions readable at once, and a consumer of
    both topics would read an alert behind them.
    """

    def __init__(self, broker: Broker, topic: str, isolation: str, events: int | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=follow, args=(broker, topic, isolation, events, theirs))
        self._process.start()
        theirs.close()  # then `recv` below raises EOFError if the process has died

    def wait(self, limit_s: float) -> bool:
        """Wait for an answer; return whether there is one."""
        return self._ours.poll(limit_s)

    def answer(self) -> Any:  # noqa: ANN401 - what the other process sent
        """Return the next answer.

        Raises:
            UserError: the process ended without one.
        """
        try:
            return self._ours.recv()
        except EOFError:
            raise UserError("a consumer of decisions or alerts ended early", "see its error above") from None

    def stop(self) -> None:
        """Ask for what was received so far."""
        with suppress(BrokenPipeError):
            self._ours.send("stop")

    def kill(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
