"""Checks groups of rows: categories, merchants and days that are almost only fraud, and dates that sort categories."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import numpy as np

from ml.columns import NOTHING
from ml.dataset import DAY_MS, FRAUD, GENUINE
from ml.sanity.finding import Check, Finding, examples_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ml.columns import Coded
    from ml.dataset import Dataset

MOSTLY: Final = 0.9
"""Share of frauds from which a group is almost only fraud."""
MIN_ROWS: Final = 20
MIN_CUSTOMERS: Final = 5
"""A group with frauds of fewer customers can be one thief."""
CHANCE: Final = 1e-4
"""A group counts only if it is less probable than this, given the fraud rate and the number of groups."""
HALVES: Final = ("the whole file", "the earlier half", "the later half")
MAX_DATE_DISTANCE: Final = 0.5
"""Kolmogorov-Smirnov distance of a category's dates from all dates; 1 is a category after all others."""
MIN_SORTED_SHARE: Final = 0.05
"""Share of the genuine rows in such categories from which the check warns: a few categories can be of one season."""
MIN_CATEGORY_ROWS: Final = 20
MIN_CUSTOMER_ROWS: Final = 3
MIN_CUSTOMER_SHARE: Final = 0.02
"""Share of the customers with only frauds from which the check warns: a new card can be stolen in the post."""


def mostly_fraud(rows: Dataset) -> Iterator[Finding]:
    """Yield a warning for categories, for merchants and for days that are almost only fraud.

    Args:
        rows: labelled rows, at least one.
    """
    middle = float(np.median(rows.event_time_ms))
    masks = (np.ones(len(rows), dtype=np.bool_), rows.event_time_ms < middle, rows.event_time_ms >= middle)
    fraud = rows.labels == FRAUD
    for check, what, column in (
        (Check.MOSTLY_FRAUD_CATEGORY, "categories", rows.category),
        (Check.MOSTLY_FRAUD_MERCHANT, "merchants", rows.merchant),
    ):
        found: dict[str, str] = {}
        for place, mask in zip(HALVES, masks, strict=True):
            chosen = mask & (column.codes != NOTHING)
            for code, count, frauds in _mostly(column.codes[chosen], fraud[chosen], rows.customer.codes[chosen]):
                name = column.names[code]
                found.setdefault(name, f"{name} ({frauds:,} of {count:,} rows in {place})")
        if found:
            message = (
                f"{len(found):,} {what} are almost only fraud: a model that uses the {what} learns the data's defect"
            )
            yield Finding(check, message, examples_of(list(found.values())))
    days = rows.event_time_ms // DAY_MS
    bad = [
        f"{datetime.fromtimestamp(day * 86_400, UTC).date()} ({frauds:,} of {count:,} rows)"
        for day, count, frauds in _mostly(days, fraud, rows.customer.codes)
    ]
    if bad:
        message = (
            f"{len(bad):,} days are almost only fraud: genuine rows of these days are missing, or labels are wrong"
        )
        yield Finding(Check.MOSTLY_FRAUD_DAY, message, examples_of(bad))


def _mostly(
    codes: NDArray[np.int64] | NDArray[np.int32], fraud: NDArray[np.bool_], customers: NDArray[np.int32]
) -> list[tuple[int, int, int]]:
    """Return code, rows and frauds of the groups that are almost only fraud, the largest first."""
    if not len(codes):
        return []
    names, place, counts = np.unique(codes, return_inverse=True, return_counts=True)
    frauds = np.bincount(place, weights=fraud, minlength=len(names)).astype(np.int64)
    victims = np.unique(np.column_stack([place[fraud], customers[fraud]]), axis=0)[:, 0]
    victim_counts = np.bincount(victims, minlength=len(names))
    # Frauds of one customer are not independent, so the probability counts customers.
    chance = fraud.mean() ** victim_counts * len(names)
    bad = (counts >= MIN_ROWS) & (frauds >= MOSTLY * counts) & (victim_counts >= MIN_CUSTOMERS) & (chance < CHANCE)
    order = np.flatnonzero(bad)[np.argsort(-counts[bad], kind="stable")]
    return [(int(names[at]), int(counts[at]), int(frauds[at])) for at in order]


def dates_sort_categories(rows: Dataset) -> Iterator[Finding]:
    """Yield a warning if categories have dates of their own: the category then tells the date, and the date the fraud.

    Only rows that are not labelled fraud count. The distance is that of Kolmogorov and Smirnov, which is 1 if all other
    rows are earlier.

    Args:
        rows: all rows.
    """
    used = (rows.labels != FRAUD) & (rows.category.codes != NOTHING)
    codes, times = rows.category.codes[used], rows.event_time_ms[used]
    if not len(codes):
        return
    everything = np.sort(times)
    found = []
    for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
        if count < MIN_CATEGORY_ROWS:
            continue
        own = np.sort(times[codes == code])
        expected = np.searchsorted(everything, own, side="right") / len(everything)
        steps = np.arange(1, count + 1) / count
        distance = float(max((steps - expected).max(), (expected - steps + 1.0 / count).max()))
        if distance >= MAX_DATE_DISTANCE:
            found.append((distance, int(count), rows.category.names[code]))
    share = sum(count for _, count, _ in found) / len(codes)
    if share < MIN_SORTED_SHARE:
        return
    found.sort(reverse=True)
    names = [f"{name} (distance {distance:.2f}, {count:,} genuine rows)" for distance, count, name in found]
    message = (
        f"the dates of {len(found):,} categories differ from all dates ({share:.0%} of the genuine rows): "
        "a fraud then stands out by its category's date, which real purchases do not have"
    )
    yield Finding(Check.DATES_SORT_CATEGORIES, message, examples_of(names))


def customers_with_only_fraud(rows: Dataset) -> Iterator[Finding]:
    """Yield a warning if customers have frauds and no genuine row: they have no habits to compare with.

    Args:
        rows: labelled rows, at least one.
    """
    column: Coded = rows.customer
    counts = np.bincount(column.codes, minlength=len(column.names))
    frauds = np.bincount(column.codes, weights=rows.labels == FRAUD, minlength=len(column.names))
    bad = np.flatnonzero((counts >= MIN_CUSTOMER_ROWS) & (frauds == counts))
    if len(bad) < MIN_CUSTOMERS or len(bad) < MIN_CUSTOMER_SHARE * (counts > 0).sum():
        return
    share = frauds[bad].sum() / max(1.0, frauds.sum())
    names = [f"{column.names[code]} ({counts[code]:,} rows)" for code in bad[np.argsort(-counts[bad], kind="stable")]]
    message = (
        f"{len(bad):,} of {(counts > 0).sum():,} customers have nothing but fraud, {share:.0%} of all frauds: "
        "a model learns that customers without history are fraud"
    )
    yield Finding(Check.CUSTOMERS_WITH_ONLY_FRAUD, message, examples_of(names))


def has_both(rows: Dataset) -> bool:
    """Return whether the rows hold frauds and genuine rows."""
    return bool(np.isin([FRAUD, GENUINE], rows.labels).all())
