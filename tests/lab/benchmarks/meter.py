"""Rates by the broker's clock, CPU seconds by the kernel's: the two things every engine is judged by."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_right
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

WARM_UP_SHARE = 0.1
"""The first tenth of the outputs is not timed: start-up, and most of the JVM's compilation."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_USER_TIME, _SYSTEM_TIME, _RSS_PAGES = 11, 12, 21  # positions in /proc/<pid>/stat after the command name
_STOLEN = 8  # position in the first line of /proc/stat, its name included


@dataclass(frozen=True, slots=True)
class Sample:
    """CPU time used so far and memory held now, summed over some processes; and what the whole machine lost so far."""

    at_ms: float
    cpu_s: float
    rss_bytes: int
    stolen_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast an engine worked in the timed part of a run.

    ``events_per_s`` is by wall time; ``events_per_cpu_s`` by the CPU time of the engine's processes (all threads,
    garbage collection and compilation too; not the broker's), so it is what one whole core would do. Stolen seconds are
    those of `stolen_seconds`, of all cores together.
    """

    events: int
    seconds: float
    cpu_seconds: float
    stolen_seconds: float = 0.0

    @property
    def events_per_s(self) -> float:
        """Events per second of wall time."""
        return self.events / self.seconds

    @property
    def events_per_cpu_s(self) -> float:
        """Events per second of CPU time."""
        return self.events / self.cpu_seconds

    @property
    def cores(self) -> float:
        """Cores in use on average."""
        return self.cpu_seconds / self.seconds

    @property
    def stolen_cores(self) -> float:
        """Cores that the hypervisor took away on average."""
        return self.stolen_seconds / self.seconds


def stolen_seconds() -> float:
    """Return how long the hypervisor let this machine's cores wait while they had work, since it started.

    The kernel's "steal time" (proc_stat(5)): a run in which it grew was slowed by other machines on the same host. 0 on
    a machine that is not virtual.
    """
    return int(Path("/proc/stat").read_text().partition("\n")[0].split()[_STOLEN]) / _TICKS_PER_S


def read_process(pids: Sequence[int]) -> Sample:
    """Return CPU time and memory of the processes now; one that has ended counts nothing."""
    ticks = pages = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            # The command name is in parentheses and may itself hold spaces and parentheses.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])
            pages += int(fields[_RSS_PAGES])
    return Sample(time.time() * 1000, ticks / _TICKS_PER_S, pages * _PAGE_BYTES, stolen_seconds())


class ProcessMeter:
    """Samples processes in the background for the length of a ``with`` block."""

    def __init__(self, pids: Sequence[int], interval_s: float = 0.1) -> None:
        """Name the processes."""
        self._pids = pids
        self._interval_s = interval_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        """Start sampling."""
        self.samples.append(read_process(self._pids))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sampling."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(self._interval_s):
            sample = read_process(self._pids)
            if sample.cpu_s >= self.samples[-1].cpu_s:  # a process that ended takes its CPU time with it
                self.samples.append(sample)

    def at(self, at_ms: float) -> tuple[float, float]:
        """Return the CPU seconds used and the seconds stolen up to a time, between two samples in proportion."""
        times = [sample.at_ms for sample in self.samples]
        used, stolen = [sample.cpu_s for sample in self.samples], [sample.stolen_s for sample in self.samples]
        return float(np.interp(at_ms, times, used)), float(np.interp(at_ms, times, stolen))


def steady_rate(appended_ms: Sequence[int], meter: ProcessMeter) -> Rate:
    """Return the rate between the output that ends the warm-up and the last one.

    Args:
        appended_ms: when the broker appended each output, by its clock, in ms since the epoch; any order.
        meter: covered the whole run.

    Raises:
        ValueError: fewer than ten outputs.
    """
    if len(appended_ms) < 1 / WARM_UP_SHARE:
        raise ValueError(f"{len(appended_ms)} outputs are too few to measure a rate")
    times = sorted(appended_ms)
    first = int(len(times) * WARM_UP_SHARE)
    # What the broker appended in one batch has one time; events of the batch that ends the warm-up are not counted.
    start = times[first]
    events = len(times) - bisect_right(times, start)
    end = times[-1]
    seconds = max(end - start, 1) / 1000
    (cpu_before, stolen_before), (cpu_after, stolen_after) = meter.at(start), meter.at(end)
    return Rate(events, seconds, max(cpu_after - cpu_before, 0.01), stolen_after - stolen_before)
