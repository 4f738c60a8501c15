"""Counts hits in moving windows in the memory of this process.

The memory storage of ``limits`` starts a thread at every hit and makes the next hit of the same key wait for it. The
calls of one payment gateway share one key, so they would wait for each other.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from limits import RateLimitItem

MOST_WINDOWS: Final = 10_000
"""With more windows than this, those without a hit in their time are removed."""


class _Window(NamedTuple):
    length_s: float
    hits: deque[float]


class MovingWindows:
    """The hits of each name in the time of its rate."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start without hits; ``clock`` returns seconds."""
        self._clock = clock
        self._windows: dict[str, _Window] = {}
        self._clean_from = MOST_WINDOWS

    def hit(self, rate: RateLimitItem, *name: str) -> bool:
        """Count a hit and return True; return False for one above the rate, which does not count."""
        now = self._clock()
        hits = self._hits(rate, name, now)
        if len(hits) >= rate.amount:
            return False
        hits.append(now)
        return True

    def test(self, rate: RateLimitItem, *name: str) -> bool:
        """Return whether a further hit would be within the rate."""
        return len(self._hits(rate, name, self._clock())) < rate.amount

    def _hits(self, rate: RateLimitItem, name: tuple[str, ...], now: float) -> deque[float]:
        key = rate.key_for(*name)
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= self._clean_from:
                self._clean(now)
            window = self._windows[key] = _Window(rate.get_expiry(), deque())
        hits = window.hits
        while hits and hits[0] <= now - window.length_s:
            hits.popleft()
        return hits

    def _clean(self, now: float) -> None:
        live = {key: item for key, item in self._windows.items() if item.hits and item.hits[-1] > now - item.length_s}
        self._windows = live
        self._clean_from = max(MOST_WINDOWS, 2 * len(live))
