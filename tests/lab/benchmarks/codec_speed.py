"""Time to decode and to encode a customer's state, by the length of the history it holds."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from flink_jobs.core.state.customer import CustomerFraudState
from flink_jobs.core.state.fields import RING_CAPACITY
from flink_jobs.native.loader import core_in_use
from tests.lab.benchmarks.bench_report import ResultSection, number, spread
from tests.lab.benchmarks.workload import many_customers

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 2_000
HISTORIES = (1, 8, RING_CAPACITY)
"""Transactions of the customer; the last value fills the ring."""
METHOD = (
    f"Microseconds per call, {CALLS} calls a round, in this process: median of the rounds and their range. The state "
    "is the one that the evaluator writes for one customer after this number of transactions."
)


def blob_after(transactions: int) -> bytes:
    """Return the encoded state of a customer after this number of transactions."""
    from flink_jobs.core.evaluator import TransactionEvaluator  # noqa: PLC0415 - beside its only use
    from flink_jobs.core.parsing.source_record import SourceRecord  # noqa: PLC0415

    evaluator, blob = TransactionEvaluator(), None
    for offset, message in enumerate(many_customers(1, transactions)):
        record = SourceRecord(message.value, 0, offset, "", "", message.key.decode(), "bench")
        blob = evaluator.evaluate(record, lambda blob=blob: blob, time.time_ns() // 1_000_000).state  # type: ignore[misc]
    if blob is None:
        raise ValueError("no transaction was scored")
    return blob


def measure(rounds: int) -> list[ResultSection]:
    """Time decoding and encoding for every history length."""
    section = ResultSection(
        "codec",
        f"State codec ({core_in_use()} core)",
        METHOD,
        ("transactions", "bytes", "read us", "write us"),
    )
    for transactions in HISTORIES:
        blob = blob_after(transactions)
        state = CustomerFraudState.from_bytes(blob)
        times = [(_timed(lambda: CustomerFraudState.from_bytes(blob)), _timed(state.to_bytes)) for _ in range(rounds)]  # noqa: B023
        reads, writes = [item[0] for item in times], [item[1] for item in times]
        section.add(str(transactions), number(len(blob)), spread(reads, 2), spread(writes, 2))
        section.cost(f"read, {transactions} transactions", reads, "us")
        section.cost(f"write, {transactions} transactions", writes, "us")
        section.raw.append({"transactions": transactions, "bytes": len(blob), "read_us": reads, "write_us": writes})
    return [section]


def _timed(call: Callable[[], object]) -> float:
    """Return the microseconds per call: the median of ten turns, so that a short disturbance has no effect."""
    turns = []
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(CALLS // 10):
            call()
        turns.append((time.perf_counter() - started) / (CALLS // 10) * 1e6)
    return statistics.median(turns)
