"""Rates and percentiles of what passes by. Pure: the clock is the caller's."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW_S = 5.0
"""Outcomes come in one burst per checkpoint: a shorter window would show the bursts, not the rate."""


class RateMeter:
    """Events per second over the last ``window_s`` seconds, from running totals."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        """Start without samples."""
        self._window_s = window_s
        self._samples: deque[tuple[float, int]] = deque()

    def update(self, now_s: float, total: int) -> float:
        """Enter the total so far and return the rate, per second; 0 until two moments are known."""
        samples = self._samples
        samples.append((now_s, total))
        # The oldest sample kept is the last one outside the window, so that the rate always spans all of it.
        while len(samples) > 2 and samples[1][0] <= now_s - self._window_s:  # noqa: PLR2004 - an interval has two ends
            samples.popleft()
        (first_s, first), (last_s, last) = samples[0], samples[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Median and 99th percentile in milliseconds; None when nothing was measured."""

    p50_ms: float | None = None
    p99_ms: float | None = None
    count: int = 0

    def text(self) -> str:
        """Return both in words."""
        if self.p50_ms is None or self.p99_ms is None:
            return "-"
        return f"p50 {self.p50_ms:,.0f} ms, p99 {self.p99_ms:,.0f} ms"


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of values in ascending order.

    Args:
        ordered: at least one value.
        share: 0 to 1.
    """
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def percentiles(values: Sequence[float]) -> Percentiles:
    """Return the percentiles of values in any order."""
    if not values:
        return Percentiles()
    ordered = sorted(values)
    return Percentiles(percentile(ordered, 0.5), percentile(ordered, 0.99), len(ordered))


class LatencyLog:
    """Every latency of a run with the moment it was seen: 16 bytes and two objects each."""

    def __init__(self) -> None:
        """Start empty."""
        self._seen_s: list[float] = []
        self._values: list[float] = []

    def add(self, now_s: float, latency_ms: float) -> None:
        """Enter one; moments must not go back."""
        self._seen_s.append(now_s)
        self._values.append(latency_ms)

    def recent(self, now_s: float, window_s: float = WINDOW_S) -> Percentiles:
        """Return the percentiles of the last ``window_s`` seconds, or of all when nothing came since."""
        start = bisect_left(self._seen_s, now_s - window_s)
        return percentiles(self._values[start:] or self._values)

    def all(self) -> Percentiles:
        """Return the percentiles of the whole run."""
        return percentiles(self._values)

    def second_half(self) -> Percentiles:
        """Return the percentiles of the later half of the values: what a job does once its JVM is warm."""
        return percentiles(self._values[len(self._values) // 2 :])
