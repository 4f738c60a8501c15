"""Our job against itself: its own settings, garbage in its input, one TaskManager and two."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Final

from tests.lab.benchmarks.bench_report import Section, number, spread
from tests.lab.benchmarks.engines import Run, raw, run_detector, run_evaluator, warm_up
from tests.lab.benchmarks.rig import JobPlan, Rig
from tests.lab.benchmarks.workload import card_traffic

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
"""The job, and the job with one thing undone or made different. Process mode (ADR 1) is no match: one run of it takes
as long as seven of these."""


def measure_steps(
    rig: Rig, events: int, rounds: int, say: Callable[[str], None], step: str | None = None
) -> list[Section]:
    """Compare the job as shipped with itself without each of the steps that made it fast and can be switched."""
    shipped = next(iter(STEPS))
    chosen = STEPS if step is None else {name: STEPS[name] for name in (shipped, step)}
    messages = card_traffic(events)
    expected = run_evaluator(messages, rig.model_dir)[1]
    warm_up(rig, messages, expected)
    runs: dict[str, list[Run]] = {name: [] for name in chosen}
    for turn in range(rounds):
        # Each round begins with another one: a job that comes later finds more of the JVM compiled.
        first = turn % len(chosen)
        for name in [*chosen][first:] + [*chosen][:first]:
            runs[name].append(run_detector(rig, messages, chosen[name], expected))
            say(f"{name}: {runs[name][-1].rate.events_per_s:,.0f} events/s")
    section = _against_first(
        "steps",
        f"What the job's own settings cost and gain, {events:,} events",
        "One TaskManager. The variants take turns, each round begins with the next one; ratios are taken within a "
        "round. Per core: events per CPU second of the TaskManager, which the speed of the host moves less.",
        "job",
        runs,
    )
    return [section]


def measure_garbage(rig: Rig, events: int, rounds: int, say: Callable[[str], None]) -> list[Section]:
    """Compare the throughput on clean input and on input of which 30 % is malformed, all kinds mixed."""
    inputs = {"no garbage": card_traffic(events), "30 % garbage": card_traffic(events, garbage=GARBAGE)}
    expected = {name: run_evaluator(messages, rig.model_dir)[1] for name, messages in inputs.items()}
    warm_up(rig, inputs["no garbage"], expected["no garbage"])
    runs: dict[str, list[Run]] = {name: [] for name in inputs}
    for _ in range(rounds):
        for name, messages in inputs.items():
            runs[name].append(run_detector(rig, messages, JobPlan(), expected[name]))
            say(f"{name}: {runs[name][-1].rate.events_per_s:,.0f} events/s")
    section = _against_first(
        "garbage",
        "Garbage in the input",
        "Records per second of all kinds; each record ended as a decision or a dead letter, none was lost. The "
        "malformed ones are all kinds the tests know, from empty payloads to 64 KiB and deep nesting.",
        "input",
        runs,
    )
    return [section]


def measure_scaling(rig: Rig, events: int, rounds: int, say: Callable[[str], None]) -> list[Section]:
    """Compare one TaskManager with two."""
    if rig.stack.record.taskmanagers < 2:
        rig.stack.start_taskmanager(2)
    messages = card_traffic(events)
    expected = run_evaluator(messages, rig.model_dir)[1]
    warm_up(rig, messages, expected, parallelism=2)
    runs: dict[str, list[Run]] = {"1 TaskManager": [], "2 TaskManagers": []}
    for _ in range(rounds):
        for parallelism, name in enumerate(runs, start=1):
            runs[name].append(run_detector(rig, messages, JobPlan(parallelism=parallelism), expected))
            say(f"{name}: {runs[name][-1].rate.events_per_s:,.0f} events/s")
    section = _against_first(
        "scaling",
        "From one TaskManager to two",
        "Parallelism 1 and 2, one slot and one Python interpreter per TaskManager. All of it shares the machine's "
        "cores with the broker and the JobManager: on two cores, a second TaskManager has no core of its own.",
        "cluster",
        runs,
    )
    return [section]


def _against_first(name: str, title: str, method: str, what: str, runs: Mapping[str, list[Run]]) -> Section:
    columns = (
        "events/s",
        "events/s per core",
        "cores used",
        "cores stolen",
        "against the first",
        "against it per core",
    )
    section = Section(name, title, method, (what, *columns))
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
