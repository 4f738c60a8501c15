"""The simulated customers, merchants and cities; each customer is drawn from the seed and the customer's number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

DAY_HOURS = 24.0
KM_PER_DEGREE = 111.2


@dataclass(frozen=True, slots=True)
class Category:
    """A merchant category: its share of purchases, its typical amount and its channel.

    ``median_minor`` is the median amount in cents for a customer of average means. ``spread`` is the sigma of the
    log-normal distribution around it. ``simulate`` adds rare large purchases.
    """

    name: str
    share: float
    median_minor: int
    spread: float
    channel: str


CATEGORIES = (
    Category("grocery_pos", 0.22, 4_200, 0.40, "pos"),
    Category("gas_transport", 0.13, 4_800, 0.25, "pos"),
    Category("food_dining", 0.14, 2_600, 0.40, "pos"),
    Category("shopping_pos", 0.10, 5_500, 0.50, "pos"),
    Category("shopping_net", 0.11, 5_000, 0.50, "online"),
    Category("entertainment", 0.08, 3_200, 0.45, "pos"),
    Category("home", 0.06, 7_000, 0.55, "pos"),
    Category("health_fitness", 0.05, 4_000, 0.45, "pos"),
    Category("misc_net", 0.06, 2_900, 0.50, "online"),
    Category("travel", 0.02, 12_000, 0.50, "online"),
    Category("cash", 0.03, 8_000, 0.30, "atm"),
)
MERCHANTS_PER_CATEGORY = 40

# (name, country, currency, latitude, longitude, weight): homes of customers, and places of trips and of fraud.
CITIES = (
    ("New York", "US", "USD", 40.71, -74.01, 18.0),
    ("Chicago", "US", "USD", 41.88, -87.63, 10.0),
    ("Houston", "US", "USD", 29.76, -95.37, 9.0),
    ("Los Angeles", "US", "USD", 34.05, -118.24, 14.0),
    ("Miami", "US", "USD", 25.76, -80.19, 7.0),
    ("Denver", "US", "USD", 39.74, -104.99, 6.0),
    ("Seattle", "US", "USD", 47.61, -122.33, 6.0),
    ("Toronto", "CA", "CAD", 43.65, -79.38, 6.0),
    ("London", "GB", "GBP", 51.51, -0.13, 8.0),
    ("Berlin", "DE", "EUR", 52.52, 13.40, 6.0),
    ("Zurich", "CH", "CHF", 47.37, 8.54, 3.0),
    ("Lagos", "NG", "NGN", 6.52, 3.38, 2.0),
    ("Bangkok", "TH", "THB", 13.75, 100.50, 3.0),
    ("Sao Paulo", "BR", "BRL", -23.55, -46.63, 2.0),
)
HOME_CITIES = tuple(city for city in CITIES if city[1] in {"US", "CA", "GB", "DE", "CH"})


@dataclass(frozen=True, slots=True)
class Customer:
    """The habits of one customer; they do not change during a run.

    Attributes:
        identity: the customer id.
        latitude: latitude of the home, degrees.
        longitude: longitude of the home, degrees.
        country: country of the home, ISO 3166-1 alpha-2.
        currency: currency of the card, ISO 4217.
        means: factor on every amount; 1 is average.
        per_day: average purchases a day.
        peak_h: local hour with the most purchases, 0 to 24.
        utc_offset_h: local time minus UTC, from the longitude.
        shares: weight of each category, in the order of ``CATEGORIES``.
        merchants: for each category, the numbers of the merchants that the customer uses.
    """

    identity: str
    latitude: float
    longitude: float
    country: str
    currency: str
    means: float
    per_day: float
    peak_h: float
    utc_offset_h: float
    shares: tuple[float, ...]
    merchants: tuple[tuple[int, ...], ...]


def make_customer(seed: int, number: int) -> Customer:
    """Return a customer of the population that the seed defines; the same arguments give the same customer."""
    rng = Random(f"{seed}:customer:{number}")  # noqa: S311 - repeatable, no secret
    city = rng.choices(HOME_CITIES, weights=[place[5] for place in HOME_CITIES])[0]
    latitude, longitude = near(rng, city[3], city[4], 15.0)
    return Customer(
        identity=f"c{number:07d}",
        latitude=latitude,
        longitude=longitude,
        country=city[1],
        currency=city[2],
        means=rng.lognormvariate(0.0, 0.45),
        per_day=min(12.0, rng.lognormvariate(0.8, 0.6)),
        peak_h=rng.gauss(14.5, 2.5) % DAY_HOURS,
        utc_offset_h=float(round(city[4] / 15.0)),
        shares=tuple(category.share * rng.lognormvariate(0.0, 0.5) for category in CATEGORIES),
        merchants=tuple(tuple(rng.sample(range(MERCHANTS_PER_CATEGORY), rng.randint(2, 6))) for _ in CATEGORIES),
    )


def near(rng: Random, latitude: float, longitude: float, km: float) -> tuple[float, float]:
    """Return a random point (latitude, longitude in degrees); 95 % of the points lie within ``km`` kilometres."""
    sigma = km / 2.0 / KM_PER_DEGREE
    lat = max(-89.9, min(89.9, latitude + rng.gauss(0.0, sigma)))
    lon = longitude + rng.gauss(0.0, sigma) / max(0.1, math.cos(math.radians(lat)))
    return round(lat, 6), round((lon + 180.0) % 360.0 - 180.0, 6)


def merchant_name(category: Category, number: int) -> str:
    """Return the name of a merchant; a number means the same merchant for every customer."""
    return f"{category.name.replace('_', ' ').title()} {number:02d}"
