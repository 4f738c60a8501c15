"""Wait for a condition with a time limit; the local stack uses no fixed sleeps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class WaitTimeoutError(TimeoutError):
    """The condition was not met within the limit."""


class CancelledError(Exception):
    """Another thread cancelled the wait."""


def wait_for(
    probe: Callable[[], T | None],
    *,
    limit_s: float,
    what: str,
    interval_s: float = 0.1,
    cancel: threading.Event | None = None,
) -> T:
    """Call ``probe`` until it returns a true value, and return that value.

    Args:
        probe: returns a true value when the condition holds; an exception from it ends the wait.
        limit_s: longest time to wait, in seconds.
        what: the condition in words, for the error message.
        interval_s: pause between two calls, in seconds.
        cancel: when set by another thread, the wait ends at once.

    Raises:
        WaitTimeoutError: the limit passed.
        CancelledError: ``cancel`` was set.
    """
    cancel = cancel or threading.Event()
    end = time.monotonic() + limit_s
    while True:
        result = probe()
        if result:
            return result
        if time.monotonic() >= end:
            message = f"waited {limit_s:g} s for {what}"
            raise WaitTimeoutError(message)
        if cancel.wait(interval_s):
            raise CancelledError(what)
