"""Gives generated purchases devices and cards, and two kinds of fraud that only these ids show.

The Fraud Detection Handbook has neither (``ml.terminal_fraud``). Each customer has devices and cards, and uses one of
each for a purchase. A device is replaced every 90 days. The customer's compromised card makes the frauds of the third
kind. Two further kinds turn genuine purchases into frauds and leave time, customer, terminal and amount as they are, so
that nothing else about them is unusual:

4. a fraudster's device: two new ones a day, each of which makes about one purchase a day on the accounts of many
   customers for 28 days;
5. a stolen card: the cards of two customers a day are used in the same way on the accounts of others, while their
   holders still buy with them.

The random numbers are those of a second generator: purchases without devices and cards stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ml.terminal_fraud import CARD_DAYS, DAY_S

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.terminal_fraud import Purchases, World

DEVICE_COLUMN: Final = "DEVICE_ID"
CARD_COLUMN: Final = "CARD_ID"
DEVICE_FRAUD: Final = 4
CARD_FRAUD: Final = 5
PER_DAY: Final = 2
"""Fraudsters' devices that start on a day, and stolen cards."""
LIFE_DAYS: Final = 28
"""Days for which each of them is used."""
DEVICE_DAYS: Final = 90
"""Days after which a customer replaces a device."""
LARGEST_SHARE: Final = 0.1
"""At most this share of the genuine purchases of a day becomes fraud of one kind."""


@dataclass(frozen=True, slots=True)
class PurchaseIds:
    """The device and the card of each purchase, as numbers."""

    device: NDArray[np.int64]
    card: NDArray[np.int64]


def with_ids(
    purchases: Purchases, world: World, devices: int | None, cards: int | None
) -> tuple[Purchases, PurchaseIds]:
    """Return the purchases with the further kinds of fraud, and their devices and cards.

    Args:
        purchases: what ``generate`` returns for ``world``.
        world: gives the size and the seed.
        devices: devices of a customer, 1 or more; ``None``: one, and no device of a fraudster.
        cards: cards of a customer, 1 or more; ``None``: one, and no stolen card.
    """
    rng = np.random.default_rng([world.seed, 1])
    device, card = _own_devices(purchases, world, devices or 1, rng), _own_cards(purchases, world, cards or 1, rng)
    scenario = purchases.scenario.copy()
    if devices is not None:
        rows, which = _takeovers(purchases, scenario, world.days, rng)
        device[rows], scenario[rows] = device.max(initial=-1) + 1 + which, DEVICE_FRAUD
    if cards is not None:
        rows, which = _takeovers(purchases, scenario, world.days, rng)
        stolen = rng.integers(world.customers * cards, size=PER_DAY * world.days)
        card[rows], scenario[rows] = stolen[which], CARD_FRAUD
    return replace(purchases, scenario=scenario), PurchaseIds(device, card)


def _own_devices(purchases: Purchases, world: World, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the customer's device of each purchase; the replacement of a device has a number of its own."""
    which = purchases.customer * count + rng.integers(count, size=len(purchases))
    age = rng.integers(DEVICE_DAYS, size=world.customers * count)
    replaced: NDArray[np.int64] = (purchases.second // DAY_S + age[which]) // DEVICE_DAYS
    device: NDArray[np.int64] = which * (world.days // DEVICE_DAYS + 2) + replaced
    return device


def _own_cards(purchases: Purchases, world: World, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the customer's card of each purchase: any, but the compromised one for the frauds of the third kind.

    One card is compromised until no such fraud happened for 14 days.
    """
    card = rng.integers(count, size=len(purchases))
    compromised = rng.integers(count, size=(world.customers, world.days // CARD_DAYS + 2))
    frauds = np.flatnonzero(purchases.scenario == 3)  # noqa: PLR2004 - the third kind
    frauds = frauds[np.argsort(purchases.customer[frauds], kind="stable")]
    customer, second = purchases.customer[frauds], purchases.second[frauds]
    first = np.concatenate(([True], customer[1:] != customer[:-1]))[: len(frauds)]
    starts = first | (np.diff(second, prepend=second[:1]) >= CARD_DAYS * DAY_S)
    episode = np.cumsum(starts)
    card[frauds] = compromised[customer, episode - np.maximum.accumulate(np.where(first, episode, 0))]
    return purchases.customer * count + card


def _takeovers(
    purchases: Purchases, scenario: NDArray[np.int64], days: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of genuine purchases that become fraud, and for each the number of the fraudster's device or card.

    Number ``n`` is used from day ``n // PER_DAY`` on for ``LIFE_DAYS`` days.
    """
    day = purchases.second // DAY_S
    starts = np.searchsorted(day, np.arange(days + 1))
    rows, which = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for today in range(days):
        genuine = starts[today] + np.flatnonzero(scenario[starts[today] : starts[today + 1]] == 0)
        oldest = max(0, today + 1 - LIFE_DAYS) * PER_DAY
        newest = (today + 1) * PER_DAY
        count = min(newest - oldest, int(len(genuine) * LARGEST_SHARE))
        rows.append(rng.choice(genuine, count, replace=False))
        which.append(rng.integers(oldest, newest, size=count))
    return np.concatenate(rows), np.concatenate(which)
