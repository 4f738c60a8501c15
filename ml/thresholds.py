"""Chooses the alert threshold that gives a number of alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY_MS: Final = 86_400_000


def threshold_for(blend: NDArray[np.float64], event_time_ms: NDArray[np.int64], alerts_per_day: float) -> float:
    """Return the lowest threshold with at most ``alerts_per_day`` alerts a day on average; 1 if there is none."""
    return threshold_of_count(blend, alerts_per_day * days_in(event_time_ms))


def days_in(event_time_ms: NDArray[np.int64]) -> float:
    """Return the days from the first to the last row; under an hour counts as one hour."""
    return max((int(event_time_ms.max()) - int(event_time_ms.min())) / DAY_MS, 1.0 / 24.0)


def threshold_of_count(blend: NDArray[np.float64], alerts: float) -> float:
    """Return the lowest threshold with at most this number of alerts; 1 if there is none.

    Rows of equal score are all alerts, or none of them is.
    """
    values, counts = np.unique(blend, return_counts=True)
    at_or_above = np.cumsum(counts[::-1])[::-1]
    affordable = values[at_or_above <= alerts]
    return float(affordable[0]) if len(affordable) else 1.0
