"""Own features: the interface for modules that a user writes (docs/own-features.md).

A module of own features imports from here only. Each of its functions gets the customer's statistics before a
transaction and the transaction, and returns a number, or ``None`` where it has no value.
"""

from flink_jobs.core.currencies import major_amount
from flink_jobs.core.own_features.customer_view import Amounts, Customer, Habit, Location
from flink_jobs.core.own_features.declaration import OwnFeature, OwnFeatureError, feature
from flink_jobs.core.transaction import Transaction

__all__ = [
    "Amounts",
    "Customer",
    "Habit",
    "Location",
    "OwnFeature",
    "OwnFeatureError",
    "Transaction",
    "feature",
    "major_amount",
]
