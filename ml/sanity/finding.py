"""A warning about the data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Check(StrEnum):
    """Checks of the data; the values are stable."""

    MOSTLY_FRAUD_CATEGORY = "mostly_fraud_category"
    MOSTLY_FRAUD_MERCHANT = "mostly_fraud_merchant"
    MOSTLY_FRAUD_DAY = "mostly_fraud_day"
    DATES_SORT_CATEGORIES = "dates_sort_categories"
    CUSTOMERS_WITH_ONLY_FRAUD = "customers_with_only_fraud"
    ONE_COLUMN_RANKS = "one_column_ranks"
    LABELS_FOLLOW_IDS = "labels_follow_ids"


@dataclass(frozen=True, slots=True)
class Finding:
    """One warning.

    Attributes:
        check: the check that warns.
        message: what was found, with numbers, and what it means for a model.
        examples: the categories, merchants, days, customers or columns, the worst first; at most ``SHOWN``.
    """

    check: Check
    message: str
    examples: tuple[str, ...]


SHOWN = 5
"""Largest number of examples in a warning."""


def examples_of(names: list[str]) -> tuple[str, ...]:
    """Return the first names, and the number of the others."""
    shown = names[:SHOWN]
    return (*shown, f"{len(names) - SHOWN:,} more") if len(names) > SHOWN else tuple(shown)
