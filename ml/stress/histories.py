"""The inputs of entities for some purchases, by sorting: no replay of all purchases for each scenario.

Every number of ``core.features.entity_risk`` is a sum of integers over slots. So sums over a sorted column give the
same numbers, bit for bit, as long as no purchase comes late by more than its slot and no state is full; the caller
compares.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from flink_jobs.core.features.entity_risk import MAX_LOG_RATIO, RISK_NAMES, SETTLE_MS, WINDOW_DAYS
from flink_jobs.core.state.merchant import LOG_UNIT, SLOT_MS, SLOTS_PER_DAY, log_units
from ml.columns import NOTHING

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flink_jobs.core.features.entity_risk import Entity


class Bought(NamedTuple):
    """Purchases as an entity sees them; every array has one entry per purchase."""

    codes: NDArray[np.int32]
    """Code of the entity, or ``NOTHING``."""
    time_ms: NDArray[np.int64]
    amount: NDArray[np.float64]
    fraud: NDArray[np.bool_]
    """Whether the label says fraud."""


def entity_inputs(entity: Entity, bought: Bought, asked: Bought, delay_days: int) -> NDArray[np.float64]:
    """Return the inputs of an entity, ``asked`` x ``RISK_NAMES[entity]``; NaN where absent.

    Args:
        entity: the entity.
        bought: all purchases that can count.
        asked: the purchases whose inputs are computed.
        delay_days: days until a label is known.
    """
    known = bought.codes != NOTHING
    slots = bought.time_ms[known] // SLOT_MS
    first, width = (int(slots.min()), int(np.ptp(slots)) + 2) if len(slots) else (0, 2)
    key = bought.codes[known].astype(np.int64) * width + (slots - first)
    order = np.argsort(key, kind="stable")
    key = key[order]
    logs = np.concatenate(([0], np.cumsum(_log_units(bought.amount[known])[order])))
    frauds = np.concatenate(([0], np.cumsum(bought.fraud[known][order])))
    base = asked.codes.astype(np.int64) * width

    def place(slot: NDArray[np.int64]) -> NDArray[np.intp]:
        return np.searchsorted(key, base + np.clip(slot - first, 0, width - 1))

    own = _log_units(asked.amount)
    now = (asked.time_ms - SETTLE_MS) // SLOT_MS
    due_now = now - delay_days * SLOTS_PER_DAY
    values = np.empty((len(asked.codes), len(RISK_NAMES[entity])))
    end, due_end = place(now), place(due_now)
    for number, days in enumerate(WINDOW_DAYS):
        start, due_start = place(now - days * SLOTS_PER_DAY), place(due_now - days * SLOTS_PER_DAY)
        count, due = end - start, due_end - due_start
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (own - (logs[end] - logs[start]) / count) / LOG_UNIT
            share = np.minimum(1.0, (frauds[due_end] - frauds[due_start]) / due)
        distance = np.where(count > 0, np.clip(distance, -MAX_LOG_RATIO, MAX_LOG_RATIO), np.nan)
        columns = (count, distance, due, np.where(due > 0, share, 0.0))
        for place_of, column in enumerate(columns):
            values[:, number * len(columns) + place_of] = column
    values[asked.codes == NOTHING] = np.nan
    return values


def _log_units(amounts: NDArray[np.float64]) -> NDArray[np.int64]:
    distinct, places = np.unique(amounts, return_inverse=True)
    return np.array([log_units(amount) for amount in distinct.tolist()], dtype=np.int64)[places]
