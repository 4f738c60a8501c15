"""Each feature against a calculation of its own, and the range that its table announces."""

import math
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.currencies import MINOR_UNITS, major_amount
from flink_jobs.core.features.geography import EARTH_RADIUS_KM, great_circle_km
from flink_jobs.core.features.table import FEATURE_NAMES, FEATURES, MIN_AMOUNTS, MIN_HOURS
from flink_jobs.core.features.vector import FeatureVector, _vector, absences, extract_features
from flink_jobs.core.reasons import AbsenceReason
from flink_jobs.core.replay import replay_features
from flink_jobs.core.state.customer import CustomerFraudState
from flink_jobs.core.transaction import Transaction
from tests.strategies import histories, state_after

HOUR_MS = 3_600_000
START_MS = 1_704_067_200_000  # midnight, UTC


def transaction(
    amount: int = 1_000, time_ms: int = START_MS, place: tuple[float, float] | None = None, name: str = "now"
) -> Transaction:
    latitude, longitude = place or (None, None)
    return Transaction(name, "c-1", amount, "USD", time_ms, "m-1", None, latitude, longitude, None, "US")


def features(past: list[Transaction], now: Transaction, blacklist: Blacklist | None = None) -> FeatureVector:
    amount = major_amount(now.amount_minor, now.currency)
    return extract_features(state_after(past), now, amount, (blacklist or Blacklist()).matches)


def past_amounts(*amounts: int) -> list[Transaction]:
    return [transaction(amount, START_MS + i * 10 * HOUR_MS, name=f"t-{i}") for i, amount in enumerate(amounts)]


def past_times(*times_ms: int) -> list[Transaction]:
    return [transaction(time_ms=time, name=f"t-{i}") for i, time in enumerate(times_ms)]


def test_the_table_and_the_vector_name_the_same_features_in_the_same_order() -> None:
    assert (
        FEATURE_NAMES
        == FeatureVector._fields
        == (
            "amount_zscore", "velocity_count", "time_deviation", "geo_speed_kmh", "is_blacklisted", "amount_ratio",
            "category_surprise", "category_share", "is_night", "night_share_24h", "surprise_24h", "spend_24h",
            "velocity_24h_ratio",
        )
    )  # fmt: skip
    for spec in FEATURES:
        assert spec.low <= spec.neutral <= spec.high
        assert spec.unit
        assert spec.meaning
        assert spec.without_history


def test_each_feature_reaches_the_place_of_its_name() -> None:
    values = {name: float(place) for place, name in enumerate(FEATURE_NAMES)}
    assert _vector(**values) == FeatureVector(**values) == tuple(range(len(FEATURE_NAMES)))


def test_without_any_history() -> None:
    vector = features([], transaction())
    assert vector.surprise_24h == pytest.approx(0.8)
    rest = vector._replace(surprise_24h=None)
    assert rest == FeatureVector(
        None, 1.0, None, None, 0.0, None, is_night=1.0, night_share_24h=0.5, velocity_24h_ratio=1.0
    )
    assert absences(vector, transaction()) == {
        "amount_zscore": AbsenceReason.INSUFFICIENT_HISTORY,
        "time_deviation": AbsenceReason.INSUFFICIENT_HISTORY,
        "geo_speed_kmh": AbsenceReason.NO_LOCATION,
        "amount_ratio": AbsenceReason.INSUFFICIENT_HISTORY,
        "category_surprise": AbsenceReason.INSUFFICIENT_HISTORY,
        "category_share": AbsenceReason.NO_CATEGORY,
        "spend_24h": AbsenceReason.INSUFFICIENT_HISTORY,
    }


# ---- amount_zscore, amount_ratio -----------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [0, 1, 900, 1_234, 2_500, 100_000])
def test_amounts_against_the_statistics_module(amount: int) -> None:
    past = [1_000, 2_000, 1_500, 999, 3_000, 1]
    vector = features(past_amounts(*past), transaction(amount))
    dollars = [cents / 100 for cents in past]
    assert vector.amount_zscore == pytest.approx((amount / 100 - mean(dollars)) / stdev(dollars))
    assert vector.amount_ratio == pytest.approx(amount / 100 / mean(dollars))


@pytest.mark.parametrize(("count", "is_known"), [(MIN_AMOUNTS - 1, False), (MIN_AMOUNTS, True)])
def test_amounts_are_absent_until_there_are_enough(count: int, *, is_known: bool) -> None:
    vector = features(past_amounts(*[100] * count), transaction(100))
    assert (vector.amount_zscore is not None) is is_known
    assert (vector.amount_ratio is not None) is is_known


def test_an_amount_at_the_mean_is_zero_not_absent() -> None:
    vector = features(past_amounts(100, 200, 300, 400, 500), transaction(300))
    assert (vector.amount_zscore, vector.amount_ratio) == (0.0, 1.0)
    assert "amount_zscore" not in absences(vector, transaction(300))


def test_amounts_in_another_currency_are_no_history() -> None:
    euros = [event._replace(currency="EUR") for event in past_amounts(*[100] * 10)]
    assert features(euros, transaction(100)).amount_zscore is None


def test_who_always_pays_the_same_has_a_spread_of_a_hundredth() -> None:
    vector = features(past_amounts(*[1_000] * 6), transaction(1_010))
    assert vector.amount_zscore == pytest.approx(1.0)


@pytest.mark.parametrize(("amount", "zscore", "ratio"), [(0, 0.0, 1.0), (1, 100.0, 1_000.0), (10**12, 100.0, 1_000.0)])
def test_after_nothing_but_card_verifications(amount: int, zscore: float, ratio: float) -> None:
    vector = features(past_amounts(*[0] * 6), transaction(amount))
    assert (vector.amount_zscore, vector.amount_ratio) == (zscore, ratio)


def test_amounts_are_capped() -> None:
    vector = features(past_amounts(1, 1, 1, 1, 2), transaction(10**12))
    assert (vector.amount_zscore, vector.amount_ratio) == (100.0, 1_000.0)


@given(st.permutations([100, 250, 999, 1, 50_000, 4_200]))
def test_the_order_of_past_amounts_does_not_matter(amounts: list[int]) -> None:
    vector = features(past_amounts(*amounts), transaction(7_777))
    reference = features(past_amounts(*sorted(amounts)), transaction(7_777))
    assert vector.amount_zscore == pytest.approx(reference.amount_zscore, rel=1e-12)
    assert vector.amount_ratio == pytest.approx(reference.amount_ratio, rel=1e-12)


@pytest.mark.parametrize(("code", "units"), [("USD", 100), ("JPY", 1), ("KWD", 1_000), ("CLF", 10_000)])
def test_minor_units(code: str, units: int) -> None:
    assert major_amount(12_345, code) == 12_345 / units
    assert len(MINOR_UNITS) > 150
    assert all(len(currency) == 3 and currency.isupper() for currency in MINOR_UNITS)


# ---- velocity_count ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ages_ms", "count"),
    [
        ((), 1),
        ((0,), 2),
        ((HOUR_MS - 1,), 2),
        ((HOUR_MS,), 1),
        ((HOUR_MS + 1,), 1),
        ((5 * HOUR_MS, HOUR_MS - 1, 2, 1, 0), 5),
        ((-1,), 1),
        ((HOUR_MS - 1, 0, -1, -HOUR_MS), 3),
    ],
    ids=["none", "same time", "just inside", "just outside", "outside", "mixed", "later", "late event among others"],
)
def test_velocity_counts_the_hour_up_to_the_event(ages_ms: tuple[int, ...], count: int) -> None:
    past = past_times(*[START_MS - age for age in ages_ms])
    assert features(past, transaction(time_ms=START_MS)).velocity_count == count


def test_velocity_stops_at_what_the_ring_holds() -> None:
    past = past_times(*[START_MS + i for i in range(100)])
    assert features(past, transaction(time_ms=START_MS + 100)).velocity_count == 33.0 == FEATURES[1].high


@given(st.permutations([0, 5, HOUR_MS, 2 * HOUR_MS, HOUR_MS + 5, 90]), st.integers(0, 3 * HOUR_MS))
def test_velocity_does_not_depend_on_the_order_of_arrival(offsets: list[int], now: int) -> None:
    expected = 1 + sum(now - HOUR_MS < offset <= now for offset in offsets)
    past = past_times(*[START_MS + offset for offset in offsets])
    assert features(past, transaction(time_ms=START_MS + now)).velocity_count == expected


# ---- time_deviation ------------------------------------------------------------------------------------------


def hour_distance(one: int, other: int) -> int:
    return min((one - other) % 24, (other - one) % 24)


@given(st.lists(st.integers(0, 23), min_size=MIN_HOURS, max_size=60), st.integers(0, 23))
def test_hours_are_circular(past_hours: list[int], hour: int) -> None:
    past = past_times(*[START_MS + day * 24 * HOUR_MS + h * HOUR_MS for day, h in enumerate(past_hours)])
    far = sum(hour_distance(hour, h) > 2 for h in past_hours) / len(past_hours)
    vector = features(past, transaction(time_ms=START_MS + 365 * 24 * HOUR_MS + hour * HOUR_MS))
    assert vector.time_deviation == pytest.approx(far, abs=1e-12)


@pytest.mark.parametrize(("hour", "deviation"), [(23, 0.0), (0, 0.0), (1, 0.0), (21, 0.0), (2, 1.0), (20, 1.0)])
def test_around_midnight(hour: int, deviation: float) -> None:
    past = past_times(*[START_MS + day * 24 * HOUR_MS + 23 * HOUR_MS + 59 * 60_000 for day in range(20)])
    assert features(past, transaction(time_ms=START_MS + hour * HOUR_MS)).time_deviation == deviation


@pytest.mark.parametrize(("count", "is_known"), [(MIN_HOURS - 1, False), (MIN_HOURS, True)])
def test_there_are_usual_hours_once_there_are_enough(count: int, *, is_known: bool) -> None:
    past = past_times(*[START_MS + i for i in range(count)])
    vector = features(past, transaction())
    assert (vector.time_deviation is not None) is is_known


# ---- geo_speed_kmh -------------------------------------------------------------------------------------------

PARIS, LONDON, SYDNEY = (48.8566, 2.3522), (51.5074, -0.1278), (-33.8688, 151.2093)


def chord_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Great-circle distance by vectors: another formula, well conditioned everywhere."""
    (x1, y1, z1), (x2, y2, z2) = (
        (math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat))
        for lat, lon in (map(math.radians, place) for place in (one, other))
    )
    cross = math.hypot(y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2)
    return EARTH_RADIUS_KM * math.atan2(cross, x1 * x2 + y1 * y2 + z1 * z2)


PLACES = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@given(PLACES, PLACES)
def test_haversine_equals_the_vector_formula(one: tuple[float, float], other: tuple[float, float]) -> None:
    distance = great_circle_km(*one, *other)
    # Near the antipode haversine itself knows the distance to the root of the last digit only: 0.2 m.
    assert distance == pytest.approx(chord_km(one, other), rel=1e-9, abs=1e-3)
    assert distance == pytest.approx(great_circle_km(*other, *one), rel=1e-12)
    assert 0.0 <= distance <= math.pi * EARTH_RADIUS_KM


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        (PARIS, PARIS, 0.0),
        (PARIS, LONDON, 343.6),
        (PARIS, SYDNEY, 16_960.0),
        ((0.0, 179.5), (0.0, -179.5), 111.2),
        ((90.0, 0.0), (-90.0, 77.0), 20_015.1),
        ((90.0, 10.0), (90.0, -170.0), 0.0),
    ],
)
def test_known_distances(one: tuple[float, float], other: tuple[float, float], km: float) -> None:
    assert great_circle_km(*one, *other) == pytest.approx(km, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("direction", [1, -1], ids=["in order", "late"])
def test_speed_is_distance_less_uncertainty_over_time(direction: int) -> None:
    past = [transaction(place=PARIS, name="t-0")]
    vector = features(past, transaction(time_ms=START_MS + direction * 2 * HOUR_MS, place=LONDON))
    assert vector.geo_speed_kmh == pytest.approx((chord_km(PARIS, LONDON) - 50.0) / 2.0)


@pytest.mark.parametrize("gap_ms", [0, 1, 299_999, 300_000])
def test_speed_takes_five_minutes_at_least(gap_ms: int) -> None:
    past = [transaction(place=PARIS, name="t-0")]
    vector = features(past, transaction(time_ms=START_MS + gap_ms, place=LONDON))
    assert vector.geo_speed_kmh == pytest.approx((chord_km(PARIS, LONDON) - 50.0) * 12.0)


def test_a_short_way_is_zero_speed_not_absent() -> None:
    vector = features([transaction(place=PARIS, name="t-0")], transaction(place=(48.9, 2.4)))
    assert vector.geo_speed_kmh == 0.0
    assert "geo_speed_kmh" not in absences(vector, transaction(place=PARIS))


def test_the_fastest_is_the_end_of_the_range() -> None:
    past = [transaction(place=(90.0, 0.0), name="t-0")]
    speed = features(past, transaction(place=(-90.0, 0.0))).geo_speed_kmh
    assert speed == pytest.approx(FEATURES[3].high, abs=1.0)
    assert speed is not None
    assert speed <= FEATURES[3].high


def test_speed_is_absent_without_a_place_now_or_before() -> None:
    here = transaction(place=PARIS)
    before = features([transaction(name="t-0")], here)
    assert before.geo_speed_kmh is None
    assert absences(before, here)["geo_speed_kmh"] is AbsenceReason.NO_PREVIOUS_LOCATION
    now = features([transaction(place=PARIS, name="t-0")], transaction())
    assert now.geo_speed_kmh is None
    assert absences(now, transaction())["geo_speed_kmh"] is AbsenceReason.NO_LOCATION


# ---- is_blacklisted ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blacklist", "value"),
    [
        (Blacklist(), 0.0),
        (Blacklist(merchant=frozenset({"m-1"})), 1.0),
        (Blacklist(customer=frozenset({"c-1"})), 1.0),
        (Blacklist(country=frozenset({"US"})), 1.0),
        (Blacklist(customer=frozenset({"m-1"}), merchant=frozenset({"US"}), country=frozenset({"c-1"})), 0.0),
    ],
)
def test_blacklist(blacklist: Blacklist, value: float) -> None:
    assert features([], transaction(), blacklist).is_blacklisted == value


def test_an_absent_merchant_or_country_is_on_no_list() -> None:
    anonymous = transaction()._replace(merchant=None, country=None)
    blacklist = Blacklist(merchant=frozenset({"", "None"}), country=frozenset({"", "None"}))
    assert features([], anonymous, blacklist).is_blacklisted == 0.0


# ---- habits and bursts ---------------------------------------------------------------------------------------

DAY_MS = 24 * HOUR_MS


def bought(category: str | None, amount: int, time_ms: int, name: str = "now") -> Transaction:
    return transaction(amount, time_ms, name=name)._replace(category=category)


def routine(days: int = 40, amounts: tuple[int, ...] = (4_000, 6_000)) -> list[Transaction]:
    """One purchase of groceries a day at noon, amounts in turn."""
    return [
        bought("grocery", amounts[day % len(amounts)], START_MS + day * DAY_MS + 12 * HOUR_MS, f"t-{day}")
        for day in range(days)
    ]


def test_surprise_is_the_distance_from_the_habit_in_this_category() -> None:
    """With a long history the customer's own mean and spread are all that counts."""
    past, now_ms = routine(150), START_MS + 150 * DAY_MS
    logs = [math.log1p(event.amount_minor / 100) for event in past]
    m2 = sum((value - mean(logs)) ** 2 for value in logs)
    count, usual = len(logs), 0.7
    pooled = (m2 + 4 * usual) / (count - 1 + 4)
    overall = pooled
    own = count / (count + 2)
    deviation = math.sqrt((m2 + 4 * pooled) / (count - 1 + 4) + (1 - own) * overall + 0.05)
    for amount in (1_000, 5_000, 90_000):
        expected = abs(math.log1p(amount / 100) - mean(logs)) / deviation
        surprise = features(past, bought("grocery", amount, now_ms)).category_surprise
        assert surprise == pytest.approx(min(10.0, expected), rel=1e-5)


def test_the_same_amount_surprises_where_it_is_not_usual() -> None:
    cheap = [bought("coffee", 300 + day % 50, START_MS + day * DAY_MS, f"c-{day}") for day in range(40)]
    dear = [bought("travel", 60_000 + day % 5_000, START_MS + day * DAY_MS + 1, f"v-{day}") for day in range(40)]
    past, now_ms = sorted([*cheap, *dear], key=lambda event: event.event_time_ms), START_MS + 41 * DAY_MS
    at_coffee = features(past, bought("coffee", 60_000, now_ms)).category_surprise
    at_travel = features(past, bought("travel", 60_000, now_ms)).category_surprise
    elsewhere = features(past, bought("books", 60_000, now_ms)).category_surprise
    assert at_coffee is not None
    assert at_travel is not None
    assert elsewhere is not None
    assert at_travel < 0.5 < elsewhere < 5.0 < at_coffee


def test_a_category_without_a_name_is_judged_by_all_amounts() -> None:
    vector = features(routine(), bought(None, 500_000, START_MS + 41 * DAY_MS))
    assert vector.category_surprise is not None
    assert vector.category_surprise > 2.0
    assert vector.category_share is None


@pytest.mark.parametrize(("category", "share"), [("grocery", 0.75), ("books", 0.25), ("travel", 0.0)])
def test_share_of_the_category(category: str, share: float) -> None:
    past = [
        bought("books" if day % 4 == 0 else "grocery", 1_000, START_MS + day * DAY_MS, f"t-{day}") for day in range(20)
    ]
    assert features(past, bought(category, 1_000, START_MS + 30 * DAY_MS)).category_share == share


@pytest.mark.parametrize(("hour", "night"), [(21, 0.0), (22, 1.0), (23, 1.0), (0, 1.0), (3, 1.0), (4, 0.0), (12, 0.0)])
def test_night(hour: int, night: float) -> None:
    assert features([], transaction(time_ms=START_MS + hour * HOUR_MS)).is_night == night


@given(st.lists(st.integers(-2 * DAY_MS, DAY_MS), max_size=20))
def test_a_day_is_counted_whatever_the_order_of_arrival(offsets: list[int]) -> None:
    """Against a count by hand: the window is open on the old side, and a late event does not see its future."""
    now = transaction(time_ms=START_MS + 7 * HOUR_MS)
    past = [transaction(time_ms=now.event_time_ms + offset, name=f"t-{i}") for i, offset in enumerate(offsets)]
    vector = features(past, now)
    inside = [event for event in past if -DAY_MS < event.event_time_ms - now.event_time_ms <= 0]
    nights = sum((event.event_time_ms // HOUR_MS % 24) in {22, 23, 0, 1, 2, 3} for event in inside)
    assert vector.night_share_24h == pytest.approx((nights + 0.5) / (len(inside) + 3))
    first = min([event.event_time_ms for event in past], default=now.event_time_ms)
    per_day = (len(past) + 1) / (max(0, now.event_time_ms - first) / DAY_MS + 3)
    assert vector.velocity_24h_ratio == pytest.approx((len(inside) + 1) / max(per_day, 1.0))


def test_a_burst_of_surprises_is_remembered_for_a_day() -> None:
    history, start = routine(), START_MS + 40 * DAY_MS
    calm = features(history, bought("grocery", 5_000, start))
    stream = list(replay_features([*history, *[bought("web", 90_000, start + i, f"b-{i}") for i in range(5)],
                                   bought("grocery", 5_000, start + HOUR_MS, "n-1"),
                                   bought("grocery", 5_000, start + 2 * DAY_MS, "n-2")]))  # fmt: skip
    burst, later = stream[-2].features, stream[-1].features
    for name in ("surprise_24h", "spend_24h", "velocity_24h_ratio"):
        assert getattr(burst, name) > 1.4 * getattr(calm, name) + 0.5, name
        assert getattr(later, name) < getattr(burst, name) / 1.4, name


def test_spend_counts_doublings_of_a_usual_day() -> None:
    past = [bought("grocery", 5_000, START_MS + day * DAY_MS, f"t-{day}") for day in range(57)]
    vector = features(past, bought("grocery", 5_000 * 8, START_MS + 57 * DAY_MS))
    assert vector.spend_24h == pytest.approx(math.log2((40_000 / 100 + 1) / 51), abs=1e-6)


# ---- all of them ---------------------------------------------------------------------------------------------


@given(histories())
def test_any_history_stays_in_the_ranges_of_the_table(history: list[Transaction]) -> None:
    for transaction_, vector in replay_features(history):
        why = absences(vector, transaction_)
        for spec, value in zip(FEATURES, vector, strict=True):
            assert (value is None) == (spec.name in why)
            if value is not None:
                assert type(value) is float
                assert spec.low <= value <= spec.high, spec.name


def test_features_leave_the_state_as_it_is() -> None:
    state = state_after(past_amounts(*range(100, 1_300, 100)))
    before = state.to_bytes()
    extract_features(state, transaction(place=PARIS), 10.0, Blacklist().matches)
    assert state.to_bytes() == before
    assert state != CustomerFraudState()
