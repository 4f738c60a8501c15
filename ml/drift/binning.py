"""Bins the reference distribution of a model, and counts later values into the same bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from flink_jobs.core.models.reference import Bins

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVELS: Final = tuple(level / 20 for level in range(1, 20))
"""Quantiles that become edges: twenty bins of equal share, fewer when values repeat."""


def take_reference(values: NDArray[np.float64]) -> Bins:
    """Return the bins of a feature or a score, and the share of rows in each.

    Args:
        values: one value per row, finite, or NaN where absent.

    >>> take_reference(np.array([0.0, 0.0, 0.0, 1.0]))
    Bins(edges=(0.0, 1.0), shares=(0.75, 0.25, 0.0), absent=0.0)
    """
    present = values[~np.isnan(values)]
    # inverted_cdf returns values that occur: many features are counts, and an edge between two counts has no meaning.
    edges = np.unique(np.quantile(present, LEVELS, method="inverted_cdf")) if len(present) else np.empty(0)
    return bin_values(values, tuple(map(float, edges)))


def bin_values(values: NDArray[np.float64], edges: tuple[float, ...]) -> Bins:
    """Return the share of the values in each bin; see ``take_reference``."""
    present = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    shares = counts / max(1, len(present))
    absent = 1.0 - len(present) / len(values) if len(values) else 0.0
    return Bins(edges, tuple(map(float, shares)), absent)
