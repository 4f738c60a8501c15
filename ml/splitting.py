"""Splits data sets by time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ml.dataset import Dataset


def split_by_time(dataset: Dataset, train_fraction: float) -> tuple[Dataset, Dataset]:
    """Split by event time: rows before the split train, all others are evaluated.

    Rows with equal timestamps stay on one side of the split.

    Args:
        dataset: at least one row.
        train_fraction: share of the rows to train on, in (0, 1]; with 1 the later part is empty.

    Returns:
        The earlier and the later part. The earlier part is never empty: when all rows have the same timestamp, all
        rows train.
    """
    if train_fraction >= 1.0:
        return dataset, dataset.where(np.zeros(len(dataset), dtype=np.bool_))
    ordered = np.sort(dataset.event_time_ms)
    cut = ordered[min(int(len(ordered) * train_fraction), len(ordered) - 1)]
    if cut == ordered[0]:  # the share ends among rows with the first timestamp: all of them train
        later = ordered[ordered > cut]
        cut = later[0] if len(later) else cut + 1
    early = dataset.event_time_ms < cut
    return dataset.where(early), dataset.where(~early)
