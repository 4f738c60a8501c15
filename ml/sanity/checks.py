"""Runs all checks of a data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ml.dataset import UNKNOWN
from ml.sanity.groups import customers_with_only_fraud, dates_sort_categories, has_both, mostly_fraud
from ml.sanity.ids import labels_follow_ids
from ml.sanity.single_columns import one_column_ranks

if TYPE_CHECKING:
    from ml.dataset import Dataset
    from ml.sanity.finding import Finding


def check_dataset(dataset: Dataset) -> list[Finding]:
    """Return the warnings about a data set; an empty list if every check passes.

    A data set without frauds or without genuine rows is checked for dates that sort categories only.

    Args:
        dataset: rows in any order.
    """
    rows = dataset.where(np.argsort(dataset.event_time_ms, kind="stable"))  # late rows are in the order of arrival
    findings = list(dates_sort_categories(rows))
    rows = rows.where(rows.labels != UNKNOWN)
    if not has_both(rows):
        return findings
    return [
        *mostly_fraud(rows),
        *findings,
        *customers_with_only_fraud(rows),
        *one_column_ranks(rows),
        *labels_follow_ids(rows),
    ]
