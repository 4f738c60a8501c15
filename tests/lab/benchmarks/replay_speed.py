"""Time and memory of the replay of a card file: in one process, in several, and from the feature cache.

``python -m tests.lab.benchmarks.replay_speed`` writes a file like the Handbook's (``streamflow generate``) of about a
million rows. One and several processes take turns in each round. It ends with an error if a data set differs.
"""

from __future__ import annotations

import argparse
import hashlib
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, TypeVar

from flink_jobs.cards.card_files import mapping_for, read_events
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.entity_risk import DEFAULT_DELAY_DAYS, Entity
from flink_jobs.native.loader import core_in_use
from ml.entity_risk import replayed
from ml.feature_cache import CardFile, FeatureCache, cache_key
from ml.replay_processes import replay
from ml.risk_cache import RiskCache, risk_key

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml.dataset import Dataset

MEBI: Final = 1024**2
T = TypeVar("T")


def main() -> None:
    """Measure and print seconds, CPU seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=3_850)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cards.csv.gz"
        size = ["--customers", str(options.customers), "--terminals", "8000"]
        command = [sys.executable, "-m", "flink_jobs.cli", "generate", str(path), *size]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # in here it would raise the peak memory
        ratios = [measure(path, options.processes, Path(folder) / "cache") for _ in range(options.rounds)]
    print(f"{options.processes} processes take {median(ratios):.2f} of the time of one ({core_in_use()} core)")  # noqa: T201


def measure(path: Path, processes: int, folder: Path) -> float:
    """Measure one round; return the time of several processes over that of one."""
    mapping, now_ms = mapping_for(path, Path("preset:handbook")), time.time_ns() // 1_000_000

    def replay_with(count: int) -> Dataset:
        return replay(read_events(path, mapping), now_ms, processes=count)

    several, several_s = timed(f"{processes} processes", lambda: replay_with(processes))
    alone, alone_s = timed("1 process", lambda: replay_with(1))
    require_equal(several, alone)
    cache = FeatureCache(folder)
    source = CardFile(
        path.name, sha256_of(path), sha256_of(mapping.path), skip_bad_rows=False, config=DetectionConfig()
    )
    kept, _ = timed("write to the cache", lambda: cache.write(cache_key(source, None), alone, []))
    print(f"{'':24}{kept.stat().st_size / len(alone):.0f} bytes a row, {len(alone):,} rows")  # noqa: T201
    found, hit_s = timed("hit", lambda: cache.read(cache_key(source, None), None, now_ms))
    if found is None:
        raise SystemExit("the cache has no rows")
    require_equal(found.dataset, alone)
    print(f"{'':24}a hit takes {hit_s / alone_s:.3f} of the time of one process")  # noqa: T201
    measure_history(alone, folder)
    return several_s / alone_s


def measure_history(rows: Dataset, folder: Path) -> None:
    """Measure the inputs of terminals: replayed, written and read.

    Raises:
        SystemExit: the inputs that come back are others.
    """
    entity, cache = Entity.TERMINAL, RiskCache(folder)
    values, _ = timed("history of terminals", lambda: replayed(rows, entity, DEFAULT_DELAY_DAYS))
    key, _ = timed("its key", lambda: risk_key(rows, entity, DEFAULT_DELAY_DAYS))
    kept, _ = timed("write to the cache", lambda: cache.write(key, entity, values))
    print(f"{'':24}{kept.stat().st_size / len(rows):.0f} bytes a row")  # noqa: T201
    found, _ = timed("hit", lambda: cache.read(key, entity, len(rows)))
    if found is None or found.tobytes() != values.tobytes():
        raise SystemExit("the cache has other inputs")


def require_equal(one: Dataset, other: Dataset) -> None:
    """Check that two data sets are the same.

    Raises:
        SystemExit: they are not.
    """
    if (one.digest(), one.labels_digest()) != (other.digest(), other.labels_digest()):
        raise SystemExit("the data sets differ")


def sha256_of(path: Path) -> str:
    """Return the digest of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def timed(what: str, work: Callable[[], T]) -> tuple[T, float]:
    """Return the result of ``work`` and its seconds; print them with CPU seconds and the peak memory so far."""
    started, cpu, here = time.monotonic(), cpu_seconds(), time.process_time()
    result = work()
    seconds, here = time.monotonic() - started, time.process_time() - here
    own, child = (
        resource.getrusage(who).ru_maxrss * 1024 / MEBI for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    memory = f"peak {own:,.0f} MiB, of one other process {child:,.0f} MiB"
    cpu_text = f"{cpu_seconds() - cpu:8.1f} s CPU, {here:6.1f} s of it here"
    print(f"{what:24}{seconds:8.1f} s {cpu_text}   {memory}", flush=True)  # noqa: T201
    return result, seconds


def cpu_seconds() -> float:
    """Return the CPU time of this process and of the processes that have ended."""
    times = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in times)


if __name__ == "__main__":
    main()
