"""The series that the soak samples every few seconds, and their tolerances."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from flink_jobs.changing_folders import size_below
from tests.lab.benchmarks.meter import read_process

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.benchmarks.rig import Rig

MIB = 2**20
SoakSample = dict[str, float]


@dataclass(frozen=True, slots=True)
class SampledSeries:
    """One sampled quantity.

    Attributes:
        name: key in the sample.
        unit: unit of the values.
        tolerance: largest drift over the run that counts as flat, as a share of the median; None: no verdict.
        only_growth: True if a falling series is harmless.
    """

    name: str
    unit: str
    tolerance: float | None
    only_growth: bool = True


SERIES = (
    SampledSeries("decided_per_s", "decisions/s", 0.05, only_growth=False),
    SampledSeries("latency_p50_ms", "ms", 0.25),
    SampledSeries("latency_p99_ms", "ms", 0.25),
    SampledSeries("latency_p999_ms", "ms", 0.25),
    SampledSeries("checkpoint_ms", "ms", 0.50),
    SampledSeries("checkpoint_mib", "MiB", 0.25),
    SampledSeries("rocksdb_mib", "MiB", 0.25),
    SampledSeries("undecided", "records", None),
    SampledSeries("cores_stolen", "cores", None),
)
"""The size of a checkpoint is that of its full state. RocksDB's files include data that is not compacted yet. Stolen
cores are CPU time that the hypervisor gave to other machines; if it varies, the other series vary too."""
RSS_TOLERANCE = 0.10


def rss_series(names: Sequence[str]) -> tuple[SampledSeries, ...]:
    """Return one series of resident memory for each process."""
    return tuple(SampledSeries(f"rss_mib.{name}", "MiB", RSS_TOLERANCE) for name in names)


@dataclass
class Window:
    """Collects the answers of the reader of decisions between two samples."""

    decided: int = 0
    latencies: list[float] = field(default_factory=list)

    def take(self, count: int, latencies: Sequence[float]) -> None:
        """Add one answer of the reader."""
        self.decided = count
        self.latencies += latencies


def latency_percentiles(latencies: Sequence[float]) -> SoakSample:
    """Return p50, p99 and p999 in ms; an empty sample if there are no latencies."""
    if not latencies:
        return {}
    p50, p99, p999 = np.percentile(latencies, (50, 99, 99.9))
    return {"latency_p50_ms": float(p50), "latency_p99_ms": float(p99), "latency_p999_ms": float(p999)}


def machine_sample(rig: Rig, job_id: str) -> SoakSample:
    """Return duration (ms) and size of the latest checkpoint, size of RocksDB's files, memory of each process (MiB)."""
    sample: SoakSample = {"rocksdb_mib": size_below(rig.stack.home.flink / "tmp") / MIB}
    latest: dict[str, Any] = (rig.rest.get(f"/jobs/{job_id}/checkpoints")["latest"] or {}).get("completed") or {}
    if latest:
        details = rig.rest.get(f"/jobs/{job_id}/checkpoints/details/{latest['id']}")
        sample |= {"checkpoint_ms": latest["end_to_end_duration"], "checkpoint_mib": details["state_size"] / MIB}
    for process in rig.stack.status():
        if process.state == "running":
            sample[f"rss_mib.{process.name}"] = read_process([process.pid]).rss_bytes / MIB
    return sample
