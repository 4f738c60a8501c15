"""Computes the features of a transaction from the transaction and its customer's state.

Only ``extract_features`` computes features. The stream and the training replay both call it, so training and serving
use the same features. A feature without a value is ``None``, and ``absences`` gives the reason; the model, which needs
a number, gets the neutral value of ``features.table`` instead.
"""

from collections.abc import Callable, Sequence
from math import log2, sqrt
from typing import Final, NamedTuple

from flink_jobs.core.features.geography import great_circle_km
from flink_jobs.core.features.table import (
    FEATURE_NAMES,
    FIRST_NIGHT_HOUR,
    MAX_DOUBLINGS,
    MAX_RATIO,
    MAX_SURPRISE,
    MAX_ZSCORE,
    MIN_AMOUNTS,
    MIN_HOURS,
    NIGHT_HOURS,
    PLACE_UNCERTAINTY_KM,
    USUAL_SURPRISE,
)
from flink_jobs.core.reasons import AbsenceReason
from flink_jobs.core.state.category_habits import CategoryHabits, category_key, log_amount
from flink_jobs.core.state.customer import HOUR_MS, CustomerFraudState
from flink_jobs.core.state.running_stats import RunningStats
from flink_jobs.core.transaction import Transaction

DAY_MS: Final = 24 * HOUR_MS
VELOCITY_WINDOW_MS: Final = HOUR_MS
"""Length of the trailing window of ``velocity_count``: one hour."""
MIN_TRAVEL_MS: Final = 300_000
"""Least travel time: the clocks of two terminals can differ by minutes, so 5 minutes are assumed."""
_SMALLEST_STD_RATIO: Final = 0.01
_SMALLEST_VARIANCE: Final = 0.05
"""Least variance of the logarithm of amounts: purchases in a category vary by at least a fifth."""
_CATEGORY_PRIOR: Final = 2.0
"""Purchases of a category after which its own mean weighs as much as the customer's overall mean."""
_SPREAD_PRIOR: Final = 4.0
_USUAL_VARIANCE: Final = 0.7
"""Variance of the logarithm of amounts within a category, for a customer without history."""
_BURST_PRIOR: Final = 2.0
"""Ordinary transactions that are added to a day before its mean is taken, so one transaction weighs less."""
_USUAL_NIGHT: Final = 0.25
_NEW_DAYS: Final = 3.0
"""Days that are added to a customer's age before a rate is taken, together with one transaction."""


class FeatureVector(NamedTuple):
    """The features of one transaction, in the order of ``FEATURES``; ``None`` means "no value", never zero."""

    amount_zscore: float | None
    velocity_count: float | None
    time_deviation: float | None
    geo_speed_kmh: float | None
    is_blacklisted: float | None
    amount_ratio: float | None
    category_surprise: float | None = None
    category_share: float | None = None
    is_night: float | None = None
    night_share_24h: float | None = None
    surprise_24h: float | None = None
    spend_24h: float | None = None
    velocity_24h_ratio: float | None = None


def extract_features(
    state: CustomerFraudState,
    transaction: Transaction,
    amount: float,
    is_blacklisted: Callable[[Transaction], bool],
) -> FeatureVector:
    """Return the features of a transaction against the state before it, in a few microseconds.

    Args:
        state: the customer's state, without this transaction.
        transaction: the transaction; its event time may be earlier than others in the state.
        amount: its amount in major units.
        is_blacklisted: returns whether the customer, merchant or country of a transaction is blacklisted.
    """
    time_ms, currency = transaction.event_time_ms, transaction.currency
    category, habits = transaction.category, state.habits
    place = -1 if category is None else habits.place(category_key(category, currency))
    bought = sum(habits.counts)
    zscore = ratio = surprise = None
    stats = state.amounts.get(currency)
    if stats is not None:
        surprise = _surprise(state.log_amounts[currency], habits, place, bought, amount)
        if stats.count >= MIN_AMOUNTS:
            zscore, ratio = _amount_habits(stats, amount)
    is_night = 1.0 if (time_ms // HOUR_MS - FIRST_NIGHT_HOUR) % 24 < NIGHT_HOURS else 0.0
    hour_count, day_count, nights, surprises, spent = _recent(state, time_ms)
    first_seen_ms = state.first_seen_ms
    age_days = max(0.0, (time_ms - first_seen_ms) / DAY_MS) if first_seen_ms is not None else 0.0
    per_day = (state.seen_count + 1.0) / (age_days + _NEW_DAYS)
    weight = day_count + 1.0 + _BURST_PRIOR
    now_surprise = USUAL_SURPRISE if surprise is None else surprise
    category_share = spend = None
    if category is not None and bought >= MIN_HOURS:
        category_share = habits.counts[place] / bought if place >= 0 else 0.0
    if surprise is not None:
        spend = _doublings((spent + state.typical_multiple(currency, amount)) / max(per_day, 1.0))
    return _vector(
        amount_zscore=zscore,
        velocity_count=float(hour_count + 1),
        time_deviation=_time_deviation(state.hour_counts, time_ms),
        geo_speed_kmh=_geo_speed_kmh(state, transaction),
        is_blacklisted=1.0 if is_blacklisted(transaction) else 0.0,
        amount_ratio=ratio,
        category_surprise=surprise,
        category_share=category_share,
        is_night=is_night,
        night_share_24h=(nights + is_night + _BURST_PRIOR * _USUAL_NIGHT) / weight,
        surprise_24h=(surprises + now_surprise + _BURST_PRIOR * USUAL_SURPRISE) / weight,
        spend_24h=spend,
        velocity_24h_ratio=min(100.0, (day_count + 1.0) / max(per_day, 1.0)),
    )


def _vector(  # noqa: PLR0913 - one parameter for each feature
    *,
    amount_zscore: float | None,
    velocity_count: float | None,
    time_deviation: float | None,
    geo_speed_kmh: float | None,
    is_blacklisted: float | None,
    amount_ratio: float | None,
    category_surprise: float | None,
    category_share: float | None,
    is_night: float | None,
    night_share_24h: float | None,
    surprise_24h: float | None,
    spend_24h: float | None,
    velocity_24h_ratio: float | None,
) -> FeatureVector:
    """Build a vector by the names of its features.

    The compiler resolves these keyword arguments when it compiles. ``FeatureVector`` itself would look them up for
    every transaction, which takes 0.5 us.
    """
    return FeatureVector(
        amount_zscore, velocity_count, time_deviation, geo_speed_kmh, is_blacklisted, amount_ratio, category_surprise,
        category_share, is_night, night_share_24h, surprise_24h, spend_24h, velocity_24h_ratio,
    )  # fmt: skip


def _amount_habits(stats: RunningStats, amount: float) -> tuple[float, float]:
    """Return z-score and ratio of an amount relative to the customer's amounts in its currency."""
    mean = stats.mean
    # A customer who always pays the same amount has no spread; 1/100 of the mean replaces it.
    spread = max(sqrt(stats.m2 / (stats.count - 1)), _SMALLEST_STD_RATIO * mean)
    if spread > 0.0:
        return max(-MAX_ZSCORE, min(MAX_ZSCORE, (amount - mean) / spread)), min(MAX_RATIO, amount / mean)
    return (MAX_ZSCORE, MAX_RATIO) if amount > 0.0 else (0.0, 1.0)  # only amounts of zero so far


def _surprise(overall: RunningStats, habits: CategoryHabits, place: int, bought: int, amount: float) -> float:
    """Return the distance of the amount's logarithm from the customer's habit, in standard deviations.

    A rare category has little data of its own: its mean is blended with the mean of all the customer's amounts in the
    currency, its spread with the customer's other categories and a constant for all customers. This is empirical Bayes
    shrinkage with fixed weights.

    Args:
        overall: statistics of the logarithms of the customer's amounts in the currency, at least one.
        habits: the habits per category.
        place: index of this category in ``habits``, -1 for a new category.
        bought: number of purchases in all categories.
        amount: the amount in major units.
    """
    overall_variance = (overall.m2 + _SPREAD_PRIOR * _USUAL_VARIANCE) / (overall.count - 1 + _SPREAD_PRIOR)
    count, mean, m2 = 0, 0.0, 0.0
    if place >= 0:
        count, mean, m2 = habits.counts[place], habits.means[place], habits.m2s[place]
    own = count / (count + _CATEGORY_PRIOR)
    freedom = bought - len(habits.keys)
    pooled = (sum(habits.m2s) + _SPREAD_PRIOR * _USUAL_VARIANCE) / (freedom + _SPREAD_PRIOR)
    variance = (m2 + _SPREAD_PRIOR * pooled) / (max(count - 1, 0) + _SPREAD_PRIOR) + (1.0 - own) * overall_variance
    expected = own * mean + (1.0 - own) * overall.mean
    return min(MAX_SURPRISE, abs(log_amount(amount) - expected) / sqrt(variance + _SMALLEST_VARIANCE))


def _recent(state: CustomerFraudState, time_ms: int) -> tuple[int, int, int, float, float]:
    """Summarise the transactions in the hour and in the 24 hours up to an event time.

    Later transactions may have arrived already; they do not count.

    Returns:
        The number of transactions in the hour; and of those in 24 hours: their number, the number at night, the sum of
        their surprises, and the sum of their amounts in units of the customer's typical amount.
    """
    hour_ago, day_ago = time_ms - VELOCITY_WINDOW_MS, time_ms - DAY_MS
    hour_count = day_count = nights = 0
    surprises = spent = 0.0
    times, marks, multiples = state.recent_times_ms, state.recent_surprises, state.recent_multiples
    for place in range(len(times) - 1, -1, -1):
        seen_ms = times[place]
        if seen_ms <= day_ago:
            break
        if seen_ms <= time_ms:
            day_count += 1
            surprises += marks[place]
            spent += multiples[place]
            if seen_ms > hour_ago:
                hour_count += 1
            if (seen_ms // HOUR_MS - FIRST_NIGHT_HOUR) % 24 < NIGHT_HOURS:
                nights += 1
    return hour_count, day_count, nights, surprises, spent


def _doublings(ratio: float) -> float:
    return max(-MAX_DOUBLINGS, min(MAX_DOUBLINGS, log2(ratio))) if ratio > 0.0 else -MAX_DOUBLINGS


def _time_deviation(hour_counts: Sequence[int], time_ms: int) -> float | None:
    total = sum(hour_counts)
    if total < MIN_HOURS:
        return None
    hour = time_ms // HOUR_MS % 24
    # Negative indices wrap around midnight; indices above 23 need the modulo.
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
    # A late transaction is earlier than the last location; the speed between the two is the same in both directions.
    elapsed_ms = abs(transaction.event_time_ms - located_at_ms)
    return distance_km * HOUR_MS / max(elapsed_ms, MIN_TRAVEL_MS)


def surprise_of(features: FeatureVector) -> float:
    """Return the ``category_surprise`` that the state stores: the usual value where the feature is absent."""
    surprise = features.category_surprise
    return USUAL_SURPRISE if surprise is None else surprise


def absences(features: FeatureVector, transaction: Transaction) -> dict[str, AbsenceReason]:
    """Return the reason for each absent feature, by name."""
    reasons: dict[str, AbsenceReason] = {}
    for name, value in zip(FEATURE_NAMES, features, strict=True):
        if value is not None:
            continue
        if name == "category_share" and transaction.category is None:
            reasons[name] = AbsenceReason.NO_CATEGORY
        elif name != "geo_speed_kmh":
            reasons[name] = AbsenceReason.INSUFFICIENT_HISTORY
        elif transaction.latitude is None:
            reasons[name] = AbsenceReason.NO_LOCATION
        else:
            reasons[name] = AbsenceReason.NO_PREVIOUS_LOCATION
    return reasons
