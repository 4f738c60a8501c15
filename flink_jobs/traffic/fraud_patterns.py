"""Planted fraud: each pattern is one function that turns a moment of a customer's life into stolen purchases.

Amounts overlap with honest ones on purpose; a pattern is told apart by how its parts come together, and not always.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flink_jobs.traffic.profiles import CATEGORIES, CITIES, DAY_HOURS, Customer

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
FAR_DEGREES = 12.0  # cities closer than this can be reached within the hour the pattern leaves
BY_NAME = {category.name: index for index, category in enumerate(CATEGORIES)}
ONLINE = (BY_NAME["shopping_net"], BY_NAME["misc_net"])
SHOPS = (BY_NAME["shopping_pos"], BY_NAME["grocery_pos"], BY_NAME["entertainment"], BY_NAME["home"])


@dataclass(frozen=True, slots=True)
class Step:
    """One stolen purchase to come.

    Attributes:
        pattern: the pattern it belongs to.
        at_ms: event time.
        category: index into `CATEGORIES`.
        factor: on the customer's typical amount in that category.
        city: index into `CITIES` where it happens; None is where the customer is.
    """

    pattern: str
    at_ms: int
    category: int
    factor: float
    city: int | None = None


def amount_spike(rng: Random, _customer: Customer, now_ms: int) -> list[Step]:
    """One or two purchases far above the customer's habit; the smaller ones hide among honest large ones."""
    at, steps = now_ms, []
    for _ in range(rng.choice((1, 1, 2))):
        at += rng.randint(5, 180) * MINUTE_MS
        steps.append(Step("amount_spike", at, rng.choice(SHOPS + ONLINE), rng.lognormvariate(2.2, 0.5)))
    return steps


def burst(rng: Random, _customer: Customer, now_ms: int) -> list[Step]:
    """Five to ten purchases within minutes of each other, each not much above the ordinary."""
    at, steps = now_ms + rng.randint(10, 240) * MINUTE_MS, []
    for _ in range(rng.randint(5, 10)):
        at += rng.randint(30_000, 5 * MINUTE_MS)
        steps.append(Step("burst", at, rng.choice(SHOPS + ONLINE), rng.lognormvariate(0.9, 0.5)))
    return steps


def impossible_travel(rng: Random, customer: Customer, now_ms: int) -> list[Step]:
    """One or two purchases in a far city within the hour after one at home."""
    far = [index for index, city in enumerate(CITIES) if abs(city[4] - customer.longitude) > FAR_DEGREES]
    at, city, steps = now_ms, rng.choice(far), []
    for _ in range(rng.choice((1, 2))):
        at += rng.randint(10, 50) * MINUTE_MS
        steps.append(Step("impossible_travel", at, rng.choice(SHOPS), rng.lognormvariate(1.3, 0.6), city))
    return steps


def odd_hours(rng: Random, customer: Customer, now_ms: int) -> list[Step]:
    """One to three purchases in the middle of the customer's night, larger than usual."""
    local_h = (now_ms / HOUR_MS + customer.utc_offset_h) % DAY_HOURS
    night_h = (customer.peak_h + DAY_HOURS / 2 + rng.gauss(0.0, 1.0)) % DAY_HOURS
    at, steps = now_ms + int(((night_h - local_h) % DAY_HOURS) * HOUR_MS), []
    for _ in range(rng.randint(1, 3)):
        at += rng.randint(4, 25) * MINUTE_MS
        steps.append(Step("odd_hours", at, rng.choice(ONLINE), rng.lognormvariate(1.6, 0.6)))
    return steps


def stolen_card(rng: Random, _customer: Customer, now_ms: int) -> list[Step]:
    """Test the card with tiny amounts, then drain it: two to four tests, then two to four large purchases."""
    at, steps = now_ms + rng.randint(10, 600) * MINUTE_MS, []
    for _ in range(rng.randint(2, 4)):
        at += rng.randint(1, 6) * MINUTE_MS
        steps.append(Step("stolen_card", at, rng.choice(ONLINE), rng.uniform(0.01, 0.06)))
    for _ in range(rng.randint(2, 4)):
        at += rng.randint(2, 15) * MINUTE_MS
        steps.append(Step("stolen_card", at, rng.choice(ONLINE), rng.lognormvariate(2.2, 0.5)))
    return steps


# Name to pattern and to the average number of purchases in one episode, which sets how often episodes begin.
PATTERNS: dict[str, tuple[Callable[[Random, Customer, int], list[Step]], float]] = {
    "amount_spike": (amount_spike, 4 / 3),
    "burst": (burst, 7.5),
    "impossible_travel": (impossible_travel, 1.5),
    "odd_hours": (odd_hours, 2.0),
    "stolen_card": (stolen_card, 6.0),
}
