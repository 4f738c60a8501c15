"""What is judged: labelled rows with the scores of every contender, and the ways to divide them."""

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
    """Labelled rows, one entry each; rows without a label are left out before and only counted.

    Attributes:
        event_time_ms: UTC milliseconds.
        customers: code of each row's customer, 0 to `customer_count` - 1.
        customer_count: customers in the rows.
        fraud: the labels.
        scenarios: name of the fraud's pattern, "" where the data names none.
        scores: contender to its score per row, 0 to 1.
        baseline: contender that gains are measured over.
        rule_hits: rule id to where it fired.
        groupings: the segments.
        unlabelled: rows of the same time that nobody has labelled.
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
        """Refuse rows that nothing can be learnt from.

        Raises:
            UserError: there is no fraud, or nothing else.
        """
        frauds = int(self.fraud.sum())
        if not frauds or frauds == len(self.fraud):
            what = f"{len(self.fraud):,} labelled rows to judge on, {frauds:,} of them fraud"
            raise UserError(what, "both kinds must be there: give a file with labels, or a longer time to judge on")
