"""The generated data have the frauds of the description, and the same seed gives the same file."""

from __future__ import annotations

import csv
import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest

from flink_jobs.cards.card_files import read_events
from flink_jobs.cards.mapping import load_mapping
from ml.terminal_fraud import (
    CARD_DAYS,
    CARD_FACTOR,
    DAY_S,
    HEADER,
    HIGH_AMOUNT,
    MERCHANT_COLUMN,
    TERMINAL_DAYS,
    Purchases,
    World,
    generate,
    write_csv,
)

WORLD = World(400, 800, 60, 1)


@pytest.fixture(scope="module")
def purchases() -> Purchases:
    return generate(WORLD)


def test_the_same_seed_gives_the_same_purchases_and_another_seed_others(purchases: Purchases) -> None:
    again, other = generate(WORLD), generate(World(400, 800, 60, 2))
    np.testing.assert_array_equal(purchases.amount, again.amount)
    np.testing.assert_array_equal(purchases.scenario, again.scenario)
    assert not np.array_equal(purchases.amount[:100], other.amount[:100])


def test_purchases_are_ordered_and_as_frequent_as_described(purchases: Purchases) -> None:
    assert (np.diff(purchases.second) >= 0).all()
    assert purchases.second.min() > 0
    assert purchases.second.max() < WORLD.days * DAY_S
    per_customer_and_day = len(purchases) / WORLD.customers / WORLD.days
    assert 1.7 < per_customer_and_day < 2.1, "0 to 4 a day, less those outside of the day"
    assert (purchases.amount >= 0.0).all()


def test_every_high_amount_is_fraud(purchases: Purchases) -> None:
    assert (purchases.scenario[purchases.amount > HIGH_AMOUNT] > 0).all()
    first = purchases.scenario == 1
    assert first.any()
    assert (purchases.amount[first] > HIGH_AMOUNT).all()


def test_a_compromised_terminal_has_fraud_only_for_28_days_or_more(purchases: Purchases) -> None:
    day = purchases.second // DAY_S
    for terminal in np.unique(purchases.terminal[purchases.scenario == 2]).tolist():
        mine = purchases.terminal == terminal
        bad = np.unique(day[mine & (purchases.scenario == 2)])
        run = mine & (day >= bad.min()) & (day <= min(bad.max(), bad.min() + TERMINAL_DAYS - 1))
        if (np.diff(bad) < TERMINAL_DAYS).all() and bad.max() - bad.min() < TERMINAL_DAYS:
            assert (purchases.scenario[run] > 0).all(), "every purchase at it"


def test_a_third_of_the_purchases_of_a_compromised_card_are_larger(purchases: Purchases) -> None:
    genuine = generate(World(400, 800, 60, 1))
    of_card = purchases.scenario == 3
    assert of_card.any()
    ratio = purchases.amount[of_card].mean() / purchases.amount[purchases.scenario == 0].mean()
    assert ratio == pytest.approx(CARD_FACTOR, rel=0.2)
    cards = np.unique(purchases.customer[of_card])
    assert 100 < len(cards) <= 3 * WORLD.days
    assert len(genuine) == len(purchases)
    assert CARD_DAYS == 14


@pytest.mark.parametrize("name", ["cards.csv", "cards.csv.gz"])
def test_the_file_has_the_columns_of_the_handbook(name: str, tmp_path: Path) -> None:
    small = generate(World(20, 40, 10, 1))
    path = tmp_path / name
    write_csv(small, path)
    content = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    assert content.decode().splitlines()[0] == ",".join(HEADER)
    events = list(read_events(path, load_mapping(Path("preset:handbook"))))
    assert len(events) == len(small)
    assert [event.label for event in events] == (small.scenario > 0).tolist()
    assert [event.transaction["merchant"] for event in events] == [str(number) for number in small.terminal]


def test_terminals_in_groups_have_a_merchant_and_nothing_else_changes(tmp_path: Path) -> None:
    small = generate(World(20, 40, 10, 1))
    plain, grouped = tmp_path / "plain.csv", tmp_path / "grouped.csv"
    write_csv(small, plain)
    write_csv(small, grouped, terminals_per_merchant=10)
    with plain.open() as one, grouped.open() as other:
        for without, row in zip(csv.DictReader(one), csv.DictReader(other), strict=True):
            merchant = row.pop(MERCHANT_COLUMN)
            assert row == without
            assert int(merchant) == int(row["TERMINAL_ID"]) // 10
    events = list(read_events(grouped, load_mapping(Path("preset:handbook-merchants"))))
    merchants = [event.transaction["merchant"] for event in events]
    assert merchants == [str(number // 10) for number in small.terminal.tolist()]
    assert len(set(merchants)) > 1
    assert [event.transaction["terminal"] for event in events] == [str(number) for number in small.terminal]


def test_the_default_file_has_the_bytes_of_the_first_release(tmp_path: Path) -> None:
    path = tmp_path / "cards.csv"
    write_csv(generate(World(20, 40, 10, 1)), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest == "5783b9520c2c98759f6a6dca75581ffeb72a77d3dd0ed267ca8615b6da5a0cf4"
