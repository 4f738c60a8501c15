"""What other thresholds would give: alerts, precision, recall and cost; and the threshold with the lowest cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.models.threshold_choice import ThresholdChoice, ThresholdRow, ThresholdRule
from flink_jobs.errors import UserError
from ml.dataset import FRAUD, UNKNOWN
from ml.thresholds import days_in, threshold_of_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters

SHARES: Final = (0.25, 0.5, 0.75, 1.25, 1.5, 2.0, 4.0)
"""Numbers of alerts in the table, as multiples of those of the chosen threshold."""


def cheapest_threshold(rows: Dataset, blend: NDArray[np.float64], parameters: TrainingParameters) -> float:
    """Return the threshold with the lowest cost: reviews of alerts, and labelled frauds without an alert.

    Of equal costs, the highest threshold wins. An alert budget limits the alerts; 1 if no threshold keeps it.

    Args:
        rows: rows with labelled frauds.
        blend: blended score of each row.
        parameters: ``review_cost`` is the price of a review, ``alerts_per_day`` the alert budget.

    Raises:
        UserError: the rows have several currencies.
    """
    price, budget = parameters.review_cost or 0.0, parameters.alerts_per_day
    check_currency(rows)
    values, place, counts = np.unique(blend, return_inverse=True, return_counts=True)
    lost = np.bincount(place, weights=np.where(rows.labels == FRAUD, rows.amount, 0.0))
    alerts = np.cumsum(counts[::-1])[::-1]  # at each value and above it
    missed = np.cumsum(lost) - lost  # below each value
    cost = price * alerts + missed
    if budget is not None:
        cost = np.where(alerts <= budget * days_in(rows.event_time_ms), cost, np.inf)
    place_of_best = len(cost) - 1 - int(np.argmin(cost[::-1]))
    return float(values[place_of_best]) if np.isfinite(cost[place_of_best]) else 1.0


def threshold_choice(
    rows: Dataset, blend: NDArray[np.float64], threshold: float, parameters: TrainingParameters
) -> ThresholdChoice:
    """Return the record of a choice on the validation rows."""
    rule = ThresholdRule.SAME_ALERTS
    if parameters.review_cost is not None:
        rule = ThresholdRule.REVIEW_COST
    elif parameters.alerts_per_day is not None:
        rule = ThresholdRule.ALERT_BUDGET
    table = threshold_table(rows, blend, threshold, parameters.review_cost)
    return ThresholdChoice(rule, parameters.alerts_per_day, parameters.review_cost, table)


def threshold_table(
    rows: Dataset, blend: NDArray[np.float64], threshold: float, review_cost: float | None
) -> tuple[ThresholdRow, ...]:
    """Return the rows of a threshold and of others with more and fewer alerts, by falling threshold.

    Args:
        rows: rows with labelled frauds.
        blend: blended score of each row.
        threshold: the threshold that was chosen or is in force.
        review_cost: price of a review, main currency units; None: no costs.
    """
    chosen = int((blend >= threshold).sum())
    others = {threshold_of_count(blend, share * chosen) for share in SHARES} if chosen else set()
    thresholds = sorted({threshold, *(other for other in others if other <= float(blend.max()))}, reverse=True)
    return tuple(_row(rows, blend, one, review_cost, is_chosen=one == threshold) for one in thresholds)


def check_currency(rows: Dataset) -> None:
    """Check that amounts can be added.

    Raises:
        UserError: the rows have several currencies.
    """
    used = {rows.currency.names[code] for code in np.unique(rows.currency.codes) if code >= 0}
    if len(used) > 1:
        what = f"--review-cost needs amounts in one currency; the rows have {', '.join(sorted(used))}"
        raise UserError(what, "give a file of one currency, or use --alerts-per-day")


def _row(
    rows: Dataset, blend: NDArray[np.float64], threshold: float, review_cost: float | None, *, is_chosen: bool
) -> ThresholdRow:
    days, alert, fraud = days_in(rows.event_time_ms), blend >= threshold, rows.labels == FRAUD
    judged = alert & (rows.labels != UNKNOWN)
    alerts, missed = float(alert.sum()) / days, float(rows.amount[fraud & ~alert].sum()) / days
    return ThresholdRow(
        threshold,
        alerts,
        float(fraud[judged].mean()) if judged.any() else None,
        float(alert[fraud].mean()) if fraud.any() else 0.0,
        missed,
        None if review_cost is None else review_cost * alerts + missed,
        is_chosen,
    )
