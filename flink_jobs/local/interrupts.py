"""Handle Ctrl-C, SIGTERM and SIGHUP, so that a command stops the servers that it started."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handled(handler: Callable[[], None]) -> Iterator[None]:
    """Call ``handler`` on the main thread for each of the signals within the block.

    Shells start background programs with SIGINT ignored, so SIGINT needs a handler, too.
    """

    def on_signal(_number: int, _frame: object) -> None:
        handler()

    before: dict[signal.Signals, Any] = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def interrupt() -> None:
    """Raise ``KeyboardInterrupt`` on the main thread."""
    raise KeyboardInterrupt
