"""Repeat a request of the admin client while the broker is about to be able to answer it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from kafka.errors import KafkaError

T = TypeVar("T")

LIMIT_S: Final = 15.0
"""How long a retriable error is retried, in seconds."""
PAUSE_S: Final = 0.2


def retried(request: Callable[[], T], *, limit_s: float = LIMIT_S, pause_s: float = PAUSE_S) -> T:
    """Return the answer to a request; retry errors that Kafka marks as retriable.

    A broker that has just started, or has just become the coordinator of a group, first reads its offsets topic. It
    answers requests about groups with ``CoordinatorLoadInProgressError`` until then. The admin client does not retry.

    Args:
        request: one request of an admin client; must be safe to repeat.
        limit_s: time in which retriable errors are retried, in seconds.
        pause_s: pause between two requests, in seconds.

    Raises:
        KafkaError: an error that is not retriable, or a retriable one after the limit.
    """
    end = time.monotonic() + limit_s
    while True:
        try:
            return request()
        except KafkaError as error:
            if not error.retriable or time.monotonic() >= end:
                raise
        time.sleep(pause_s)
