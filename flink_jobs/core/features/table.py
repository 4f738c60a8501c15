"""The table of features: what each means, in which unit and range, and what stands in for one that is absent."""

from typing import Final, NamedTuple

MIN_AMOUNTS: Final = 5
"""Amounts in this currency before a z-score or a ratio means anything."""
MIN_HOURS: Final = 10
"""Transactions before a customer has usual hours, and usual categories."""
USUAL_HOURS_RADIUS: Final = 2
"""Hours on each side of the clock that count as "about this time"."""
PLACE_UNCERTAINTY_KM: Final = 50.0
"""A merchant's registered place is not where the terminal stands; this much distance proves nothing."""
MAX_ZSCORE: Final = 100.0
MAX_RATIO: Final = 1000.0
MAX_SURPRISE: Final = 10.0
MAX_DOUBLINGS: Final = 20.0
USUAL_SURPRISE: Final = 0.8
"""Mean distance from the mean, in standard deviations, of a normal variable: what ordinary purchases show."""
FIRST_NIGHT_HOUR, NIGHT_HOURS = 22, 6
"""The night begins at 22:00 UTC and ends before 04:00."""


class FeatureSpec(NamedTuple):
    """What a feature means, for people, training and the model's input."""

    name: str
    unit: str
    low: float
    high: float
    neutral: float
    """Value given to the model when the feature is absent: the one of an unremarkable transaction."""
    without_history: str
    meaning: str


_FEW_AMOUNTS: Final = f"absent below {MIN_AMOUNTS} amounts in the currency"
_FIRST_AMOUNT: Final = "absent for the first amount in the currency"

FEATURES: Final = (
    FeatureSpec(
        "amount_zscore", "standard deviations", -MAX_ZSCORE, MAX_ZSCORE, 0.0, _FEW_AMOUNTS,
        "distance of the amount from the customer's mean amount in this currency",
    ),
    FeatureSpec(
        "velocity_count", "transactions", 1.0, 33.0, 1.0, "1",
        "transactions of the customer in the hour up to this event time, this one included",
    ),
    FeatureSpec(
        "time_deviation", "ratio", 0.0, 1.0, 0.5, f"absent below {MIN_HOURS} transactions",
        f"share of the customer's history more than {USUAL_HOURS_RADIUS} hours of the clock away (circular)",
    ),
    FeatureSpec(
        "geo_speed_kmh", "km/h", 0.0, 239_582.0, 0.0, "absent without a location now and before",
        f"great-circle distance from the last place, less {PLACE_UNCERTAINTY_KM:.0f} km, over the time between",
    ),
    FeatureSpec(
        "is_blacklisted", "0 or 1", 0.0, 1.0, 0.0, "0",
        "whether the customer, merchant or country is on a blacklist",
    ),
    FeatureSpec(
        "amount_ratio", "ratio", 0.0, MAX_RATIO, 1.0, _FEW_AMOUNTS,
        "amount over the customer's mean amount in this currency",
    ),
    FeatureSpec(
        "category_surprise", "standard deviations", 0.0, MAX_SURPRISE, USUAL_SURPRISE, _FIRST_AMOUNT,
        "distance, up or down, of the amount's logarithm from what the customer usually pays in this category",
    ),
    FeatureSpec(
        "category_share", "ratio", 0.0, 1.0, 0.1,
        f"absent below {MIN_HOURS} transactions, and without a category",
        "share of the customer's transactions that fall into this category",
    ),
    FeatureSpec(
        "is_night", "0 or 1", 0.0, 1.0, 0.0, "known of every transaction",
        f"whether it is between {FIRST_NIGHT_HOUR}:00 and {(FIRST_NIGHT_HOUR + NIGHT_HOURS) % 24:02}:00 UTC",
    ),
    FeatureSpec(
        "night_share_24h", "ratio", 0.0, 1.0, 0.0, "1/6 or 1/2",
        "share of night among the transactions of the last 24 hours, this one included, drawn towards 1/4",
    ),
    FeatureSpec(
        "surprise_24h", "standard deviations", 0.0, MAX_SURPRISE, USUAL_SURPRISE, f"{USUAL_SURPRISE:g}",
        f"mean `category_surprise` of the last 24 hours, this one included, drawn towards {USUAL_SURPRISE:g}",
    ),
    FeatureSpec(
        "spend_24h", "doublings", -MAX_DOUBLINGS, MAX_DOUBLINGS, 0.0, _FIRST_AMOUNT,
        "how often the amount of the last 24 hours, this one included, doubles what the customer spends in a day",
    ),
    FeatureSpec(
        "velocity_24h_ratio", "ratio", 0.0, 100.0, 1.0, "1",
        "transactions of the last 24 hours, this one included, over the customer's usual number in a day",
    ),
)  # fmt: skip
"""The features in the order of the vector. New ones come at the end; a released one keeps its name and meaning."""

FEATURE_NAMES: Final = tuple(spec.name for spec in FEATURES)
NEUTRAL_VALUES: Final = tuple(spec.neutral for spec in FEATURES)
