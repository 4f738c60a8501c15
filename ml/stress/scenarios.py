"""The scenarios: each is one named change of all purchases from the first judged row on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ml.columns import NOTHING, Coded
from ml.dataset import FRAUD

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ml.dataset import Dataset
    from ml.stress.period import Period

PRICE_FACTOR: Final = 1.2
EURO_IN_DOLLARS: Final = 1.1
FOREIGN_SHARE: Final = 0.25
ABSENT_SHARE: Final = 0.5
NEW_CATEGORY_SHARE: Final = 0.2
NEW_CATEGORY: Final = "(a category without history)"
LATER_LABEL_DAYS: Final = 14
"""Further days until a label is known."""
LONGEST_GAP_MS: Final = 12 * 3_600_000
"""An added purchase follows its purchase by at most this: half way to the customer's next one, if that is earlier."""


class Impossible(Exception):  # noqa: N818 - no error: the text is shown in place of numbers
    """A scenario cannot be computed; the text says why."""


class Scenario(NamedTuple):
    """One scenario."""

    name: str
    change: Callable[[Dataset, Period, np.random.Generator], Period] | None = None
    """Returns the changed purchases, or raises ``Impossible``; None: the purchases stay as they are."""
    later_labels: bool = False
    """Whether labels become known ``LATER_LABEL_DAYS`` later; histories of entities use labels."""
    has_customers: bool = True
    """Whether the customers' histories from before the first judged row exist."""
    has_model: bool = True
    """Whether a model scores; without one the rules score alone."""

    @property
    def is_change(self) -> bool:
        """Whether purchases or histories of customers differ, so that features must be computed again."""
        return self.change is not None or not self.has_customers


def higher_prices(_: Dataset, period: Period, __: np.random.Generator) -> Period:
    """Return the purchases at higher prices."""
    units = period.minor_units()
    return replace(period, amount=np.round(period.amount * PRICE_FACTOR * units) / units)


def foreign_currency(_: Dataset, period: Period, rng: np.random.Generator) -> Period:
    """Return the purchases with a share of those in euros and dollars in the other of the two."""
    names = period.currency.names
    names = (*names, *(name for name in ("EUR", "USD") if name not in names))
    euro, dollar = names.index("EUR"), names.index("USD")
    codes = period.currency.codes.copy()
    can = np.isin(codes, (euro, dollar))
    if not can.any():
        raise Impossible("no judged row is in euros or dollars")
    chosen = can & (rng.random(len(period)) < FOREIGN_SHARE)
    rate = np.where(codes == euro, EURO_IN_DOLLARS, 1.0 / EURO_IN_DOLLARS)
    amount = np.where(chosen, np.round(period.amount * rate, 2), period.amount)
    codes[chosen] = np.where(codes[chosen] == euro, dollar, euro)
    return replace(period, amount=amount, currency=Coded(codes, names))


def absent_fields(_: Dataset, period: Period, rng: np.random.Generator) -> Period:
    """Return the purchases, a share of them without category, place, merchant, terminal, device and card."""
    chosen = rng.random(len(period)) < ABSENT_SHARE

    def without(codes: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.where(chosen, NOTHING, codes).astype(np.int32)

    ids = {entity: without(codes) for entity, codes in period.ids.items()}
    category = replace(period.category, codes=without(period.category.codes))
    return replace(period, ids=ids, category=category, has_place=~chosen)


def new_category(_: Dataset, period: Period, rng: np.random.Generator) -> Period:
    """Return the purchases, a share of those with a category in one that neither model nor customers know."""
    known = period.category.codes != NOTHING
    if not known.any():
        raise Impossible("no judged row has a category")
    chosen = known & (rng.random(len(period)) < NEW_CATEGORY_SHARE)
    codes = np.where(chosen, len(period.category.names), period.category.codes).astype(np.int32)
    return replace(period, category=Coded(codes, (*period.category.names, NEW_CATEGORY)))


def twice_the_purchases(dataset: Dataset, period: Period, _: np.random.Generator) -> Period:
    """Return the purchases, each that is not a labelled fraud followed by a second one like it."""
    customers = dataset.customer.codes[period.row]
    order = np.lexsort((period.time_ms, customers))
    times = period.time_ms[order]
    gap = np.full(len(period), LONGEST_GAP_MS, dtype=np.int64)
    same = customers[order][1:] == customers[order][:-1]
    gap[:-1][same] = np.minimum(LONGEST_GAP_MS, (times[1:] - times[:-1])[same] // 2)
    after = np.empty_like(gap)
    after[order] = gap
    again = np.flatnonzero(dataset.labels[period.row] != FRAUD)
    both = period[np.concatenate([np.arange(len(period)), again])]
    is_copy = np.arange(len(both)) >= len(period)
    time_ms = both.time_ms + np.where(is_copy, np.concatenate([after, after[again]]), 0)
    both = replace(both, is_copy=is_copy, time_ms=time_ms)
    # The purchases keep their order among each other; a second one comes before the first later purchase.
    newest = np.maximum.accumulate(period.time_ms)
    place = np.where(is_copy, np.searchsorted(newest, time_ms, side="right") - 0.5, np.arange(len(both)))
    return both[np.lexsort((time_ms, place))]


SCENARIOS: Final = (
    Scenario("as recorded"),
    Scenario("amounts 20 % higher", higher_prices),
    Scenario("a quarter of the purchases in another currency, at the exchange rate of 1.10", foreign_currency),
    Scenario("half of the purchases without category, place, merchant, terminal, device and card", absent_fields),
    Scenario("a fifth of the purchases in a new category", new_category),
    Scenario("twice as many purchases of each customer", twice_the_purchases),
    Scenario("customers without history", has_customers=False),
    Scenario(f"labels known {LATER_LABEL_DAYS} days later", later_labels=True),
    Scenario("no model, or histories not ready: rules alone", has_model=False),
)
