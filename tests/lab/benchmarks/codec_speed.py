"""Time to decode and to encode a customer's state, and to use the transaction ids it remembers."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import TYPE_CHECKING

from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.state.fields import RING_CAPACITY
from flink_jobs.core.state.older_ids import DEFAULT_WINDOW
from flink_jobs.core.transaction import Transaction
from flink_jobs.native.loader import core_in_use
from tests.lab.benchmarks.bench_report import ResultSection, number, spread
from tests.lab.benchmarks.workload import many_customers

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS = 2_000
HISTORIES = (1, 8, RING_CAPACITY)
"""Transactions of the customer; the last value fills the ring."""
REMEMBERED = (10, 100, 1_000, DEFAULT_WINDOW.transactions)
"""Transactions of a customer within the window for duplicates."""
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
    return [section, measure_remembered(rounds)]


def state_with(transactions: int) -> CustomerFraudState:
    """Return the state of a customer with this number of transactions, evenly over the days of the window."""
    state = CustomerFraudState()
    for index in range(transactions):
        time_ms = index * DEFAULT_WINDOW.days * 86_400_000 // transactions
        transaction = Transaction(f"t-{index}", "c-1", 1_999, "USD", time_ms, "m-1", "travel", 48.0, 2.0)
        state.observe(transaction, 19.99, transaction_fingerprint(transaction.transaction_id))
    return state


def measure_remembered(rounds: int) -> ResultSection:
    """Time what a step does with the remembered ids, for each number of them."""
    section = ResultSection(
        "remembered",
        f"Remembered transaction ids ({core_in_use()} core)",
        f"Microseconds per call, {CALLS} calls a round: median of the rounds and their range. The customer's "
        f"transactions are spread evenly over {DEFAULT_WINDOW.days} days. `look-up`: a new id is not found. `add`: one "
        "more transaction enters the state.",
        ("ids", "bytes", "look-up us", "add us", "read us", "write us"),
    )
    for transactions in REMEMBERED:
        state = state_with(transactions)
        blob, newest_ms = state.to_bytes(), state.last_event_time_ms or 0
        fingerprints = itertools.cycle([transaction_fingerprint(f"other-{index}") for index in range(997)])
        more = Transaction("more", "c-1", 1_999, "USD", newest_ms, "m-1", "travel", 48.0, 2.0)
        calls: dict[str, Callable[[], object]] = {
            "look-up": lambda: state.has_seen(next(fingerprints)),  # noqa: B023
            "read": lambda: CustomerFraudState.from_bytes(blob),  # noqa: B023
            "write": state.to_bytes,
            "add": lambda: state.observe(more, 19.99, next(fingerprints)),  # noqa: B023
        }
        times = {name: [_timed(call) for _ in range(rounds)] for name, call in calls.items()}
        columns = [spread(times[name], 2) for name in ("look-up", "add", "read", "write")]
        section.add(number(transactions), number(len(blob)), *columns)
        for name, values in times.items():
            section.cost(f"{name}, {transactions} ids", values, "us")
        section.raw.append({"ids": transactions, "bytes": len(blob), **{f"{n}_us": v for n, v in times.items()}})
    return section


def _timed(call: Callable[[], object]) -> float:
    """Return the microseconds per call: the median of ten turns, so that a short disturbance has no effect."""
    turns = []
    for _ in range(10):
        started = time.perf_counter()
        for _ in range(CALLS // 10):
            call()
        turns.append((time.perf_counter() - started) / (CALLS // 10) * 1e6)
    return statistics.median(turns)
