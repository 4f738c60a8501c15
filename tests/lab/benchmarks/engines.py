"""Throughput of the evaluator alone, of our job, of Quix Streams and of Bytewax, with the same events and evaluator."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.model import load_model, model_directory
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.state.recent import RecentStates
from tests.lab.benchmarks import outputs, peers_env
from tests.lab.benchmarks.bench_report import ResultSection, number, spread
from tests.lab.benchmarks.meter import Rate, steady_rate, stolen_seconds
from tests.lab.benchmarks.rig import CHECKPOINT_INTERVAL_MS, BusyTimes, JobPlan, Rig
from tests.lab.benchmarks.workload import CUSTOMERS, card_traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.lab.benchmarks.workload import InputMessage

OURS, EVALUATOR = "StreamFlow, exactly-once, RocksDB", "the evaluator in a loop, no engine"
SINGLE = "StreamFlow, one record at a time"
ONE_AT_A_TIME = JobPlan(settings={"STREAMFLOW_CROSSING": "single"})
BYTEWAX, QUIX = peers_env.BYTEWAX, peers_env.QUIX_EXACTLY_ONCE
FOREVER_MS = 2**62
METHOD = (
    "Events per second from the end of the first tenth of the outputs to the last output, by the broker's append time, "
    "for every engine alike. Start-up is not counted, nor are the first 600,000 events of our job, in which the "
    "JVM compiles. Per core: events per CPU second of the engine's own processes in that time (TaskManager, or the "
    "peer's process), without the broker. Stolen cores: CPU time that the hypervisor gave to other machines while this "
    "one had work. Rules and model on, one instance, one topic of four "
    f"partitions filled beforehand, checkpoints or commits every {CHECKPOINT_INTERVAL_MS // 1000} s. The decisions of "
    "every engine were compared with those of the evaluator. Medians over the rounds; the engines take turns, and "
    "ratios are taken within a round. Quix delays state writes until it commits, so only a run with several commits "
    "(see the column seconds) includes their cost. StreamFlow keeps the states of recent customers decoded, the peers "
    "read and decode the state for each event; the part `steps` measures the difference."
)


@dataclass(frozen=True)
class EngineRun:
    """The measured run of one engine."""

    engine: str
    rate: Rate
    busy: BusyTimes = field(default_factory=BusyTimes)


def run_evaluator(messages: Sequence[InputMessage], model_dir: Path, kept: int = 0) -> tuple[Rate, str]:
    """Score all messages with a dict as state; return the rate and the digest of the decisions.

    Args:
        messages: the input records.
        model_dir: folder of the model versions.
        kept: number of customers whose state stays decoded; 0 decodes the state for every event.
    """
    model = load_model(model_directory(model_dir), FEATURE_NAMES)
    evaluator = TransactionEvaluator(model=model, recent=RecentStates(kept, FOREVER_MS) if kept else None)
    evaluate, states, decisions = evaluator.evaluate, dict[str, bytes](), list[bytes | None]()
    started, cpu_started, stolen = time.perf_counter(), time.process_time(), stolen_seconds()
    for offset, message in enumerate(messages):
        customer = message.key.decode()
        record = SourceRecord(message.value, 0, offset, "", "", customer, "loop")
        outcome = evaluate(record, lambda customer=customer: states.get(customer), time.time_ns() // 1_000_000)  # type: ignore[misc]
        if outcome.state is not None and outcome.decision is not None:
            states[customer] = outcome.state
            decisions.append(outcome.decision.encode())
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    rate = Rate(len(messages), seconds, cpu_seconds, stolen_seconds() - stolen)
    return rate, outputs.digest(decisions)


def run_detector(
    rig: Rig, messages: Sequence[InputMessage], plan: JobPlan, expected: str, name: str = OURS
) -> EngineRun:
    """Run our job over the messages; ``name`` is its name in the report.

    Raises:
        WrongOutputError: its decisions differ from those of the evaluator.
    """
    with rig.filled_topics("ours", messages) as prefix:
        with rig.meter() as meter, rig.detector(prefix, plan) as job_id:
            busy = rig.await_consumed(prefix, job_id, len(messages))
            written = outputs.read_written(rig.broker, prefix, len(messages))
        outputs.require_equal(written, expected, name)
        return EngineRun(name, steady_rate(written.appended_ms, meter), busy)


SHORTEST_RUN: Final = 20_000
"""Fewest events of a run that measures."""
WARM_EVENTS: Final = 600_000
"""After a single run of 240,000 events the JVM still compiled: the throughput rose from round to round."""


def warm_up(rig: Rig, messages: Sequence[InputMessage], expected: str, parallelism: int = 1) -> None:
    """Run our job without timing it, unless this number of TaskManagers has run it before.

    A smoke test has few events and needs no warm JVM.
    """
    if rig.warm_taskmanagers < parallelism:
        runs = 1 if len(messages) < SHORTEST_RUN else -(-WARM_EVENTS // len(messages))
        for _ in range(runs):
            run_detector(rig, messages, JobPlan(parallelism=parallelism), expected)
        rig.warm_taskmanagers = parallelism


def run_peer(rig: Rig, messages: Sequence[InputMessage], peer: peers_env.Peer, expected: str) -> EngineRun:
    """Run a peer over the messages.

    Raises:
        WrongOutputError: its decisions differ from those of the evaluator.
    """
    with rig.filled_topics("peer", messages) as prefix:
        meter = peers_env.run_peer(rig, peer, prefix, len(messages))
        written = outputs.read_written(rig.broker, prefix, len(messages))
        outputs.require_equal(written, expected, peer.name)
        return EngineRun(peer.name, steady_rate(written.appended_ms, meter))


def measure(
    rig: Rig, events: int, rounds: int, say: Callable[[str], None], customers: int = CUSTOMERS
) -> list[ResultSection]:
    """Run every engine once in each round; return the comparison and the time shares of our job."""
    peers_env.install()
    messages = card_traffic(events, customers=customers)
    runs: list[EngineRun] = []
    for round_number in range(1, rounds + 1):
        rate, expected = run_evaluator(messages, rig.model_dir)
        warm_up(rig, messages, expected)
        starts: list[Callable[[], EngineRun]] = [
            partial(EngineRun, EVALUATOR, rate),
            partial(run_detector, rig, messages, JobPlan(), expected),
            partial(run_detector, rig, messages, ONE_AT_A_TIME, expected, SINGLE),
            partial(run_peer, rig, messages, QUIX, expected),
            partial(run_peer, rig, messages, BYTEWAX, expected),
        ]
        for start in starts:
            runs.append(start())
            say(f"round {round_number}: {_summary(runs[-1])}")
    return [_comparison(runs, f"{events:,} events of {customers:,} customers"), _busy(runs)]


def _summary(run: EngineRun) -> str:
    return f"{run.engine}: {run.rate.events_per_s:,.0f} events/s, {run.rate.events_per_cpu_s:,.0f} per core"


def _comparison(runs: Sequence[EngineRun], what: str) -> ResultSection:
    section = ResultSection(
        "engines",
        f"Throughput with the same evaluator on the same {what}",
        METHOD,
        (
            "engine",
            "events/s",
            "us/event",
            "events/s per core",
            "cores used",
            "cores stolen",
            "seconds",
            "ours / it",
            "ours / it, per core",
        ),
    )
    rates: defaultdict[str, list[Rate]] = defaultdict(list)
    for run in runs:
        rates[run.engine].append(run.rate)
        section.raw.append(raw(run))
    for engine, measured in sorted(rates.items(), key=lambda item: -item[1][0].events_per_s):
        pairs = list(zip(rates[OURS], measured, strict=True))
        section.rate(engine, [rate.events_per_s for rate in measured])
        section.rate(f"{engine}, per core", [rate.events_per_cpu_s for rate in measured])
        section.add(
            engine,
            spread([rate.events_per_s for rate in measured]),
            number(statistics.median(1e6 / rate.events_per_s for rate in measured), 1),
            spread([rate.events_per_cpu_s for rate in measured]),
            number(statistics.median(rate.cores for rate in measured), 2),
            number(statistics.median(rate.stolen_cores for rate in measured), 2),
            number(statistics.median(rate.seconds for rate in measured), 1),
            number(statistics.median(ours.events_per_s / its.events_per_s for ours, its in pairs), 2),
            number(statistics.median(ours.events_per_cpu_s / its.events_per_cpu_s for ours, its in pairs), 2),
        )
    return section


def raw(run: EngineRun) -> dict[str, Any]:
    """Return one run as an entry of the JSON file."""
    return {
        "engine": run.engine,
        **asdict(run.rate),
        "events_per_s": run.rate.events_per_s,
        "events_per_cpu_s": run.rate.events_per_cpu_s,
    }


def our_median(comparison: ResultSection) -> float:
    """Return the median throughput of our job in a comparison, in events per second."""
    return statistics.median([float(item["events_per_s"]) for item in comparison.raw if item["engine"] == OURS])


def _busy(runs: Sequence[EngineRun]) -> ResultSection:
    section = ResultSection(
        "engines",
        "Time shares of our job",
        "Flink's busy, back-pressured and idle time of each vertex: the average of one sample per second over the last "
        "round, start and end included.",
        ("vertex", "busy", "back-pressured", "idle"),
    )
    last = [run for run in runs if run.engine == OURS][-1]
    for vertex, shares in last.busy.averages().items():
        section.add(vertex if len(vertex) <= 60 else f"{vertex[:57]}...", *(f"{share:.0%}" for share in shares))
    return section
