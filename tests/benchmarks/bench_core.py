"""Measures the pure evaluator compiled against the same files as Python.

Run it with: python -m tests.benchmarks.bench_core [--events N] [--rounds N]

Each round runs both, one after the other in processes of their own; the ratio is that of their CPU times.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from flink_jobs.native.loader import VARIABLE, core_in_use
from flink_jobs.settings import REPO_ROOT

CHOICES = ("python", "compiled")
CUSTOMERS = 1_000


def measure(events: int, model_dir: Path) -> float:
    """Return the CPU microseconds per event of this process's core, over ``events`` events with rules and model."""
    from tests.benchmarks.engines import run_evaluator  # noqa: PLC0415 - chosen core first
    from tests.benchmarks.workload import card_traffic  # noqa: PLC0415

    messages = card_traffic(events, customers=CUSTOMERS)
    run_evaluator(messages[: events // 10], model_dir)  # warm
    rate, _ = run_evaluator(messages, model_dir)
    return 1e6 / rate.events_per_cpu_s


def run_in_process(choice: str, events: int, model_dir: Path) -> float:
    """Measure one core in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_core", "--measure", str(events)]
    command += ["--models", str(model_dir)]
    environment = {**os.environ, VARIABLE: choice}
    done = subprocess.run(command, env=environment, cwd=REPO_ROOT, capture_output=True, text=True, check=True)
    used, microseconds = done.stdout.split()
    if used != choice:
        raise SystemExit(f"asked for the {choice} core, got {used}: run `make setup` on a machine with gcc")
    return float(microseconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench_core", description=__doc__)
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", type=Path, default=REPO_ROOT / "models", help="folder of models; `current` scores")
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        sys.stdout.write(f"{core_in_use()} {measure(options.measure, options.models)}\n")
        return
    if not (options.models / "current").exists():
        parser.error(f"there is no model in {options.models}; run `streamflow train --data FILE` first")
    started = time.monotonic()
    say = Console().print
    rounds = [
        {choice: run_in_process(choice, options.events, options.models) for choice in CHOICES}
        for _ in range(options.rounds)
    ]
    for choice in CHOICES:
        times = [item[choice] for item in rounds]
        say(f"{choice:9} {statistics.median(times):6.1f} us an event (least {min(times):.1f}, most {max(times):.1f})")
    ratio = statistics.median(item["python"] / item["compiled"] for item in rounds)
    say(f"compiled is {ratio:.2f} times as fast ({options.rounds} rounds, {time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
