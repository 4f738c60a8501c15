"""Data with a planted defect produces the warning of that defect; sound data produces none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flink_jobs.cards.card_files import mapping_for, read_events
from ml.dataset import UNKNOWN, build_dataset
from ml.sanity.checks import check_dataset
from ml.sanity.finding import SHOWN, Check, Finding, examples_of
from tests.unit.ml.sanity.cards import CUSTOMERS, DAYS, NOW_MS, START_S, Card, events, like_the_old_sample, sound

SAMPLE = Path(__file__).parents[3] / "data" / "card_transactions.csv.gz"


def found(cards: list[Card]) -> dict[Check, Finding]:
    return {finding.check: finding for finding in check_dataset(build_dataset(events(cards), NOW_MS))}


def changed(cards: list[Card], **parts: Callable[[Card], object]) -> list[Card]:
    """Change the frauds: each keyword names a column and the function that gives its value."""
    return [
        replace(card, **{name: value(card) for name, value in parts.items()}) if card.is_fraud else card  # type: ignore[arg-type]
        for card in cards
    ]


def one_day_of_fraud(cards: list[Card]) -> list[Card]:
    day = DAYS - 10
    moved = changed(cards, event_time=lambda card: START_S + day * 86_400 + card.event_time % 86_400)
    return [card for card in moved if card.is_fraud or card.day != day]


def only_fraud(cards: list[Card]) -> list[Card]:
    frauds = [card for card in cards if card.is_fraud]
    extra = [replace(card, transaction_id=f"{card.transaction_id}-2", customer_id="x" + card.customer_id)
             for card in frauds]  # fmt: skip
    return cards + extra


def numbered_late(cards: list[Card]) -> list[Card]:
    ordered = sorted(cards, key=lambda card: card.is_fraud)
    return [replace(card, transaction_id=f"t{number:06}") for number, card in enumerate(ordered)]


def victims_named(cards: list[Card]) -> list[Card]:
    victims = {card.customer_id for card in cards if card.is_fraud and card.customer_id[-1] in "0123"}
    kept = [card for card in cards if not card.is_fraud or card.customer_id in victims]
    return [replace(card, customer_id="v" + card.customer_id) if card.customer_id in victims else card for card in kept]


DEFECTS: dict[str, tuple[Check, Callable[[list[Card]], list[Card]]]] = {
    "a category of fraud": (
        Check.MOSTLY_FRAUD_CATEGORY, lambda cards: changed(cards, category=lambda _: "casino")),
    "a merchant of fraud": (
        Check.MOSTLY_FRAUD_MERCHANT, lambda cards: changed(cards, merchant=lambda _: "fraud shop")),
    "a day of fraud": (Check.MOSTLY_FRAUD_DAY, one_day_of_fraud),
    "categories by date": (Check.DATES_SORT_CATEGORIES, like_the_old_sample),
    "customers of fraud": (Check.CUSTOMERS_WITH_ONLY_FRAUD, only_fraud),
    "huge amounts": (Check.ONE_COLUMN_RANKS, lambda cards: changed(cards, amount=lambda card: 5_000 + card.amount)),
    "a prefix": (
        Check.LABELS_FOLLOW_IDS, lambda cards: changed(cards, transaction_id=lambda card: "f" + card.transaction_id)),
    "late numbers": (Check.LABELS_FOLLOW_IDS, numbered_late),
    "names of victims": (Check.LABELS_FOLLOW_IDS, victims_named),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_sound_rows_produce_no_warning(seed: int) -> None:
    assert found(sound(seed)) == {}


@pytest.mark.parametrize(("check", "spoil"), DEFECTS.values(), ids=DEFECTS)
def test_each_defect_produces_its_warning(check: Check, spoil: Callable[[list[Card]], list[Card]]) -> None:
    warning = found(spoil(sound()))[check]
    assert warning.message
    assert 1 <= len(warning.examples) <= SHOWN + 1


@pytest.mark.untraced
def test_the_sample_file_produces_no_warning() -> None:
    dataset = build_dataset(read_events(SAMPLE, mapping_for(SAMPLE, None)), time.time_ns() // 1_000_000)
    assert check_dataset(dataset) == []


def test_rows_without_labels_are_checked_for_their_dates_only() -> None:
    dataset = build_dataset(events(like_the_old_sample(sound())), NOW_MS)
    blind = replace(dataset, labels=np.full(len(dataset), UNKNOWN, dtype=np.int8))
    assert [finding.check for finding in check_dataset(blind)] == [Check.DATES_SORT_CATEGORIES]
    assert check_dataset(dataset.where(np.zeros(len(dataset), dtype=np.bool_))) == []


def test_a_single_customer_with_only_fraud_is_no_defect() -> None:
    victim = next(card.customer_id for card in sound() if card.is_fraud)
    assert found([card for card in sound() if card.is_fraud or card.customer_id != victim]) == {}
    assert CUSTOMERS > 1


def test_a_warning_shows_few_examples_and_the_number_of_the_others() -> None:
    assert examples_of(["a"]) == ("a",)
    assert examples_of(list("abcdefg")) == ("a", "b", "c", "d", "e", "2 more")
