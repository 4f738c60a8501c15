"""Alert rate, recall, precision and false-positive rate for each group of customers or transactions.

A model card has this table (Mitchell et al., "Model Cards for Model Reporting", FAT* 2019): the same rates for every
group, with counts and intervals. Small groups stay in the table and are marked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ml.evaluation.bootstrap import Estimate, estimate, per_customer, ratio, sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.evaluation.bootstrap import Weights

FEW_FRAUDS: Final = 20
FEW_ROWS: Final = 200
FEW_CUSTOMERS: Final = 10
SHOWN_GROUPS: Final = 20
"""Number of rows per grouping: the largest groups have a row each, and one row holds all others."""
OTHERS: Final = "(all others)"


@dataclass(frozen=True, slots=True)
class Grouping:
    """One way to divide the rows.

    Attributes:
        name: name of the grouping, such as "category".
        names: names of its groups.
        codes: index into ``names`` for each row.
    """

    name: str
    names: tuple[str, ...]
    codes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Group:
    """Rates of one group for one score at one threshold."""

    grouping: str
    name: str
    rows: int
    customers: int
    frauds: int
    alerts: int
    alert_rate: Estimate
    recall: Estimate
    precision: Estimate
    false_positive_rate: Estimate
    is_small: bool
    """Fewer than 20 frauds, 200 rows or 10 customers: the number alone is not reliable."""


def grouping_of(name: str, values: NDArray[np.str_]) -> Grouping:
    """Divide rows by a text; with more than ``SHOWN_GROUPS`` values, one group holds the rarest."""
    names, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(names) <= SHOWN_GROUPS:
        return Grouping(name, tuple(map(str, names)), codes.astype(np.int64))
    kept = np.sort(np.argsort(-counts, kind="stable")[: SHOWN_GROUPS - 1])
    place = np.full(len(names), SHOWN_GROUPS - 1, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    return Grouping(name, (*map(str, names[kept]), OTHERS), place[codes])


def judge_groups(
    grouping: Grouping,
    alerted: NDArray[np.bool_],
    fraud: NDArray[np.bool_],
    customers: NDArray[np.int64],
    weights: Weights,
) -> tuple[Group, ...]:
    """Measure every group of labelled rows, in the order of ``grouping.names``."""
    shape = (weights.shape[1], len(grouping.names))
    masks = (np.ones(len(fraud), dtype=np.bool_), fraud, alerted, alerted & fraud)
    cells = [per_customer(customers, grouping.codes, mask.astype(np.float64), shape) for mask in masks]
    rows, frauds, alerts, hits = (sums(weights, cell) for cell in cells)
    members = (cells[0] > 0.0).sum(axis=0)
    return tuple(
        Group(
            grouping=grouping.name,
            name=name,
            rows=int(rows[0, i]),
            customers=int(members[i]),
            frauds=int(frauds[0, i]),
            alerts=int(alerts[0, i]),
            alert_rate=estimate(ratio(alerts[:, i], rows[:, i])),
            recall=estimate(ratio(hits[:, i], frauds[:, i])),
            precision=estimate(ratio(hits[:, i], alerts[:, i])),
            false_positive_rate=estimate(ratio(alerts[:, i] - hits[:, i], rows[:, i] - frauds[:, i])),
            is_small=bool(frauds[0, i] < FEW_FRAUDS or rows[0, i] < FEW_ROWS or members[i] < FEW_CUSTOMERS),
        )
        for i, name in enumerate(grouping.names)
    )
