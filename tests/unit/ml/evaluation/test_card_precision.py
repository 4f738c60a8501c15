"""Card precision at k: small cases by hand, and comparison with a plain loop over resampled cards."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ml.evaluation.bootstrap import customer_weights
from ml.evaluation.card_precision import DAY_MS, card_precision, days_of


def by_hand(
    scores: NDArray[np.float64],
    fraud: NDArray[np.bool_],
    customers: NDArray[np.int64],
    days: NDArray[np.int64],
    weights: NDArray[np.float64],
    k: int,
) -> float:
    """Review the first k cards of each day one by one; a card drawn twice counts as two cards."""
    blocked: set[tuple[int, int]] = set()
    precisions = []
    for day in sorted(set(days.tolist())):
        cards = []
        for card in sorted(set(customers[days == day].tolist())):
            mine = (days == day) & (customers == card)
            copies = [copy for copy in range(int(weights[card])) if (card, copy) not in blocked]
            cards += [(-scores[mine].max(), card, copy, bool(fraud[mine].any())) for copy in copies]
        found = [(card, copy) for _, card, copy, compromised in sorted(cards)[:k] if compromised]
        blocked.update(found)
        precisions.append(len(found) / k)
    return float(np.mean(precisions))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_the_result_equals_the_plain_loop(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 60))
    # Scores are distinct, because the order of cards with equal scores is not defined.
    scores = rng.permutation(size) / size
    fraud, customers, days = rng.random(size) < 0.4, rng.integers(0, 6, size), rng.integers(0, 4, size)
    weights = customer_weights(6, 5, seed)
    values = card_precision(scores, fraud, customers, days, weights, k)
    for value, row in zip(values, weights, strict=True):
        assert value == pytest.approx(by_hand(scores, fraud, customers, days, row, k))


def test_a_blocked_card_leaves_room_for_another() -> None:
    """Card 0 is found on the first day. On the second day card 1 is reviewed, although card 0 has a higher score."""
    scores = np.array([0.9, 0.5, 0.9, 0.5])
    customers, days = np.array([0, 1, 0, 1]), np.array([0, 0, 1, 1])
    values = card_precision(scores, np.array([True, False, True, True]), customers, days, np.ones((1, 2)), k=1)
    assert values[0] == 1.0


def test_days_are_utc_days() -> None:
    assert days_of(np.array([0, DAY_MS - 1, DAY_MS])).tolist() == [0, 0, 1]
