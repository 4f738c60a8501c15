"""Our job compared with itself: other settings, garbage in the input, two TaskManagers."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from tests.lab.benchmarks.bench_report import ResultSection, number, spread
from tests.lab.benchmarks.engines import EngineRun, raw, run_detector, run_evaluator, warm_up
from tests.lab.benchmarks.rig import JobPlan, Rig
from tests.lab.benchmarks.workload import card_traffic
from tests.stack_control import start_taskmanager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GARBAGE = 0.3
STEPS: Final = {
    "as shipped": JobPlan(),
    "the state of each event read and decoded": JobPlan(settings={"STREAMFLOW_STATE_CACHE_CUSTOMERS": "0"}),
    "at least once": JobPlan(guarantee="at_least_once"),
    "a checkpoint every second": JobPlan(checkpoint_interval_ms=1_000),
    "operators not chained": JobPlan(options={"pipeline.operator-chaining.enabled": "false"}),
    "each record handed on at once": JobPlan(options={"execution.buffer-timeout.interval": "0 ms"}),
    "bloom filters in RocksDB": JobPlan(options={"state.backend.rocksdb.use-bloom-filter": "true"}),
}
"""The job as shipped, and with one setting changed. Process mode (ADR 1) is not among them: one run of it takes as long
as seven of these."""


def measure_steps(
    rig: Rig, events: int, rounds: int, say: Callable[[str], None], step: str | None = None
) -> list[ResultSection]:
    """Compare the job as shipped with each variant, or with the one named ``step``."""
    shipped = next(iter(STEPS))
    chosen = STEPS if step is None else {name: STEPS[name] for name in (shipped, step)}
    messages = card_traffic(events)
    expected = run_evaluator(messages, rig.model_dir)[1]
    warm_up(rig, messages, expected)
    runs: dict[str, list[EngineRun]] = {name: [] for name in chosen}
    for turn in range(rounds):
        # Each round starts with another variant, because later jobs run on a JVM with more compiled code.
        first = turn % len(chosen)
        for name in [*chosen][first:] + [*chosen][:first]:
            runs[name].append(run_detector(rig, messages, chosen[name], expected))
            say(f"{name}: {runs[name][-1].rate.events_per_s:,.0f} events/s")
    section = against_first(
        "steps",
        f"Cost and gain of the job's settings, {events:,} events",
        "One TaskManager. The variants take turns, and each round starts with the next one; ratios are taken within a "
        "round. Per core: events per CPU second of the TaskManager, which depends less on the load of the host.",
        "job",
        runs,
    )
    return [section]


def measure_garbage(rig: Rig, events: int, rounds: int, say: Callable[[str], None]) -> list[ResultSection]:
    """Compare the throughput on clean input with input of which 30 % is malformed, all kinds mixed."""
    inputs = {"no garbage": card_traffic(events), "30 % garbage": card_traffic(events, garbage=GARBAGE)}
    expected = {name: run_evaluator(messages, rig.model_dir)[1] for name, messages in inputs.items()}
    for name, messages in inputs.items():  # the JVM compiles code that only one of the inputs uses
        run_detector(rig, messages, JobPlan(), expected[name])
    rig.warm_taskmanagers = max(1, rig.warm_taskmanagers)
    runs: dict[str, list[EngineRun]] = {name: [] for name in inputs}
    for turn in range(rounds):
        for name, messages in sorted(inputs.items(), reverse=turn % 2 == 1):
            runs[name].append(run_detector(rig, messages, JobPlan(), expected[name]))
            say(f"{name}: {runs[name][-1].rate.events_per_s:,.0f} events/s")
    section = against_first(
        "garbage",
        "Garbage in the input",
        "Records per second, valid and malformed together; each record ended as a decision or a dead letter, none was "
        "lost. Malformed records are of all kinds in the tests, from empty payloads to 64 KiB and deep nesting. The "
        "inputs take turns; a first run of each is not counted, because the JVM compiles in it.",
        "input",
        runs,
    )
    return [section]


def measure_scaling(rig: Rig, events: int, rounds: int, say: Callable[[str], None]) -> list[ResultSection]:
    """Compare one TaskManager with two."""
    if rig.stack.record.taskmanagers < 2:
        start_taskmanager(rig.stack, 2)
    messages = card_traffic(events)
    expected = run_evaluator(messages, rig.model_dir)[1]
    warm_up(rig, messages, expected, parallelism=2)
    runs: dict[str, list[EngineRun]] = {"1 TaskManager": [], "2 TaskManagers": []}
    for _ in range(rounds):
        for parallelism, name in enumerate(runs, start=1):
            runs[name].append(run_detector(rig, messages, JobPlan(parallelism=parallelism), expected))
            say(f"{name}: {runs[name][-1].rate.events_per_s:,.0f} events/s")
    section = against_first(
        "scaling",
        "From one TaskManager to two",
        "Parallelism 1 and 2; one slot and one Python interpreter per TaskManager. Broker and JobManager use the same "
        "cores: on a machine with two cores, the second TaskManager has no core of its own.",
        "cluster",
        runs,
    )
    return [section]


def against_first(name: str, title: str, method: str, what: str, runs: Mapping[str, list[EngineRun]]) -> ResultSection:
    columns = (
        "events/s",
        "events/s per core",
        "cores used",
        "cores stolen",
        "ratio to the first",
        "ratio per core",
    )
    section = ResultSection(name, title, method, (what, *columns))
    first = next(iter(runs.values()))
    for label, some in runs.items():
        section.raw += [{"variant": label, **raw(run)} for run in some]
        section.rate(label, [run.rate.events_per_s for run in some])
        pairs = [(run.rate, base.rate) for run, base in zip(some, first, strict=True)]
        section.add(
            label,
            spread([run.rate.events_per_s for run in some]),
            spread([run.rate.events_per_cpu_s for run in some]),
            number(statistics.median(run.rate.cores for run in some), 2),
            number(statistics.median(run.rate.stolen_cores for run in some), 2),
            number(statistics.median(rate.events_per_s / base.events_per_s for rate, base in pairs), 2),
            number(statistics.median(rate.events_per_cpu_s / base.events_per_cpu_s for rate, base in pairs), 2),
        )
    return section
