"""Card precision at k: of the k cards a fraud desk can call in a day, how many were really compromised.

Le Borgne, Siblini, Lebichot and Bontempi, "Reproducible Machine Learning for Credit Card Fraud Detection: Practical
Handbook" (2022), chapter 4: each day the cards are ranked by their highest score of the day; the k first are looked at;
a compromised card that was found is blocked and is not ranked again. The mean over the days is returned. Unlike the
transaction metrics it does not count one thief's tenth purchase as a tenth success.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

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
    blocked = np.zeros(weights.shape)
    precision = np.zeros(len(weights))
    different = np.unique(days)
    for day in different:
        cards, highest, compromised = _cards_of_day(days == day, scores, fraud, customers)
        order = np.argsort(-highest, kind="stable")
        cards, compromised = cards[order], compromised[order]
        open_cards = weights[:, cards] - blocked[:, cards]
        before = np.cumsum(open_cards, axis=1) - open_cards
        looked_at = np.clip(k - before, 0.0, open_cards) * compromised
        precision += looked_at.sum(axis=1) / k
        blocked[:, cards] += looked_at
    return precision / len(different)


def _cards_of_day(
    today: NDArray[np.bool_], scores: NDArray[np.float64], fraud: NDArray[np.bool_], customers: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    cards, place = np.unique(customers[today], return_inverse=True)
    highest = np.full(len(cards), -np.inf)
    np.maximum.at(highest, place, scores[today])
    compromised = np.zeros(len(cards), dtype=np.bool_)
    np.logical_or.at(compromised, place, fraud[today])
    return cards, highest, compromised
