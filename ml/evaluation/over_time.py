"""What a model did in each part of the judged time: alerts, precision, recall and average precision by day or week."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.metrics import average_precision_score

from ml.dataset import DAY_MS, FRAUD, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.dataset import Dataset

MOST_DAYS: Final = 31
"""With more days, a period is a week of seven days from the first one on."""


@dataclass(frozen=True, slots=True)
class Period:
    """Results of one UTC day, or of seven.

    Attributes:
        first_event_time_ms: start of its first day, UTC milliseconds.
        days: number of days.
        rows: rows, labelled or not.
        frauds: labelled frauds.
        alerts: rows at or above the threshold in force.
        precision: share of frauds among the labelled alerts; None without one.
        recall: share of the labelled frauds that are alerts; None without one.
        average_precision: average precision of the blended score; None without frauds and genuine rows.
    """

    first_event_time_ms: int
    days: int
    rows: int
    frauds: int
    alerts: int
    precision: float | None
    recall: float | None
    average_precision: float | None


def periods_of(rows: Dataset, blend: NDArray[np.float64], threshold: float) -> tuple[Period, ...]:
    """Return the results of every period with a row, in order."""
    days = rows.event_time_ms // DAY_MS
    first, last = int(days.min()), int(days.max())
    length = 1 if last - first < MOST_DAYS else 7
    place = (days - first) // length
    return tuple(
        _period(rows.where(mine), blend[mine], threshold, (first + int(number) * length) * DAY_MS, length)
        for number in np.unique(place)
        for mine in (place == number,)
    )


def _period(rows: Dataset, blend: NDArray[np.float64], threshold: float, first_ms: int, length: int) -> Period:
    alert, fraud, known = blend >= threshold, rows.labels == FRAUD, rows.labels != UNKNOWN
    judged = alert & known
    has_both = fraud.any() and (known & ~fraud).any()
    return Period(
        first_ms,
        length,
        len(rows),
        int(fraud.sum()),
        int(alert.sum()),
        float(fraud[judged].mean()) if judged.any() else None,
        float(alert[fraud].mean()) if fraud.any() else None,
        float(average_precision_score(fraud[known], blend[known])) if has_both else None,
    )
