"""Measure throughput, latency and memory, compare with other engines, and compare two reports.

The command starts its own stack and removes it at the end. Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from flink_jobs.errors import UserError
from flink_jobs.local.interrupts import handled, interrupt
from flink_jobs.settings import REPO_ROOT
from tests.lab.benchmarks import (
    api_load,
    bench_report,
    codec_speed,
    core_speed,
    engines,
    format_speed,
    heavy_customers,
    kafka_rates,
    latency,
    machine_description,
    memory,
    model_speed,
    population,
    variants,
)
from tests.lab.benchmarks.compare_reports import THRESHOLD, as_section, compare
from tests.lab.benchmarks.outputs import WrongOutputError
from tests.lab.benchmarks.rig import open_rig, trained_model
from tests.lab.benchmarks.workload import CUSTOMERS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.lab.benchmarks.bench_report import ResultSection
    from tests.lab.benchmarks.rig import Rig

ALONE = ("codec", "formats", "model")
"""Parts that need neither a model on disk nor a stack."""
PARTS = (*ALONE, "core", "kafka", "engines", "steps", "garbage", "latency", "memory", "scaling")
"""In the order they run: scaling comes last, because its second TaskManager keeps running."""
ON_REQUEST = ("population", "heavy", "api")
"""Only with ``--only``: five million customers take an hour, few users have customers with heavy traffic, and the API
needs Postgres beside the job."""
RESULTS = REPO_ROOT / "benchmark-results"


@dataclass
class Options:
    """What to measure, and how long."""

    parts: tuple[str, ...]
    events: int
    rounds: int
    customers: int
    population: int
    seconds: float
    rate: float | None
    out: Path
    step: str | None = None
    compare: tuple[Path, Path] | None = None
    threshold: float = THRESHOLD


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.benchmarks", description=__doc__)
    known = PARTS + ON_REQUEST
    parser.add_argument("--only", metavar="PART,...", default=",".join(PARTS), help=f"parts: {', '.join(known)}")
    parser.add_argument(
        "--events", type=int, default=200_000, help="records per run; core takes a tenth (default: %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each engine or variant (default: %(default)s)")
    parser.add_argument(
        "--customers", type=int, default=200_000, help="customers for memory and population (default: %(default)s)"
    )
    parser.add_argument(
        "--population", type=int, default=CUSTOMERS, help="customers for engines (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="length of a latency run (default: %(default)s)")
    parser.add_argument("--rate", type=float, help="transactions/s for latency (default: half the measured throughput)")
    parser.add_argument(
        "--step", choices=[*variants.STEPS][1:], help="for steps: compare this variant alone with the job as shipped"
    )
    parser.add_argument("--quick", action="store_true", help="few events, one round: a smoke test, no measurement")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for results.md and results.json")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("OLD.json", "NEW.json"),
        help="measure nothing: compare two reports; exit code 1 if a figure became worse",
    )  # fmt: skip
    parser.add_argument(
        "--threshold", type=float, default=THRESHOLD, help="loss from which a figure is a regression (default: 0.1)"
    )
    return parser


def parse(arguments: Sequence[str]) -> Options:
    """Read the command line."""
    parser, known = _parser(), PARTS + ON_REQUEST
    given = parser.parse_args(arguments)
    parts = tuple(part.strip() for part in given.only.split(","))
    unknown = [part for part in parts if part not in known]
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}; known parts: {', '.join(known)}")
    if given.events < 1_000 or given.rounds < 1 or given.customers < 1_000 or given.seconds <= 0:
        parser.error("at least 1000 events, 1 round, 1000 customers and more than 0 seconds are needed")
    options = Options(
        parts, given.events, given.rounds, given.customers, given.population, given.seconds, given.rate, given.out
    )
    if not 0 < given.threshold < 1:
        parser.error("the threshold must be between 0 and 1")
    options.threshold, options.step = given.threshold, given.step
    if given.compare:
        options.compare = (given.compare[0], given.compare[1])
    if given.quick:
        options.events, options.rounds, options.customers, options.seconds = 5_000, 1, 2_000, 5.0
        options.rate = options.rate or 500.0
    return options


def run(options: Options, say: Callable[[str], None], show: Callable[[ResultSection], None]) -> list[ResultSection]:
    """Run the chosen parts and return their tables; each table is shown as soon as it is complete."""
    sections: list[ResultSection] = []

    def done(found: list[ResultSection]) -> None:
        for section in found:
            sections.append(section)
            show(section)

    for part in (part for part in ALONE if part in options.parts):
        say(f"-- {part}")
        if part == "model":
            done(model_speed.measure(options.rounds, say))
        else:
            done((codec_speed if part == "codec" else format_speed).measure(options.rounds))
    parts = [part for part in ON_REQUEST + PARTS if part in options.parts and part not in ALONE]
    if not parts:
        return sections
    with trained_model(say) as model_dir:
        if "core" in parts:
            say("-- core")
            parts.remove("core")
            done(core_speed.measure_variants(model_dir, max(1_000, options.events // 10), options.rounds, say))
        if parts:
            with open_rig(model_dir, say) as rig:
                _on_the_stack(parts, options, rig, say, done)
    return sections


def _on_the_stack(
    parts: Sequence[str],
    options: Options,
    rig: Rig,
    say: Callable[[str], None],
    done: Callable[[list[ResultSection]], None],
) -> None:
    throughput: float | None = None
    for part in parts:
        say(f"-- {part}")
        if part == "kafka":
            done(kafka_rates.measure(rig, options.events, options.rounds, say))
        elif part == "engines":
            found = engines.measure(rig, options.events, options.rounds, say, options.population)
            throughput = engines.our_median(found[0])
            done(found)
        elif part == "steps":
            done(variants.measure_steps(rig, options.events, options.rounds, say, options.step))
        elif part == "garbage":
            done(variants.measure_garbage(rig, options.events, options.rounds, say))
        elif part == "latency":
            rate = options.rate or latency.half_load(rig, options.events, throughput)
            done(latency.measure(rig, rate, options.seconds, 1, say))
        elif part == "memory":
            done(memory.measure(rig, options.customers, say))
        elif part in ON_REQUEST:
            done(_on_request(part, options, rig, say))
        else:
            done(variants.measure_scaling(rig, options.events, options.rounds, say))


def _on_request(part: str, options: Options, rig: Rig, say: Callable[[str], None]) -> list[ResultSection]:
    if part == "population":
        return population.measure(rig, options.customers, options.events, say)
    if part == "heavy":
        return heavy_customers.measure(rig, options.events, options.rounds, say)
    return api_load.measure(rig, options.seconds, say)


def show_comparison(old: Path, new: Path, threshold: float, console: Console) -> int:
    """Print every figure of both reports; return 1 if one became worse, else 0."""
    found = compare(old, new, threshold)
    console.print(bench_report.terminal_table(as_section(found, old, new)))
    for line in found.other_machine:
        console.print(f"different machine: {line}", markup=False, highlight=False)
    for name in found.missing:
        console.print(f"not in the new report: {name}", markup=False, highlight=False)
    for change in found.regressions:
        console.print(
            f"REGRESSION: {change.before.name}: {change.before.median:,.4g} -> {change.after.median:,.4g} "
            f"{change.before.unit}, ratio {change.ratio:.2f} (threshold {1 - threshold:.2f})",
            markup=False, highlight=False,
        )  # fmt: skip
    return 1 if found.regressions else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return 0 if all parts were measured, or if two reports hold no regression."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(given)
    console = Console(width=None if sys.stdout.isatty() else 160)
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[{time.monotonic() - started:6.0f} s] {text}", markup=False, highlight=False)

    def show(section: ResultSection) -> None:
        console.print(bench_report.terminal_table(section))

    if options.compare:
        try:
            return show_comparison(*options.compare, options.threshold, console)
        except UserError as error:
            console.print(f"benchmark: {error}", markup=False, highlight=False)
            return 2
    command = shlex.join(["python", "-m", "tests.lab.benchmarks", *given])
    description = machine_description.describe()
    try:
        with handled(interrupt):
            sections = run(options, say, show)
    except (UserError, WrongOutputError) as error:
        console.print(f"benchmark: {error}", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        say("interrupted; all started processes are stopped")
        return 130
    text, data = bench_report.write(options.out, sections, description, command)
    for name, value in description.items():
        console.print(f"{name}: {value}", markup=False, highlight=False)
    say(f"written: {text} and {data.name}")
    return 0
