"""Labelled rows with the scores of every contender and the groupings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from ml.evaluation.segments import Grouping


@dataclass(frozen=True, slots=True)
class JudgedRows:
    """Labelled rows; every array has one entry per row.

    Attributes:
        event_time_ms: event time, UTC milliseconds.
        customers: code of each row's customer, 0 to ``customer_count`` - 1.
        customer_count: number of customers.
        fraud: the labels, true for fraud.
        scenarios: name of the fraud pattern, "" where the data names none.
        scores: by contender, the score of each row, 0 to 1.
        baseline: contender that gains are measured against.
        rule_hits: by rule id, true where the rule fired.
        groupings: the segments.
        unlabelled: number of rows of the same period without a label; they are not in the arrays.
    """

    event_time_ms: NDArray[np.int64]
    customers: NDArray[np.int64]
    customer_count: int
    fraud: NDArray[np.bool_]
    scenarios: NDArray[np.str_]
    scores: Mapping[str, NDArray[np.float64]]
    baseline: str
    rule_hits: Mapping[str, NDArray[np.bool_]]
    groupings: tuple[Grouping, ...]
    unlabelled: int = 0

    def check(self) -> None:
        """Check that the rows hold frauds and genuine transactions.

        Raises:
            UserError: all labels are fraud, or all are genuine.
        """
        frauds = int(self.fraud.sum())
        if not frauds or frauds == len(self.fraud):
            what = f"{len(self.fraud):,} labelled rows to judge, {frauds:,} of them fraud: both kinds are needed"
            raise UserError(what, "give a file with labels, or a smaller --train-fraction")
