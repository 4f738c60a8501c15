"""Planted fraud: each pattern is a function that returns the fraudulent purchases of one episode.

Fraudulent amounts overlap with genuine ones on purpose. A pattern differs from genuine behaviour by the combination of
its features, and some episodes cannot be distinguished.
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
FAR_DEGREES = 12.0  # degrees of longitude; a customer can reach closer cities within the hour of the pattern
BY_NAME = {category.name: index for index, category in enumerate(CATEGORIES)}
ONLINE = (BY_NAME["shopping_net"], BY_NAME["misc_net"])
SHOPS = (BY_NAME["shopping_pos"], BY_NAME["grocery_pos"], BY_NAME["entertainment"], BY_NAME["home"])


@dataclass(frozen=True, slots=True)
class PlannedPurchase:
    """One fraudulent purchase that is planned for later.

    Attributes:
        pattern: name of its pattern.
        at_ms: event time, milliseconds since the epoch.
        category: index into ``CATEGORIES``.
        factor: multiple of the customer's typical amount in that category.
        city: index into ``CITIES`` of the place of purchase; None: where the customer is.
    """

    pattern: str
    at_ms: int
    category: int
    factor: float
    city: int | None = None


def amount_spike(rng: Random, _customer: Customer, now_ms: int) -> list[PlannedPurchase]:
    """One or two purchases far above the usual amount; the smaller ones resemble genuine large purchases."""
    at, purchases = now_ms, []
    for _ in range(rng.choice((1, 1, 2))):
        at += rng.randint(5, 180) * MINUTE_MS
        purchases.append(PlannedPurchase("amount_spike", at, rng.choice(SHOPS + ONLINE), rng.lognormvariate(2.2, 0.5)))
    return purchases


def burst(rng: Random, _customer: Customer, now_ms: int) -> list[PlannedPurchase]:
    """Five to ten purchases within minutes of each other, each a little above the usual amount."""
    at, purchases = now_ms + rng.randint(10, 240) * MINUTE_MS, []
    for _ in range(rng.randint(5, 10)):
        at += rng.randint(30_000, 5 * MINUTE_MS)
        purchases.append(PlannedPurchase("burst", at, rng.choice(SHOPS + ONLINE), rng.lognormvariate(0.9, 0.5)))
    return purchases


def impossible_travel(rng: Random, customer: Customer, now_ms: int) -> list[PlannedPurchase]:
    """One or two purchases in a far city within the hour after a purchase at home."""
    far = [index for index, city in enumerate(CITIES) if abs(city[4] - customer.longitude) > FAR_DEGREES]
    at, city, purchases = now_ms, rng.choice(far), []
    for _ in range(rng.choice((1, 2))):
        at += rng.randint(10, 50) * MINUTE_MS
        purchases.append(
            PlannedPurchase("impossible_travel", at, rng.choice(SHOPS), rng.lognormvariate(1.3, 0.6), city)
        )
    return purchases


def odd_hours(rng: Random, customer: Customer, now_ms: int) -> list[PlannedPurchase]:
    """One to three purchases in the middle of the customer's night, larger than usual."""
    local_h = (now_ms / HOUR_MS + customer.utc_offset_h) % DAY_HOURS
    night_h = (customer.peak_h + DAY_HOURS / 2 + rng.gauss(0.0, 1.0)) % DAY_HOURS
    at, purchases = now_ms + int(((night_h - local_h) % DAY_HOURS) * HOUR_MS), []
    for _ in range(rng.randint(1, 3)):
        at += rng.randint(4, 25) * MINUTE_MS
        purchases.append(PlannedPurchase("odd_hours", at, rng.choice(ONLINE), rng.lognormvariate(1.6, 0.6)))
    return purchases


def stolen_card(rng: Random, _customer: Customer, now_ms: int) -> list[PlannedPurchase]:
    """Two to four tests of the card with tiny amounts, then two to four large purchases."""
    at, purchases = now_ms + rng.randint(10, 600) * MINUTE_MS, []
    for _ in range(rng.randint(2, 4)):
        at += rng.randint(1, 6) * MINUTE_MS
        purchases.append(PlannedPurchase("stolen_card", at, rng.choice(ONLINE), rng.uniform(0.01, 0.06)))
    for _ in range(rng.randint(2, 4)):
        at += rng.randint(2, 15) * MINUTE_MS
        purchases.append(PlannedPurchase("stolen_card", at, rng.choice(ONLINE), rng.lognormvariate(2.2, 0.5)))
    return purchases


PATTERNS: dict[str, tuple[Callable[[Random, Customer, int], list[PlannedPurchase]], float]] = {
    "amount_spike": (amount_spike, 4 / 3),
    "burst": (burst, 7.5),
    "impossible_travel": (impossible_travel, 1.5),
    "odd_hours": (odd_hours, 2.0),
    "stolen_card": (stolen_card, 6.0),
}
"""By name: the pattern, and the mean number of purchases in an episode, which sets how often episodes begin."""
