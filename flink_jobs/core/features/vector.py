"""A transaction and its customer's past, as a vector of numbers.

``extract_features`` is the only place where features are computed: the stream and the training replay both call it,
so what is trained is what is served. A feature without a value is ``None`` and says why; only the model, which needs
a number, gets the neutral value of ``feature_table``.
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
"""Two authorisations may be time-stamped minutes apart by different clocks; five minutes is the least taken."""
_SMALLEST_STD_RATIO: Final = 0.01
_SMALLEST_VARIANCE: Final = 0.05
"""Of a logarithm: nobody's purchases in a category are alike to less than a fifth."""
_CATEGORY_PRIOR: Final = 2.0
"""A category's own mean counts as much as the customer's overall one once it was seen this often."""
_SPREAD_PRIOR: Final = 4.0
_USUAL_VARIANCE: Final = 0.7
"""Variance of the logarithm of amounts within a category, before anything is known of the customer."""
_BURST_PRIOR: Final = 2.0
"""Ordinary transactions that are added to a day before its mean is taken: one alone proves little."""
_USUAL_NIGHT: Final = 0.25
_NEW_DAYS: Final = 3.0
"""Days added to a customer's age before a rate is taken, as if there had been one transaction in them."""


class FeatureVector(NamedTuple):
    """The features of one transaction, in the order of ``FEATURES``; ``None`` is "no value", never zero."""

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
    """Compute the features of a transaction against the state before it, in a few microseconds.

    Args:
        state: the customer's history, not yet holding this transaction.
        transaction: the event; it may be older than what the state has seen.
        amount: its amount in major units.
        is_blacklisted: tells whether the transaction touches a blacklisted customer, merchant or country.
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
    """Return z-score and ratio of an amount against the customer's amounts in its currency."""
    mean = stats.mean
    # A customer who always pays the same has no spread; one hundredth of the mean stands in for it.
    spread = max(sqrt(stats.m2 / (stats.count - 1)), _SMALLEST_STD_RATIO * mean)
    if spread > 0.0:
        return max(-MAX_ZSCORE, min(MAX_ZSCORE, (amount - mean) / spread)), min(MAX_RATIO, amount / mean)
    return (MAX_ZSCORE, MAX_RATIO) if amount > 0.0 else (0.0, 1.0)  # only amounts of zero so far


def _surprise(overall: RunningStats, habits: CategoryHabits, place: int, bought: int, amount: float) -> float:
    """Return how many deviations the logarithm of the amount lies from the customer's habit in the category.

    A category seen rarely borrows: its mean from all the customer's amounts in the currency, its spread from the
    customer's other categories and from people in general. This is shrinkage in the sense of empirical Bayes, with
    fixed weights.

    Args:
        overall: logarithms of the customer's amounts in the currency, at least one.
        habits: per category.
        place: of this category in ``habits``, -1 when it was never seen.
        bought: purchases in all categories.
        amount: major units.
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
    """Look back from an event time, which may lie before later events that have already arrived.

    Returns:
        Of the events in ``(time - window, time]``: how many in an hour; how many in 24 hours, how many of those at
        night, the sum of their surprises, and of their amounts in units of what the customer typically pays.
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
    return distance_km * HOUR_MS / max(elapsed_ms, MIN_TRAVEL_MS)


def surprise_of(features: FeatureVector) -> float:
    """Return what the state remembers of how unusual a transaction was."""
    surprise = features.category_surprise
    return USUAL_SURPRISE if surprise is None else surprise


def absences(features: FeatureVector, transaction: Transaction) -> dict[str, AbsenceReason]:
    """Return why each absent feature has no value."""
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
