"""Rates and latency percentiles. Pure: the caller passes the time."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WINDOW_S = 5.0
"""Outcomes arrive in one burst per checkpoint; a shorter window would show bursts instead of the rate."""


class RateMeter:
    """Events per second over the last ``window_s`` seconds, from running totals."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        """Start without samples."""
        self._window_s = window_s
        self._samples: deque[tuple[float, int]] = deque()

    def update(self, now_s: float, total: int) -> float:
        """Enter the current total and return the rate per second; 0 until there are two samples."""
        samples = self._samples
        samples.append((now_s, total))
        # The oldest sample that is kept is the last one before the window, so that the rate covers the whole window.
        while len(samples) > 2 and samples[1][0] <= now_s - self._window_s:  # noqa: PLR2004 - an interval has two ends
            samples.popleft()
        (first_s, first), (last_s, last) = samples[0], samples[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Median and 99th percentile in milliseconds; ``None`` without a measurement."""

    p50_ms: float | None = None
    p99_ms: float | None = None
    count: int = 0

    def text(self) -> str:
        """Return both as text; ``-`` without a measurement."""
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
    """All latencies of a run with the time of each; a latency takes 16 bytes and two objects."""

    def __init__(self) -> None:
        """Start empty."""
        self._seen_s: list[float] = []
        self._values: list[float] = []

    def add(self, now_s: float, latency_ms: float) -> None:
        """Enter one latency; ``now_s`` must not decrease."""
        self._seen_s.append(now_s)
        self._values.append(latency_ms)

    def recent(self, now_s: float, window_s: float = WINDOW_S) -> Percentiles:
        """Return the percentiles of the last ``window_s`` seconds; of the whole run if these have no latency."""
        start = bisect_left(self._seen_s, now_s - window_s)
        return percentiles(self._values[start:] or self._values)

    def all(self) -> Percentiles:
        """Return the percentiles of the whole run."""
        return percentiles(self._values)

    def second_half(self) -> Percentiles:
        """Return the percentiles of the second half of the values, which excludes JVM warm-up."""
        return percentiles(self._values[len(self._values) // 2 :])
