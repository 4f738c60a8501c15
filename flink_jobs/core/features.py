"""A transaction and its customer's past, as six numbers.

``extract_features`` is the only place where features are computed: the stream and the training replay both call it,
so what is trained is what is served. A feature without a value is ``None`` and says why; only the model, which needs
a number, gets the neutral value of the table below.
"""

from collections.abc import Callable, Sequence
from math import asin, cos, radians, sin, sqrt
from typing import Final, NamedTuple

from flink_jobs.core.reasons import AbsenceReason
from flink_jobs.core.state import CustomerFraudState
from flink_jobs.core.transaction import Transaction

VELOCITY_WINDOW_MS: Final = 3_600_000
"""Length of the trailing window of ``velocity_count``: one hour."""
MIN_AMOUNTS: Final = 5
"""Amounts in this currency before a z-score or a ratio means anything."""
MIN_HOURS: Final = 10
"""Transactions before a customer has usual hours."""
USUAL_HOURS_RADIUS: Final = 2
"""Hours on each side of the clock that count as "about this time"."""
PLACE_UNCERTAINTY_KM: Final = 50.0
"""A merchant's registered place is not where the terminal stands; this much distance proves nothing."""
MIN_TRAVEL_MS: Final = 300_000
"""Two authorisations may be time-stamped minutes apart by different clocks; five minutes is the least taken."""
EARTH_RADIUS_KM: Final = 6371.0088
_MAX_ZSCORE: Final = 100.0
_MAX_RATIO: Final = 1000.0
_SMALLEST_STD_RATIO: Final = 0.01


class FeatureVector(NamedTuple):
    """The features of one transaction, in model order; ``None`` is "no value", never zero."""

    amount_zscore: float | None
    velocity_count: float | None
    time_deviation: float | None
    geo_speed_kmh: float | None
    is_blacklisted: float | None
    amount_ratio: float | None


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


FEATURES: Final = (
    FeatureSpec(
        "amount_zscore", "standard deviations", -_MAX_ZSCORE, _MAX_ZSCORE, 0.0,
        f"absent below {MIN_AMOUNTS} amounts in the currency",
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
        "amount_ratio", "ratio", 0.0, _MAX_RATIO, 1.0, f"absent below {MIN_AMOUNTS} amounts in the currency",
        "amount over the customer's mean amount in this currency",
    ),
)  # fmt: skip
"""The table of features; its order is the order of the model's input."""

FEATURE_NAMES: Final = tuple(spec.name for spec in FEATURES)
NEUTRAL_VALUES: Final = tuple(spec.neutral for spec in FEATURES)

ModelInput = tuple[float, ...]


def extract_features(
    state: CustomerFraudState,
    transaction: Transaction,
    amount: float,
    is_blacklisted: Callable[[Transaction], bool],
) -> FeatureVector:
    """Compute the features of a transaction against the state before it.

    Args:
        state: the customer's history, not yet holding this transaction.
        transaction: the event; it may be older than what the state has seen.
        amount: its amount in major units.
        is_blacklisted: tells whether the transaction touches a blacklisted customer, merchant or country.
    """
    time_ms = transaction.event_time_ms
    zscore = ratio = None
    stats = state.amounts.get(transaction.currency)
    if stats is not None and (count := stats.count) >= MIN_AMOUNTS:
        mean = stats.mean
        # A customer who always pays the same has no spread; one hundredth of the mean stands in for it.
        std = sqrt(stats.m2 / (count - 1))
        spread = max(std, _SMALLEST_STD_RATIO * mean)
        if spread > 0.0:
            zscore = max(-_MAX_ZSCORE, min(_MAX_ZSCORE, (amount - mean) / spread))
            ratio = min(_MAX_RATIO, amount / mean)
        else:  # only amounts of zero so far
            zscore = _MAX_ZSCORE if amount > 0.0 else 0.0
            ratio = _MAX_RATIO if amount > 0.0 else 1.0
    return FeatureVector(
        zscore,
        _velocity_count(state.recent_times_ms, time_ms),
        _time_deviation(state.hour_counts, time_ms),
        _geo_speed_kmh(state, transaction),
        1.0 if is_blacklisted(transaction) else 0.0,
        ratio,
    )


def _velocity_count(times_ms: Sequence[int], time_ms: int) -> float:
    """Count the events in ``(time - window, time]``, plus this one; later events of a late one's future are not."""
    oldest = time_ms - VELOCITY_WINDOW_MS
    count = 1
    for seen_ms in reversed(times_ms):
        if seen_ms <= oldest:
            break
        if seen_ms <= time_ms:
            count += 1
    return float(count)


def _time_deviation(hour_counts: Sequence[int], time_ms: int) -> float | None:
    total = sum(hour_counts)
    if total < MIN_HOURS:
        return None
    hour = time_ms // 3_600_000 % 24
    # Negative indices wrap around midnight by themselves; the far side needs the modulo.
    near = (
        hour_counts[hour - 2]
        + hour_counts[hour - 1]
        + hour_counts[hour]
        + hour_counts[(hour + 1) % 24]
        + hour_counts[(hour + 2) % 24]
    )
    return 1.0 - near / total


def _geo_speed_kmh(state: CustomerFraudState, transaction: Transaction) -> float | None:
    latitude, longitude = transaction.latitude, transaction.longitude
    located_at_ms = state.located_at_ms
    if latitude is None or longitude is None or located_at_ms is None:
        return None
    distance_km = great_circle_km(state.latitude, state.longitude, latitude, longitude) - PLACE_UNCERTAINTY_KM
    if distance_km <= 0.0:
        return 0.0
    # A late event lies before the last place: the speed between the two is the same either way.
    elapsed_ms = abs(transaction.event_time_ms - located_at_ms)
    return distance_km * 3_600_000.0 / max(elapsed_ms, MIN_TRAVEL_MS)


def great_circle_km(latitude1: float, longitude1: float, latitude2: float, longitude2: float) -> float:
    """Return the distance of two points in km by the haversine formula on a sphere of mean Earth radius.

    >>> round(great_circle_km(48.8566, 2.3522, 51.5074, -0.1278))
    344
    """
    phi1, phi2 = radians(latitude1), radians(latitude2)
    h = sin((phi2 - phi1) / 2.0) ** 2 + cos(phi1) * cos(phi2) * sin(radians(longitude2 - longitude1) / 2.0) ** 2
    return 2.0 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, h)))


def model_input(features: FeatureVector) -> ModelInput:
    """Return the features as the model takes them, absent ones at their neutral value."""
    if None not in features:
        return features  # type: ignore[return-value]  # the check above is the proof mypy cannot see
    return tuple(neutral if value is None else value for value, neutral in zip(features, NEUTRAL_VALUES, strict=True))


def absences(features: FeatureVector, transaction: Transaction) -> dict[str, AbsenceReason]:
    """Return why each absent feature has no value."""
    reasons: dict[str, AbsenceReason] = {}
    for name, value in zip(FEATURE_NAMES, features, strict=True):
        if value is not None:
            continue
        if name != "geo_speed_kmh":
            reasons[name] = AbsenceReason.INSUFFICIENT_HISTORY
        elif transaction.latitude is None:
            reasons[name] = AbsenceReason.NO_LOCATION
        else:
            reasons[name] = AbsenceReason.NO_PREVIOUS_LOCATION
    return reasons
