"""Thresholds of libraries that round their inputs to float32, as thresholds of doubles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flink_jobs.core.models.trees.linked_trees import float32_boundary

if TYPE_CHECKING:
    from numpy.typing import NDArray


def below(thresholds: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return for each threshold the largest double that is less than it after rounding to float32."""
    return float32_boundary(np.nextafter(thresholds, np.float32(-np.inf)).astype(np.float64))
