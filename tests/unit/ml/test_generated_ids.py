"""Generated devices and cards: who uses them, and that the purchases themselves stay as they are."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest

from flink_jobs.cards.card_files import read_events
from flink_jobs.cards.mapping import load_mapping
from ml.generated_ids import (
    CARD_COLUMN,
    CARD_FRAUD,
    DEVICE_COLUMN,
    DEVICE_FRAUD,
    LIFE_DAYS,
    PER_DAY,
    PurchaseIds,
    with_ids,
)
from ml.terminal_fraud import DAY_S, Purchases, World, generate, write_csv

WORLD = World(400, 800, 100, 1)


@pytest.fixture(scope="module")
def plain() -> Purchases:
    return generate(WORLD)


@pytest.fixture(scope="module")
def made(plain: Purchases) -> tuple[Purchases, PurchaseIds]:
    return with_ids(plain, WORLD, 2, 3)


def test_time_customer_terminal_and_amount_stay_and_only_genuine_purchases_become_fraud(
    plain: Purchases, made: tuple[Purchases, PurchaseIds]
) -> None:
    purchases, _ = made
    for name in ("second", "customer", "terminal", "amount"):
        np.testing.assert_array_equal(getattr(purchases, name), getattr(plain, name))
    changed = purchases.scenario != plain.scenario
    assert set(plain.scenario[changed].tolist()) == {0}
    assert set(purchases.scenario[changed].tolist()) == {DEVICE_FRAUD, CARD_FRAUD}


def test_a_fraudsters_device_makes_nothing_but_frauds_of_many_customers_for_28_days(
    made: tuple[Purchases, PurchaseIds],
) -> None:
    purchases, ids = made
    fraud = purchases.scenario == DEVICE_FRAUD
    devices = np.unique(ids.device[fraud])
    assert PER_DAY * (WORLD.days - LIFE_DAYS) < len(devices) <= PER_DAY * WORLD.days
    day, owners = purchases.second // DAY_S, []
    for device in devices.tolist():
        mine = ids.device == device
        assert fraud[mine].all()
        assert np.ptp(day[mine]) < LIFE_DAYS
        owners.append(len(np.unique(purchases.customer[mine])))
    assert np.mean(owners) > 10
    others = {
        (device, customer) for device, customer in zip(ids.device[~fraud], purchases.customer[~fraud], strict=True)
    }
    assert len({device for device, _ in others}) == len(others), "any other device has one customer"


def test_customers_replace_their_devices(made: tuple[Purchases, PurchaseIds]) -> None:
    purchases, ids = made
    own = purchases.scenario != DEVICE_FRAUD
    counts = [len(np.unique(ids.device[own & (purchases.customer == one)])) for one in range(50)]
    assert max(counts) in range(3, 2 * (WORLD.days // 90 + 2) + 1), "two at a time, each for 90 days"


def test_a_stolen_card_is_used_by_its_holder_and_on_the_accounts_of_others(
    made: tuple[Purchases, PurchaseIds],
) -> None:
    purchases, ids = made
    fraud = purchases.scenario == CARD_FRAUD
    assert (ids.card[~fraud] // 3 == purchases.customer[~fraud]).all(), "any other card has one customer"
    stolen = np.unique(ids.card[fraud])
    mixed = sum(bool((~fraud[ids.card == card]).any()) for card in stolen.tolist())
    assert mixed > 0.8 * len(stolen)
    strangers = ids.card[fraud] // 3 != purchases.customer[fraud]
    assert strangers.mean() > 0.9


def test_one_card_of_a_customer_makes_the_frauds_of_one_compromise(made: tuple[Purchases, PurchaseIds]) -> None:
    purchases, ids = made
    seen = 0
    for customer in range(100):
        mine = np.flatnonzero((purchases.customer == customer) & (purchases.scenario == 3))
        if not len(mine):
            continue
        breaks = np.flatnonzero(np.diff(purchases.second[mine]) >= 14 * DAY_S) + 1
        for episode in np.split(mine, breaks):
            assert len(np.unique(ids.card[episode])) == 1
            seen += len(episode) > 1
    assert seen > 20


@pytest.mark.parametrize(("devices", "cards", "kinds"), [(2, None, {DEVICE_FRAUD}), (None, 2, {CARD_FRAUD})])
def test_a_kind_without_its_option_has_no_frauds_and_one_id_a_customer(
    plain: Purchases, devices: int | None, cards: int | None, kinds: set[int]
) -> None:
    purchases, ids = with_ids(plain, WORLD, devices, cards)
    assert set(purchases.scenario.tolist()) - {0, 1, 2, 3} == kinds
    if cards is None:
        np.testing.assert_array_equal(ids.card, purchases.customer)


def test_the_same_seed_gives_the_same_file_and_the_preset_reads_it(tmp_path: Path) -> None:
    world = World(20, 40, 10, 1)
    purchases, ids = with_ids(generate(world), world, 2, 2)
    path = tmp_path / "cards.csv"
    write_csv(purchases, path, ids={DEVICE_COLUMN: ids.device, CARD_COLUMN: ids.card})
    events = list(read_events(path, load_mapping(Path("preset:handbook-devices"))))
    assert [event.transaction["device"] for event in events] == [str(number) for number in ids.device.tolist()]
    assert [event.transaction["card"] for event in events] == [str(number) for number in ids.card.tolist()]
    assert [event.label for event in events] == (purchases.scenario > 0).tolist()
    with path.open() as file:
        assert {DEVICE_COLUMN, CARD_COLUMN} < set(csv.DictReader(file).fieldnames or ())
    assert (
        hashlib.sha256(path.read_bytes()).hexdigest()
        == "e805b9305578268b66f82336d22710bf59f5e5fe23cf5d9b1b89ff69053f5ff2"  # pragma: allowlist secret
    )


def test_a_world_without_purchases_has_no_ids() -> None:
    world = World(3, 2, 3, 0)
    nobody = generate(world)
    assert len(nobody) == 0
    purchases, ids = with_ids(nobody, world, 1, 1)
    assert len(purchases) == len(ids.device) == len(ids.card) == 0
