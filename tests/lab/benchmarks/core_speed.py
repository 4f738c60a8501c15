"""CPU time of the pure evaluator: compiled and as Python, with and without customer states that stay decoded."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from flink_jobs.errors import UserError
from flink_jobs.native.loader import VARIABLE, core_in_use
from flink_jobs.settings import REPO_ROOT
from tests.lab.benchmarks.bench_report import ResultSection, number, spread

if TYPE_CHECKING:
    from collections.abc import Callable

CUSTOMERS = 1_000
VARIANTS = {
    "python": ("python", 0),
    "compiled": ("compiled", 0),
    "compiled, every customer known": ("compiled", CUSTOMERS),
    "compiled, hardly any known": ("compiled", 1),
}
"""By name: the core, and the number of customers whose state stays decoded. The last variant shows the cost of the
cache when almost every look-up misses."""
METHOD = (
    "CPU microseconds per event with rules and model; a dict holds the state. Steps: parse, state, features, rules, "
    "model, decision. Each round runs every variant once, each in its own process."
)


def measure(events: int, model_dir: Path, kept: int) -> float:
    """Return the CPU microseconds per event of this process's core, over ``events`` events with rules and model."""
    from tests.lab.benchmarks.engines import run_evaluator  # noqa: PLC0415 - the core must be chosen first
    from tests.lab.benchmarks.workload import card_traffic  # noqa: PLC0415

    messages = card_traffic(events, customers=CUSTOMERS)
    run_evaluator(messages[: events // 10], model_dir)  # warm
    rate, _ = run_evaluator(messages, model_dir, kept)
    return 1e6 / rate.events_per_cpu_s


def run_in_process(variant: str, events: int, model_dir: Path) -> float:
    """Measure one variant in its own process; return CPU microseconds per event.

    Raises:
        UserError: the core that the variant needs is not built.
    """
    choice, kept = VARIANTS[variant]
    command = [sys.executable, "-m", "tests.lab.benchmarks.core_speed", str(events), str(model_dir), str(kept)]
    environment = {**os.environ, VARIABLE: choice}
    done = subprocess.run(command, env=environment, cwd=REPO_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or "no output").splitlines()[-1]
        raise UserError(f"the {choice} core could not be measured: {reason}", "run `make setup` on a machine with gcc")
    used, microseconds = done.stdout.split()
    if used != choice:
        raise UserError(f"the {choice} core is not available, {used} ran", "run `make setup` on a machine with gcc")
    return float(microseconds)


def measure_variants(model_dir: Path, events: int, rounds: int, say: Callable[[str], None]) -> list[ResultSection]:
    """Measure all variants ``rounds`` times, in turn."""
    section = ResultSection(
        "core", f"The evaluator alone, {events:,} events", METHOD, ("core", "us/event", "speed against Python")
    )
    taken: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    for _ in range(rounds):
        for variant, some in taken.items():
            some.append(run_in_process(variant, events, model_dir))
            say(f"{variant}: {some[-1]:.1f} us per event")
    for variant, times in taken.items():
        ratios = [first / time for first, time in zip(next(iter(taken.values())), times, strict=True)]
        section.add(variant, spread(times, 1), number(statistics.median(ratios), 2))
        section.cost(variant, times, "us of CPU an event")
        section.raw.append({"core": variant, "us_per_event": times})
    return [section]


if __name__ == "__main__":  # `run_in_process` starts this for one variant
    _events, _models, _kept = sys.argv[1:]
    sys.stdout.write(f"{core_in_use()} {measure(int(_events), Path(_models), int(_kept))}\n")
