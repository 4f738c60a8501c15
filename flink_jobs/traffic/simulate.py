"""Seeded card traffic: customers with habits, honest exceptions, and planted fraud with its labels.

The stream is ordered by event time and a pure function of its plan: the same plan gives the same bytes on any
machine. Honest life has its own surprises (a sofa, a shopping spree, a trip abroad), so that fraud is neither trivial
to find nor hopeless. Memory holds one queue entry per customer, and habits only of the most recently seen ones.
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
from flink_jobs.traffic.fraud_patterns import HOUR_MS, MINUTE_MS, PATTERNS, Step
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
HOUR_FOCUS = 1.5  # how narrowly purchases gather around the customer's peak hour
MEAN_ACTIVITY = 0.367  # mean of exp(HOUR_FOCUS * (cos - 1)) over a day
SPREE_SHARE, TRIP_SHARE = 0.01, 0.004  # of honest purchases that begin a spree or a trip
NO_LOCATION_SHARE = 0.02
LARGE_SHARE, LARGE_FACTOR = 0.004, (1.5, 0.5)  # honest large purchases, and the log-normal of their size


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """What to simulate.

    Attributes:
        customers: how many, 1 or more.
        seed: of everything.
        fraud_rate: expected share of fraudulent transactions, 0 to 0.5.
        start_ms: event time at which the stream begins, milliseconds since the epoch.
    """

    customers: int = 1_000
    seed: int = 1
    fraud_rate: float = 0.02
    start_ms: int = DEFAULT_START_MS

    def __post_init__(self) -> None:
        """Refuse a plan that cannot be."""
        if self.customers < 1:
            raise UserError(f"{self.customers} customers cannot buy anything", "give 1 or more")
        if not 0.0 <= self.fraud_rate <= 0.5:  # noqa: PLR2004 - half
            raise UserError(f"the fraud rate is {self.fraud_rate:g}", "give a share between 0 and 0.5, such as 0.01")


@dataclass(slots=True)
class Trip:
    """Where a travelling customer is until when."""

    city: int
    from_ms: int
    until_ms: int


def simulate(plan: SimulationPlan) -> Iterator[SourceEvent]:
    """Yield transactions without end, in order of event time, labelled."""
    return _World(plan).events()


class _World:
    """The queue of what happens next; `events` turns it into transactions."""

    def __init__(self, plan: SimulationPlan) -> None:
        self._plan = plan
        self._rng = Random(f"{plan.seed}:events")  # noqa: S311 - repeatable, no secret
        self._order = itertools.count()
        self._habits = lru_cache(maxsize=HABITS_KEPT)(lambda number: make_customer(plan.seed, number))
        self._trips: dict[int, Trip] = {}
        self._queue: list[tuple[int, int, int, Step | None, bool]] = []
        sizes = [size for _, size in PATTERNS.values()]
        mean_size = sum(sizes) / len(sizes)
        self._episode_chance = plan.fraud_rate / (1.0 - plan.fraud_rate) / mean_size
        for number in range(plan.customers):
            self._schedule_honest(number, plan.start_ms)

    def events(self) -> Iterator[SourceEvent]:
        for sequence in itertools.count():
            at_ms, _, number, step, is_routine = heapq.heappop(self._queue)
            customer = self._habits(number)
            if step is None:
                event = self._honest(customer, number, at_ms, sequence)
                if is_routine:
                    self._what_follows(customer, number, at_ms)
            else:
                event = self._stolen(customer, number, step, sequence)
            yield event

    def _push(self, at_ms: int, number: int, step: Step | None, *, is_routine: bool) -> None:
        heapq.heappush(self._queue, (at_ms, next(self._order), number, step, is_routine))

    def _schedule_honest(self, number: int, after_ms: int) -> None:
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

    def _what_follows(self, customer: Customer, number: int, at_ms: int) -> None:
        """After a routine purchase: the next one, perhaps a spree, a trip, or a thief."""
        rng = self._rng
        self._schedule_honest(number, at_ms)
        if rng.random() < SPREE_SHARE:
            at = at_ms
            for _ in range(rng.randint(2, 4)):
                at += rng.randint(4, 20) * MINUTE_MS
                self._push(at, number, None, is_routine=False)
        if number not in self._trips and rng.random() < TRIP_SHARE:
            leaves = at_ms + rng.randint(14, 30) * HOUR_MS  # longer than any flight: no honest impossible travel
            self._trips[number] = Trip(rng.randrange(len(CITIES)), leaves, leaves + rng.randint(2, 9) * DAY_MS)
        if rng.random() < self._episode_chance:
            make, _ = PATTERNS[rng.choice(tuple(PATTERNS))]
            for step in make(rng, customer, at_ms):
                self._push(step.at_ms, number, step, is_routine=False)

    def _honest(self, customer: Customer, number: int, at_ms: int, sequence: int) -> SourceEvent:
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

    def _stolen(self, customer: Customer, number: int, step: Step, sequence: int) -> SourceEvent:
        rng = self._rng
        merchant = rng.randrange(MERCHANTS_PER_CATEGORY)
        city = step.city
        place = self._place(customer, number, step.at_ms) if city is None else (CITIES[city][1], *CITIES[city][3:5])
        document = self._transaction(customer, sequence, step.at_ms, step.category, merchant, step.factor, place=place)
        return SourceEvent(document, label=True, pattern=step.pattern)

    def _place(self, customer: Customer, number: int, at_ms: int) -> tuple[str, float, float]:
        """Return country and centre of where the customer is: at home, or on a trip."""
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
