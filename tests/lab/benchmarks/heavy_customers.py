"""The whole job with customers whose state remembers thousands of transaction ids, against the same traffic without."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import orjson

from flink_jobs.core.state.older_ids import DEFAULT_WINDOW
from flink_jobs.traffic.simulate import SimulationPlan, simulate
from tests.lab.benchmarks.engines import EngineRun, run_detector, run_evaluator, warm_up
from tests.lab.benchmarks.rig import JobPlan, Rig
from tests.lab.benchmarks.variants import against_first
from tests.lab.benchmarks.workload import HOUR_MS, InputMessage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.benchmarks.bench_report import ResultSection

EACH: Final = 4 * DEFAULT_WINDOW.transactions
"""Transactions of each customer: the state grows during the first quarter, and then holds as many ids as it may."""
PLANS: Final = {
    "32 ids": JobPlan(settings={"STREAMFLOW_DUPLICATE_TRANSACTIONS": "32"}),
    "5,000 ids, as shipped": JobPlan(),
    "5,000 ids, the state of each event read and decoded": JobPlan(settings={"STREAMFLOW_STATE_CACHE_CUSTOMERS": "0"}),
}


def heavy_traffic(events: int) -> list[InputMessage]:
    """Return the transactions of customers with 5,000 transactions a week each, in the order of time."""
    customers = max(1, events // EACH)
    patterns = [event.transaction for event in itertools.islice(simulate(SimulationPlan(customers=200)), 1_000)]
    start_ms = patterns[0]["event_time_ms"]
    step_ms = 7 * 24 * HOUR_MS // DEFAULT_WINDOW.transactions
    messages = []
    for number in range(events):
        turn, customer = divmod(number, customers)
        document = {
            **patterns[number % len(patterns)],
            "transaction_id": f"heavy-{number}",
            "customer_id": f"heavy-{customer}",
            "event_time_ms": start_ms + turn * step_ms,
        }
        messages.append(InputMessage(document["customer_id"].encode(), orjson.dumps(document)))
    return messages


def measure(rig: Rig, events: int, rounds: int, say: Callable[[str], None]) -> list[ResultSection]:
    """Compare the throughput with small and with large states."""
    messages = heavy_traffic(events)
    expected = run_evaluator(messages, rig.model_dir)[1]
    warm_up(rig, messages, expected)
    runs: dict[str, list[EngineRun]] = {name: [] for name in PLANS}
    for turn in range(rounds):
        first = turn % len(PLANS)
        for name in [*PLANS][first:] + [*PLANS][:first]:
            runs[name].append(run_detector(rig, messages, PLANS[name], expected))
            say(f"{name}: {runs[name][-1].rate.events_per_s:,.0f} events/s")
    customers = max(1, events // EACH)
    each = events / customers
    full = DEFAULT_WINDOW.transactions
    mean = (full / 2 * full + (each - full) * full) / each if each > full else each / 2
    section = against_first(
        "heavy",
        f"Customers with many transactions, {events:,} events",
        f"{customers} customers with 5,000 transactions a week each; a state holds {mean:,.0f} ids of 8 bytes on "
        "average. One TaskManager. The variants take turns; ratios are taken within a round.",
        "duplicate window",
        runs,
    )
    return [section]
