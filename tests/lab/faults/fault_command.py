"""Break a real stack in every way of the fault matrix and reconcile the ledger of every record after each fault.

The command starts its own stack and removes it at the end. A case holds when all of this is true: every record sent was
scored once, became a dead letter once or is a counted duplicate; Kafka's committed output, Postgres and the dead
letters agree; the features of each decision equal those of an undisturbed evaluator; the expectations of the case hold.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kafka.errors import KafkaError
from psycopg import Error as PostgresError
from rich.console import Console

from flink_jobs.errors import UserError
from flink_jobs.flink.rest import FlinkRestError
from flink_jobs.local.interrupts import handled, interrupt
from flink_jobs.settings import REPO_ROOT
from tests.lab.benchmarks import machine_description
from tests.lab.faults import fault_report
from tests.lab.faults.fault_case import CaseResult, CaseStatus, FaultCase
from tests.lab.faults.fault_matrix import CASES
from tests.lab.faults.system_under_test import SystemUnderTest, open_system
from tests.lab.faults.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RESULTS = REPO_ROOT / "fault-results"
BROKEN = (UserError, FlinkRestError, KafkaError, PostgresError, TimeoutError, OSError)
"""Errors that mean that the stack did not recover; a defect of the matrix itself is not caught."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(prog="python -m tests.lab.faults", description=__doc__)
    parser.add_argument("--only", metavar="CASE,...", default=",".join(names), help=f"cases: {', '.join(names)}")
    parser.add_argument("--seed", type=int, default=1, help="seed of the traffic (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for faults.md and faults.json")
    given = parser.parse_args(arguments)
    given.cases = tuple(name.strip() for name in given.only.split(","))
    unknown = [name for name in given.cases if name not in names]
    if unknown:
        parser.error(f"unknown case {', '.join(unknown)}; known cases: {', '.join(names)}")
    return given


def run_case(system: SystemUnderTest, case: FaultCase, seed: int) -> CaseResult:
    """Run one case and return its result."""
    result = CaseResult(case.name, case.fault, case.expected, seed=seed)
    result.when, started = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), time.monotonic()
    obstacle = case.obstacle()
    if obstacle is not None:
        result.status = CaseStatus.LEFT_OUT
        result.happened.append(obstacle)
        return result
    trial = Trial(system, result)
    try:
        case.run(trial)
    except BROKEN as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        result.problems.append(f"{error} ({type(error).__name__} at {Path(place.filename).name}:{place.lineno})")
    result.status = CaseStatus.FAILS if result.problems else CaseStatus.HOLDS
    result.seconds = round(time.monotonic() - started, 1)
    return result


def run(
    system: SystemUnderTest,
    names: Sequence[str],
    seed: int,
    out: Path,
    say: Callable[[str], None],
    done: Callable[[CaseResult], None],
) -> None:
    """Run the chosen cases in the order of the matrix; keep the logs of cases that fail."""
    for case in (case for case in CASES if case.name in names):
        say(f"-- {case.name}: {case.fault}")
        result = run_case(system, case, seed)
        done(result)
        if result.problems:
            shutil.copytree(system.stack.home.logs, out / "logs" / case.name, dirs_exist_ok=True)
            system.reset()
        for line in (*result.happened, *result.problems):
            say(f"   {line}")
        if result.status is not CaseStatus.LEFT_OUT:
            say(f"   {fault_report.counts_line('Kafka', result.kafka, result.sent)}")
            say(f"   {fault_report.counts_line('Postgres', result.postgres, result.sent)}")
        recovery = "" if result.recovery_s is None else f", recovery {result.recovery_s:.1f} s"
        say(f"   {result.status}{recovery}, {result.restarts} restarts, {result.seconds:.0f} s")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix; return 0 if every case that this machine can run holds."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(given)
    console = Console(width=None if sys.stdout.isatty() else 160)
    started = time.monotonic()

    def say(text: str) -> None:
        console.print(f"[{time.monotonic() - started:6.0f} s] {text}", markup=False, highlight=False)

    description = machine_description.describe()
    command = shlex.join(["python", "-m", "tests.lab.faults", *given])
    results: list[CaseResult] = []

    def done(result: CaseResult) -> None:
        """Write the report after every case, so that an interrupted run keeps its results."""
        result.commit = description["commit"]
        results.append(result)
        known = fault_report.read(options.out / "faults.json")
        rows = fault_report.merged(known, [result], [case.name for case in CASES])
        fault_report.write(options.out, rows, description, command)

    try:
        with handled(interrupt), open_system(say) as system:
            run(system, options.cases, options.seed, options.out, say, done)
    except UserError as error:
        console.print(f"faults: {error}", markup=False, highlight=False)
        return 1
    except KeyboardInterrupt:
        say("interrupted; all started processes are stopped")
        return 130
    say(f"written: {options.out / 'faults.md'} and faults.json")
    failed = [result.name for result in results if result.status is CaseStatus.FAILS]
    held = sum(result.status is CaseStatus.HOLDS for result in results)
    say(f"{held} cases hold, {len(failed)} fail" + (f": {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0
