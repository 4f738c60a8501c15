"""Card precision at k: the share of compromised cards among the k cards that a fraud desk calls in a day.

Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for Credit Card Fraud Detection: Practical
Handbook" (2022), chapter 4. Each day the cards are ranked by their highest score of that day, and the desk reviews the
first k. A compromised card that was found is blocked and not ranked again. The result is the mean over the days. Unlike
the transaction metrics, card precision does not count the tenth purchase of one thief as a tenth success.
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
    """Return the mean card precision at ``k`` for every row of the weights.

    Args:
        scores: scores of labelled rows, at least one.
        fraud: the labels, true for fraud.
        customers: code of each row's card.
        days: see ``days_of``.
        weights: resamples x customers; a card drawn twice counts as two cards with the same score.
        k: cards reviewed per day, 1 or more. On a day with fewer cards the denominator is still ``k``, as in the
            handbook: unused capacity does not raise precision.
    """
    ranked = [_cards_of_day(days == day, scores, fraud, customers) for day in np.unique(days)]
    parts = [_over_days(ranked, block.astype(np.float64), k) for block in blocks(weights, weights.shape[1])]
    return np.concatenate(parts) / len(ranked)


def _over_days(ranked: list[_Day], weights: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return the sum of the daily precisions for each row of the weights."""
    left = weights.copy()  # cards that are not blocked yet
    precision = np.zeros(len(weights))
    for cards, compromised in ranked:
        open_cards = left[:, cards]
        before = np.cumsum(open_cards, axis=1) - open_cards
        found = np.clip(k - before, 0.0, open_cards) * compromised
        precision += found.sum(axis=1) / k
        left[:, cards] -= found
    return precision


class _Day(NamedTuple):
    """The cards of one day by descending score; ``compromised`` is true for cards with a fraud on that day."""

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
