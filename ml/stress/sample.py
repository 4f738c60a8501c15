"""Chooses the customers whose purchases are replayed for the scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ml.dataset import FRAUD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.dataset import Dataset

HISTORY_ROWS: Final = 12_000
"""Most rows before the first judged one that are replayed, once for all scenarios; about a second."""
PERIOD_ROWS: Final = 3_000
"""Most rows from the first judged one on that are replayed, once for each scenario."""


class Sample(NamedTuple):
    """Customers, and their rows in the order of the stream."""

    first: int
    """Number of the first judged row."""
    history: NDArray[np.intp]
    """Rows of the customers before it."""
    customers: NDArray[np.bool_]
    """By code of the customer, whether it was chosen."""
    judged: NDArray[np.bool_]
    """By row of the data set, whether it is a judged row of such a customer."""
    weights: NDArray[np.float64]
    """By code of the customer: the number of judged rows for which one row of it stands."""


def choose(dataset: Dataset, judged: NDArray[np.bool_], seed: int) -> Sample:
    """Return a random sample of customers: up to half of the rows are of customers with a judged fraud.

    Args:
        dataset: the whole history.
        judged: true for the judged rows, at least one.
        seed: seed of the choice.
    """
    rng = np.random.default_rng(seed)
    codes, first = dataset.customer.codes, int(np.flatnonzero(judged)[0])
    count = len(dataset.customer.names)
    before, since = np.bincount(codes[:first], minlength=count), np.bincount(codes[first:], minlength=count)
    rows = np.bincount(codes[judged], minlength=count)
    frauds = np.bincount(codes[judged & (dataset.labels == FRAUD)], minlength=count)
    chosen, weights = np.zeros(count, dtype=np.bool_), np.zeros(count)
    for stratum in ((rows > 0) & (frauds > 0), (rows > 0) & (frauds == 0)):
        order = rng.permutation(np.flatnonzero(stratum))
        fits = (np.cumsum(before[order]) <= HISTORY_ROWS // 2) & (np.cumsum(since[order]) <= PERIOD_ROWS // 2)
        fits[:1] = True
        taken = order[fits]
        chosen[taken] = True
        if len(taken):
            weights[taken] = rows[stratum].sum() / rows[taken].sum()
    history = np.flatnonzero(chosen[codes[:first]])
    return Sample(first, history, chosen, judged & chosen[codes], weights)
