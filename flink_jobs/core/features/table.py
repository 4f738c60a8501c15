"""The table of features: meaning, unit, range, and the value that replaces an absent feature."""

from typing import Final, NamedTuple

MIN_AMOUNTS: Final = 5
"""Amounts in a currency that a z-score or a ratio needs."""
MIN_HOURS: Final = 10
"""Transactions that the usual hours and categories of a customer need."""
USUAL_HOURS_RADIUS: Final = 2
"""Hours before and after an hour of the day that count as the same time of day."""
PLACE_UNCERTAINTY_KM: Final = 50.0
"""Distance that is ignored: a merchant's registered address can be this far from its terminal."""
MAX_ZSCORE: Final = 100.0
MAX_RATIO: Final = 1000.0
MAX_SURPRISE: Final = 10.0
MAX_DOUBLINGS: Final = 20.0
USUAL_SURPRISE: Final = 0.8
"""Mean distance from the mean of a normal variable, in standard deviations: the value of ordinary purchases."""
FIRST_NIGHT_HOUR, NIGHT_HOURS = 22, 6
"""The night begins at 22:00 UTC and ends before 04:00."""


class FeatureSpec(NamedTuple):
    """One feature, as documentation, training and the model input use it."""

    name: str
    unit: str
    low: float
    high: float
    neutral: float
    """Value that the model gets for an absent feature: that of an ordinary transaction."""
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
        "transactions of the customer in the hour before this event time, including this one",
    ),
    FeatureSpec(
        "time_deviation", "ratio", 0.0, 1.0, 0.5, f"absent below {MIN_HOURS} transactions",
        f"share of the customer's history more than {USUAL_HOURS_RADIUS} hours of the clock away (circular)",
    ),
    FeatureSpec(
        "geo_speed_kmh", "km/h", 0.0, 239_582.0, 0.0, "absent without a location of this and an earlier transaction",
        f"great-circle distance from the last location, less {PLACE_UNCERTAINTY_KM:.0f} km, over the time between",
    ),
    FeatureSpec(
        "is_blacklisted", "0 or 1", 0.0, 1.0, 0.0, "0",
        "1 if the customer, merchant or country is on a blacklist, else 0",
    ),
    FeatureSpec(
        "amount_ratio", "ratio", 0.0, MAX_RATIO, 1.0, _FEW_AMOUNTS,
        "amount divided by the customer's mean amount in this currency",
    ),
    FeatureSpec(
        "category_surprise", "standard deviations", 0.0, MAX_SURPRISE, USUAL_SURPRISE, _FIRST_AMOUNT,
        "absolute distance of the amount's logarithm from the customer's usual value in this category",
    ),
    FeatureSpec(
        "category_share", "ratio", 0.0, 1.0, 0.1,
        f"absent below {MIN_HOURS} transactions, and without a category",
        "share of this category among the customer's transactions",
    ),
    FeatureSpec(
        "is_night", "0 or 1", 0.0, 1.0, 0.0, "never absent",
        f"1 for an event time between {FIRST_NIGHT_HOUR}:00 and {(FIRST_NIGHT_HOUR + NIGHT_HOURS) % 24:02}:00 UTC",
    ),
    FeatureSpec(
        "night_share_24h", "ratio", 0.0, 1.0, 0.0, "1/6 or 1/2",
        "share of night transactions in the last 24 hours, including this one, smoothed towards 1/4",
    ),
    FeatureSpec(
        "surprise_24h", "standard deviations", 0.0, MAX_SURPRISE, USUAL_SURPRISE, f"{USUAL_SURPRISE:g}",
        f"mean `category_surprise` of the last 24 hours, including this one, smoothed towards {USUAL_SURPRISE:g}",
    ),
    FeatureSpec(
        "spend_24h", "doublings", -MAX_DOUBLINGS, MAX_DOUBLINGS, 0.0, _FIRST_AMOUNT,
        "log2 of the amount of the last 24 hours, including this one, divided by the customer's usual amount per day",
    ),
    FeatureSpec(
        "velocity_24h_ratio", "ratio", 0.0, 100.0, 1.0, "1",
        "transactions of the last 24 hours, including this one, divided by the customer's usual number per day",
    ),
)  # fmt: skip
"""The features in the order of the vector. New features are appended; a released one keeps its name and meaning."""

FEATURE_NAMES: Final = tuple(spec.name for spec in FEATURES)
NEUTRAL_VALUES: Final = tuple(spec.neutral for spec in FEATURES)
