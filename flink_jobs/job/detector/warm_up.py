"""Prepares Python for the first real transaction: evaluates synthetic ones, and calms the garbage collection.

Python specialises code that ran a few times, and a model's first scores load what they need: without a warm-up, the
first real transactions after each start pay for it. Nothing of the warm-up is kept: no state, no output, no count.
"""

import gc
import time
from typing import Final

import orjson

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.models.lineup import Model
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.core.parsing.source_record import SourceRecord

EVALUATIONS: Final = 3_000
LIMIT_S: Final = 2.0
_CUSTOMERS: Final = 50
_COLLECT_AFTER: Final = 50_000
"""New containers after which Python searches the youngest ones for cycles; the default, 700, is less than a batch."""
_STEP_MS: Final = 900_000
_START_MS: Final = 1_704_067_200_000


def warm_up(model: Model | None, own: OwnValues | None = None) -> int:
    """Evaluate synthetic transactions, for at most ``LIMIT_S`` seconds; return their number.

    Args:
        model: the champion, in a lineup of its own: its faults are noticed at the first real transaction.
        own: the own features; their faults here are not counted.
    """
    # Every transaction is an alert, so that the contributions of a model are computed too.
    evaluator = TransactionEvaluator(DetectionConfig(alert_threshold=0.0, threshold_is_set=True), model, own=own)
    states: dict[str, bytes] = {}
    end = time.monotonic() + LIMIT_S
    evaluated = 0
    for number in range(EVALUATIONS):
        if time.monotonic() > end:
            break
        customer = f"warm-up-{number % _CUSTOMERS}"
        outcome = evaluator.evaluate(_record(number, customer), lambda key=customer: states.get(key), _START_MS * 2)  # type: ignore[misc]
        if outcome.state is not None:
            states[customer] = outcome.state
        evaluated += 1
    if own is not None:
        own.take_faults()
    return evaluated


def calm_garbage_collection() -> None:
    """Let Python search for garbage cycles rarely, and not among the objects that exist now.

    The decoded states of 10,000 customers are a quarter of a million objects, and no cycle. A full search visits all of
    them and PyFlink's modules, and no record is scored meanwhile. Objects of an earlier attempt in this process are
    collected first, so that a restart leaks nothing.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 100)


def _record(number: int, customer: str) -> SourceRecord:
    transaction = {
        "transaction_id": f"warm-up-{number}",
        "customer_id": customer,
        "amount_minor": 500 + number % 97 * 50,
        "currency": ("USD", "EUR")[number % 2],
        "event_time_ms": _START_MS + number * _STEP_MS,
        "merchant": f"merchant-{number % 13}",
        "category": f"category-{number % 7}",
        "location": {"lat": 50.0 + number % 5, "lon": 8.0},
    }
    return SourceRecord(orjson.dumps(transaction), 0, number, "", "", customer, "warm-up")
