"""Card precision at k: of the k cards a fraud desk can call in a day, how many were really compromised.

Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for Credit Card Fraud Detection: Practical
Handbook" (2022), chapter 4: each day the cards are ranked by their highest score of the day; the k first are looked at;
a compromised card that was found is blocked and is not ranked again. The mean over the days is returned. Unlike the
transaction metrics it does not count one thief's tenth purchase as a tenth success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ml.evaluation.bootstrap import blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ml.evaluation.bootstrap import Weights

DAY_MS: Final = 86_400_000


def days_of(event_time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the UTC day of each row."""
    return event_time_ms // DAY_MS


def card_precision(
    scores: NDArray[np.float64],
    fraud: NDArray[np.bool_],
    customers: NDArray[np.int64],
    days: NDArray[np.int64],
    weights: Weights,
    k: int,
) -> NDArray[np.float64]:
    """Return the mean card precision at `k` under every row of the weights.

    Args:
        scores: of labelled rows, at least one.
        fraud: their labels.
        customers: code of each row's card.
        days: see `days_of`.
        weights: resamples x customers; a card drawn twice is two cards of one score.
        k: cards looked at per day, 1 or more. On a day with fewer cards the precision is still over `k`, as in the
            handbook: idle capacity is not precision.
    """
    ranked = [_cards_of_day(days == day, scores, fraud, customers) for day in np.unique(days)]
    parts = [_over_days(ranked, block.astype(np.float64), k) for block in blocks(weights, weights.shape[1])]
    return np.concatenate(parts) / len(ranked)


def _over_days(ranked: list[_Day], weights: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return the sum of the days' precision for each row of the weights."""
    left = weights.copy()  # cards not blocked yet
    precision = np.zeros(len(weights))
    for cards, compromised in ranked:
        open_cards = left[:, cards]
        before = np.cumsum(open_cards, axis=1) - open_cards
        found = np.clip(k - before, 0.0, open_cards) * compromised
        precision += found.sum(axis=1) / k
        left[:, cards] -= found
    return precision


class _Day(NamedTuple):
    """The cards of one day by falling score, and which of them were compromised."""

    cards: NDArray[np.int64]
    compromised: NDArray[np.bool_]


def _cards_of_day(
    today: NDArray[np.bool_], scores: NDArray[np.float64], fraud: NDArray[np.bool_], customers: NDArray[np.int64]
) -> _Day:
    cards, place = np.unique(customers[today], return_inverse=True)
    highest = np.full(len(cards), -np.inf)
    np.maximum.at(highest, place, scores[today])
    compromised = np.zeros(len(cards), dtype=np.bool_)
    np.logical_or.at(compromised, place, fraud[today])
    order = np.argsort(-highest, kind="stable")
    return _Day(cards[order], compromised[order])
