"""Rates by the broker's clock and CPU seconds by the kernel's: the two measures for every engine."""

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
"""The first tenth of the outputs is not timed: it contains start-up and most of the JVM's compilation."""
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_USER_TIME, _SYSTEM_TIME, _RSS_PAGES = 11, 12, 21  # positions in /proc/<pid>/stat after the command name
_STOLEN = 8  # position in the first line of /proc/stat, its name included


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """CPU time so far and memory now, summed over some processes, and the machine's steal time so far."""

    at_ms: float
    cpu_s: float
    rss_bytes: int
    stolen_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Rate:
    """Throughput of an engine in the timed part of a run.

    ``events_per_s`` is by wall time. ``events_per_cpu_s`` is by the CPU time of the engine's processes (all threads,
    garbage collection and compilation included, the broker excluded), so it is the throughput of one full core.
    ``stolen_seconds`` is the steal time of all cores together.
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
        """Average number of cores that the hypervisor gave to other machines."""
        return self.stolen_seconds / self.seconds


def stolen_seconds() -> float:
    """Return the kernel's steal time since boot, in seconds: cores had work but the hypervisor did not run them.

    See proc_stat(5). If it grows during a run, other machines on the host slowed the run. A physical machine has 0.
    """
    return int(Path("/proc/stat").read_text().partition("\n")[0].split()[_STOLEN]) / _TICKS_PER_S


def read_process(pids: Sequence[int]) -> ProcessSample:
    """Return CPU time and memory of the processes now; a process that has ended counts as 0."""
    ticks = pages = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            # The command name is in parentheses and may itself hold spaces and parentheses.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])
            pages += int(fields[_RSS_PAGES])
    return ProcessSample(time.time() * 1000, ticks / _TICKS_PER_S, pages * _PAGE_BYTES, stolen_seconds())


class ProcessMeter:
    """Samples processes in the background during a ``with`` block."""

    def __init__(self, pids: Sequence[int], interval_s: float = 0.1) -> None:
        """Set the processes to sample and the interval between samples."""
        self._pids = pids
        self._interval_s = interval_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[ProcessSample] = []

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
            if sample.cpu_s >= self.samples[-1].cpu_s:  # the CPU time of a process disappears when it ends
                self.samples.append(sample)

    def at(self, at_ms: float) -> tuple[float, float]:
        """Return CPU seconds and steal seconds up to a time in ms, interpolated between two samples."""
        times = [sample.at_ms for sample in self.samples]
        used, stolen = [sample.cpu_s for sample in self.samples], [sample.stolen_s for sample in self.samples]
        return float(np.interp(at_ms, times, used)), float(np.interp(at_ms, times, stolen))


def steady_rate(appended_ms: Sequence[int], meter: ProcessMeter) -> Rate:
    """Return the rate from the end of the warm-up to the last output.

    Args:
        appended_ms: append time of each output by the broker's clock, in ms since the epoch, in any order.
        meter: a meter that covered the whole run.

    Raises:
        ValueError: fewer than ten outputs.
    """
    if len(appended_ms) < 1 / WARM_UP_SHARE:
        raise ValueError(f"{len(appended_ms)} outputs are too few to measure a rate")
    times = sorted(appended_ms)
    first = int(len(times) * WARM_UP_SHARE)
    # All records of one appended batch have the same time, so the batch that ends the warm-up is not counted.
    start = times[first]
    events = len(times) - bisect_right(times, start)
    end = times[-1]
    seconds = max(end - start, 1) / 1000
    (cpu_before, stolen_before), (cpu_after, stolen_after) = meter.at(start), meter.at(end)
    return Rate(events, seconds, max(cpu_after - cpu_before, 0.01), stolen_after - stolen_before)
