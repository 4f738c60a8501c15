"""The first slot whose windows are complete, for a history that is known from some time on."""

from __future__ import annotations

from typing import Final

from flink_jobs.core.features.entity_risk import DEFAULT_DELAY_DAYS
from flink_jobs.core.state.merchant import LONGEST_DAYS, SLOT_MS, SLOTS_PER_DAY

COVERED_DAYS: Final = LONGEST_DAYS + DEFAULT_DELAY_DAYS
"""Days of history from which every window is complete: 37."""
NOT_KNOWN_MS: Final = 253_402_300_799_999
"""The beginning of a history of which nothing is known: the last millisecond that a message can have, in 9999."""


def complete_from(kept_since_ms: int) -> int:
    """Return the first slot whose windows are complete.

    Args:
        kept_since_ms: event time from which decisions count, milliseconds since the epoch; 0: it has all of them.
    """
    if kept_since_ms == 0:
        return 0
    return kept_since_ms // SLOT_MS + 1 + COVERED_DAYS * SLOTS_PER_DAY


def is_since(value: object, least: int) -> bool:
    """Return whether a value of a message is such an event time, and at least ``least``."""
    return type(value) is int and least <= value <= NOT_KNOWN_MS
