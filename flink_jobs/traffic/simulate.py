"""Seeded card traffic: customers with habits and exceptions, and planted fraud with its labels.

The stream is ordered by event time. It depends on nothing but its plan: the same plan gives the same bytes on any
machine. Genuine customers also make unusual purchases (a sofa, a shopping spree, a trip abroad), so that fraud is
neither trivial nor impossible to detect. Memory holds one queue entry per customer, and the habits of the
``HABITS_KEPT`` customers seen last.
"""

from __future__ import annotations

import heapq
import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, Any

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.core.currencies import MINOR_UNITS
from flink_jobs.errors import UserError
from flink_jobs.traffic.fraud_patterns import HOUR_MS, MINUTE_MS, PATTERNS, PlannedPurchase
from flink_jobs.traffic.profiles import (
    CATEGORIES,
    CITIES,
    DAY_HOURS,
    MERCHANTS_PER_CATEGORY,
    Customer,
    make_customer,
    merchant_name,
    near,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_MS = 24 * HOUR_MS
DEFAULT_START_MS = 1_577_836_800_000  # 2020-01-01T00:00Z: leaves years before simulated time reaches the present
HABITS_KEPT = 20_000
HOUR_FOCUS = 1.5  # concentration of purchases around the customer's peak hour
MEAN_ACTIVITY = 0.367  # mean of exp(HOUR_FOCUS * (cos - 1)) over a day
SPREE_SHARE, TRIP_SHARE = 0.01, 0.004  # shares of genuine purchases that begin a spree or a trip
NO_LOCATION_SHARE = 0.02
LARGE_SHARE, LARGE_FACTOR = 0.004, (1.5, 0.5)  # share of large genuine purchases, log-normal of their size


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """The parameters of a simulation.

    Attributes:
        customers: number of customers, 1 or more.
        seed: seed of every random choice.
        fraud_rate: expected share of fraudulent transactions, 0 to 0.5.
        start_ms: event time at which the stream begins, milliseconds since the epoch.
    """

    customers: int = 1_000
    seed: int = 1
    fraud_rate: float = 0.02
    start_ms: int = DEFAULT_START_MS

    def __post_init__(self) -> None:
        """Reject an impossible plan.

        Raises:
            UserError: a parameter is outside its range.
        """
        if self.customers < 1:
            raise UserError(f"{self.customers} customers cannot buy anything", "give 1 or more")
        if not 0.0 <= self.fraud_rate <= 0.5:  # noqa: PLR2004 - half
            raise UserError(f"the fraud rate is {self.fraud_rate:g}", "give a share between 0 and 0.5, such as 0.01")


@dataclass(slots=True)
class Trip:
    """A trip of a customer: the city, and the times between which the customer is there."""

    city: int
    from_ms: int
    until_ms: int


def simulate(plan: SimulationPlan) -> Iterator[SourceEvent]:
    """Yield labelled transactions in order of event time, without end."""
    return _World(plan).events()


class _World:
    """The queue of future purchases; ``events`` turns them into transactions."""

    def __init__(self, plan: SimulationPlan) -> None:
        self._plan = plan
        self._rng = Random(f"{plan.seed}:events")  # noqa: S311 - repeatable, no secret
        self._order = itertools.count()
        self._habits = lru_cache(maxsize=HABITS_KEPT)(lambda number: make_customer(plan.seed, number))
        self._trips: dict[int, Trip] = {}
        self._queue: list[tuple[int, int, int, PlannedPurchase | None, bool]] = []
        sizes = [size for _, size in PATTERNS.values()]
        mean_size = sum(sizes) / len(sizes)
        self._episode_chance = plan.fraud_rate / (1.0 - plan.fraud_rate) / mean_size
        for number in range(plan.customers):
            self._schedule_genuine(number, plan.start_ms)

    def events(self) -> Iterator[SourceEvent]:
        for sequence in itertools.count():
            at_ms, _, number, planned, is_routine = heapq.heappop(self._queue)
            customer = self._habits(number)
            if planned is None:
                event = self._genuine(customer, number, at_ms, sequence)
                if is_routine:
                    self._plan_follow_ups(customer, number, at_ms)
            else:
                event = self._fraudulent(customer, number, planned, sequence)
            yield event

    def _push(self, at_ms: int, number: int, planned: PlannedPurchase | None, *, is_routine: bool) -> None:
        heapq.heappush(self._queue, (at_ms, next(self._order), number, planned, is_routine))

    def _schedule_genuine(self, number: int, after_ms: int) -> None:
        """Draw the customer's next routine purchase: a Poisson process thinned by the hour of the day."""
        rng, customer, at = self._rng, self._habits(number), float(after_ms)
        fastest = customer.per_day / MEAN_ACTIVITY / DAY_MS
        while True:
            at += rng.expovariate(fastest)
            local_h = (at / HOUR_MS + customer.utc_offset_h) % DAY_HOURS
            angle = 2.0 * math.pi * (local_h - customer.peak_h) / DAY_HOURS
            if rng.random() < math.exp(HOUR_FOCUS * (math.cos(angle) - 1.0)):
                break
        self._push(int(at), number, None, is_routine=True)

    def _plan_follow_ups(self, customer: Customer, number: int, at_ms: int) -> None:
        """After a routine purchase, plan the next one, and by chance a spree, a trip or an episode of fraud."""
        rng = self._rng
        self._schedule_genuine(number, at_ms)
        if rng.random() < SPREE_SHARE:
            at = at_ms
            for _ in range(rng.randint(2, 4)):
                at += rng.randint(4, 20) * MINUTE_MS
                self._push(at, number, None, is_routine=False)
        if number not in self._trips and rng.random() < TRIP_SHARE:
            leaves = (
                at_ms + rng.randint(14, 30) * HOUR_MS
            )  # longer than any flight: a genuine trip is never impossible travel
            self._trips[number] = Trip(rng.randrange(len(CITIES)), leaves, leaves + rng.randint(2, 9) * DAY_MS)
        if rng.random() < self._episode_chance:
            make, _ = PATTERNS[rng.choice(tuple(PATTERNS))]
            for planned in make(rng, customer, at_ms):
                self._push(planned.at_ms, number, planned, is_routine=False)

    def _genuine(self, customer: Customer, number: int, at_ms: int, sequence: int) -> SourceEvent:
        rng = self._rng
        index = rng.choices(range(len(CATEGORIES)), weights=customer.shares)[0]
        category = CATEGORIES[index]
        merchant = rng.choice(customer.merchants[index])
        factor = rng.lognormvariate(0.0, category.spread)
        if rng.random() < LARGE_SHARE:
            factor = rng.lognormvariate(*LARGE_FACTOR)
        place = self._place(customer, number, at_ms)
        return SourceEvent(
            self._transaction(customer, sequence, at_ms, index, merchant, factor, place=place), label=False
        )

    def _fraudulent(self, customer: Customer, number: int, planned: PlannedPurchase, sequence: int) -> SourceEvent:
        rng = self._rng
        merchant = rng.randrange(MERCHANTS_PER_CATEGORY)
        city = planned.city
        place = self._place(customer, number, planned.at_ms) if city is None else (CITIES[city][1], *CITIES[city][3:5])
        document = self._transaction(
            customer, sequence, planned.at_ms, planned.category, merchant, planned.factor, place=place
        )
        return SourceEvent(document, label=True, pattern=planned.pattern)

    def _place(self, customer: Customer, number: int, at_ms: int) -> tuple[str, float, float]:
        """Return country, latitude and longitude of the customer, who is at home or on a trip."""
        trip = self._trips.get(number)
        if trip is not None and at_ms >= trip.until_ms:
            del self._trips[number]
            trip = None
        if trip is None or at_ms < trip.from_ms:
            return customer.country, customer.latitude, customer.longitude
        city = CITIES[trip.city]
        return city[1], city[3], city[4]

    def _transaction(
        self,
        customer: Customer,
        sequence: int,
        at_ms: int,
        index: int,
        merchant: int,
        factor: float,
        *,
        place: tuple[str, float, float],
    ) -> dict[str, Any]:
        rng, category = self._rng, CATEGORIES[index]
        cents = category.median_minor * customer.means * factor
        document: dict[str, Any] = {
            "transaction_id": f"s{self._plan.seed}-{sequence:09d}",
            "customer_id": customer.identity,
            "amount_minor": max(1, round(cents * MINOR_UNITS[customer.currency] / 100.0)),
            "currency": customer.currency,
            "event_time_ms": at_ms,
            "merchant": merchant_name(category, merchant),
            "category": category.name,
            "channel": category.channel,
            "country": place[0],
        }
        if rng.random() >= NO_LOCATION_SHARE:
            latitude, longitude = near(rng, place[1], place[2], 25.0)
            document["location"] = {"lat": latitude, "lon": longitude}
        return document
