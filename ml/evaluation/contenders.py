"""Prepares the rows of an evaluation: a score for each row and contender, and the segments of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.rules import RULES
from ml.columns import Coded
from ml.dataset import FRAUD, UNKNOWN
from ml.evaluation.judged_rows import JudgedRows
from ml.evaluation.segments import Grouping, grouping_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.dataset import Dataset

RULES_ALONE: Final = "rules"
AMOUNT_BANDS: Final = ((0.25, "lowest quarter"), (0.5, "second quarter"), (0.75, "third quarter"),
                       (0.95, "highest quarter, without the top 5 %"), (1.0, "top 5 %"))  # fmt: skip
ACTIVITY_BANDS: Final = ((1 / 3, "least active third"), (2 / 3, "middle third"), (1.0, "most active third"))
EXPERIENCE_BANDS: Final = ((10, "new: under 10 earlier"), (100, "10 to 99 earlier"), (None, "100 or more earlier"))


def judged_rows(
    whole: Dataset, judged: NDArray[np.bool_], scores: Mapping[str, NDArray[np.float64]], baseline: str
) -> JudgedRows:
    """Return the labelled rows with scores and segments.

    Args:
        whole: the whole history: a customer's activity and number of earlier purchases depend on earlier rows.
        judged: true for the rows to judge; rows without a label are counted and left out.
        scores: by contender, the scores of the rows where ``judged`` is true, in their order.
        baseline: name of the contender that gains are measured against.
    """
    labelled = judged & (whole.labels != UNKNOWN)
    kept = labelled[judged]
    rows = whole.where(labelled)
    names, customers = np.unique(rows.customer.codes, return_inverse=True)
    return JudgedRows(
        event_time_ms=rows.event_time_ms,
        customers=customers.astype(np.int64),
        customer_count=len(names),
        fraud=rows.labels == FRAUD,
        scenarios=_texts(rows.scenario, ""),
        scores={name: values[kept] for name, values in scores.items()},
        baseline=baseline,
        rule_hits={rule.id: rows.rule_hits[:, number] for number, rule in enumerate(RULES)},
        groupings=_groupings(whole, labelled, rows),
        unlabelled=int(judged.sum() - labelled.sum()),
    )


def _groupings(whole: Dataset, labelled: NDArray[np.bool_], rows: Dataset) -> tuple[Grouping, ...]:
    groupings = [
        _by_share("amount", _amount_rank(rows), AMOUNT_BANDS),
        grouping_of("category", _texts(rows.category, "(none)")),
        _by_share("activity of the customer", _activity_rank(whole)[labelled], ACTIVITY_BANDS),
        _by_experience(_earlier(whole)[labelled]),
        grouping_of("segment", _texts(rows.segment, "(none)")),
    ]
    return tuple(grouping for grouping in groupings if len(grouping.names) > 1)


def _amount_rank(rows: Dataset) -> NDArray[np.float64]:
    """Return for each row the share of rows in the same currency with a lower amount."""
    rank = np.zeros(len(rows))
    for currency in np.unique(rows.currency.codes):
        mine = rows.currency.codes == currency
        rank[mine] = np.searchsorted(np.sort(rows.amount[mine]), rows.amount[mine]) / mine.sum()
    return rank


def _activity_rank(whole: Dataset) -> NDArray[np.float64]:
    """Return for each row the share of customers with fewer purchases than the row's customer."""
    names, place, counts = np.unique(whole.customer.codes, return_inverse=True, return_counts=True)
    order = np.argsort(np.argsort(counts, kind="stable"), kind="stable")
    return (order / len(names))[place]


def _earlier(whole: Dataset) -> NDArray[np.int64]:
    """Return for each row the number of earlier rows of the same customer."""
    order = np.argsort(whole.customer.codes, kind="stable")
    codes = whole.customer.codes[order]
    first = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    lengths = np.diff(np.append(first, len(codes)))
    earlier = np.empty(len(codes), dtype=np.int64)
    earlier[order] = np.arange(len(codes)) - np.repeat(first, lengths)
    return earlier


def _by_share(name: str, share: NDArray[np.float64], bands: tuple[tuple[float, str], ...]) -> Grouping:
    """Divide rows by a share from 0 to 1; each band ends below its first number."""
    ends = [end for end, _ in bands[:-1]]
    return _used(name, [text for _, text in bands], np.searchsorted(ends, share, side="right"))


def _by_experience(earlier: NDArray[np.int64]) -> Grouping:
    ends = [end for end, _ in EXPERIENCE_BANDS if end is not None]
    return _used("purchases of the customer", [text for _, text in EXPERIENCE_BANDS],
                 np.searchsorted(ends, earlier, side="right"))  # fmt: skip


def _used(name: str, texts: list[str], codes: NDArray[np.int64]) -> Grouping:
    """Return the grouping without bands that have no row."""
    used, again = np.unique(codes, return_inverse=True)
    return Grouping(name, tuple(texts[code] for code in used), again.astype(np.int64))


def _texts(column: Coded, nothing: str) -> NDArray[np.str_]:
    names = np.array([*column.names, nothing], dtype=np.str_)
    return names[column.codes]  # a row without text has code -1, the last name
