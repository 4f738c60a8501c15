"""The labels of a data set that were known at a given time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ml.dataset import DAY_MS, UNKNOWN

if TYPE_CHECKING:
    from ml.dataset import Dataset


def known_at(dataset: Dataset, cut_ms: int, label_delay_days: float) -> Dataset:
    """Return the rows with only the labels that were known at a given time.

    Args:
        dataset: rows before that time.
        cut_ms: the time, UTC milliseconds.
        label_delay_days: days after its transaction when a label becomes known.
    """
    too_young = dataset.event_time_ms > cut_ms - round(label_delay_days * DAY_MS)
    return replace(dataset, labels=np.where(too_young, UNKNOWN, dataset.labels).astype(np.int8))
