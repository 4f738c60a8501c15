"""The pace of a demo without ``--rate``: as many records per second as the job handles without a growing backlog."""

from __future__ import annotations

from collections import deque
from typing import Final

from flink_jobs.demo.plan import RATE

FIRST_RATE: Final = 200.0
LOWEST_RATE: Final = 100.0
KEEPS_UP_S: Final = 2.5
"""The backlog of a job that keeps up, in seconds of work: outcomes are readable after a checkpoint each second."""
FALLS_BEHIND_S: Final = 4.0
FASTER: Final = 1.5
SLIGHTLY_FASTER: Final = 1.1
"""After a job fell behind: a checkpoint that took long can look like a slow machine."""
SHARE: Final = 0.6
"""Share of the measured throughput at which the backlog becomes shorter."""
WINDOW: Final = 5
"""Number of measurements over which the throughput is measured."""


class SteadyPace:
    """Raises the rate while the outcomes keep up with the records sent; when they fall behind, uses their throughput.

    A fixed rate above the throughput of the machine fills Kafka, and every alert then waits for the backlog.
    """

    def __init__(self, highest: float = RATE) -> None:
        """Start slowly; ``highest`` is the limit of the rate in records per second."""
        self.rate = min(FIRST_RATE, highest)
        self._highest = highest
        self._fell_behind = False
        self._due_s = 0.0
        self._measured: deque[tuple[float, int]] = deque(maxlen=WINDOW + 1)

    def due_s(self, index: int, event_ms: int) -> float:  # noqa: ARG002 - the signature of every pace
        """Return when the next record is due, in seconds after the first."""
        due_s = self._due_s
        self._due_s += 1 / self.rate
        return due_s

    def adjust(self, now_s: float, sent: int, outcomes: int) -> None:
        """Set the rate; to be called about once a second.

        Args:
            now_s: monotonic seconds.
            sent: number of records that the broker has.
            outcomes: number of these whose outcome is readable. Before the first one, the rate stays.
        """
        self._measured.append((now_s, outcomes))
        if not outcomes:
            return
        backlog_s = (sent - outcomes) / max(1.0, self._throughput())
        if backlog_s > FALLS_BEHIND_S:
            self._fell_behind = True
            self.rate = min(self.rate, max(LOWEST_RATE, SHARE * self._throughput()))
        elif backlog_s < KEEPS_UP_S:
            self.rate = min(self._highest, self.rate * (SLIGHTLY_FASTER if self._fell_behind else FASTER))

    def _throughput(self) -> float:
        """Return the outcomes per second of the last measurements."""
        (since_s, before), (now_s, outcomes) = self._measured[0], self._measured[-1]
        return (outcomes - before) / max(now_s - since_s, 1.0)
