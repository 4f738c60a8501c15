"""Names, keys and rows of merchants, terminals, devices and cards."""

from __future__ import annotations

from itertools import combinations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.features.entity_risk import (
    ENTITY_OF,
    RISK_NAMES,
    RISK_NEUTRALS,
    RISK_SPECS,
    Entity,
    entities_of,
    entity_id,
)
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.merchants.events import NOT_NAMED, UNREADABLE, Purchase, read_entity_label, read_purchase
from flink_jobs.core.merchants.keys import entity_key, split_key
from flink_jobs.core.merchants.row import EntityRow, parse_row, row_of
from flink_jobs.core.merchants.table import EntityTable
from flink_jobs.core.models.faults import InputsNotReady, ModelError
from flink_jobs.core.models.inputs import compile_inputs
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState
from flink_jobs.core.transaction import Transaction
from tests.strategies import NOW_MS

OTHERS = [entity for entity in Entity if entity is not Entity.MERCHANT]
IDS = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20)
SLOT = NOW_MS // SLOT_MS - 1
BOUGHT = Transaction(
    "t", "c", 1_000, "EUR", NOW_MS, merchant="same", terminal="same", device="same", card="same"
)  # fmt: skip


def row(entity: Entity, name: str = "same", purchases: int = 1, slot: int = SLOT) -> EntityRow:
    state = MerchantState()
    for _ in range(purchases):
        state.update((slot - 1) * SLOT_MS, 10.0, 7)
    return row_of(name, state, slot, entity)


def test_the_names_of_all_inputs_are_in_canonical_order() -> None:
    assert tuple(ENTITY_OF) == tuple(name for entity in Entity for name in RISK_NAMES[entity])
    assert len(ENTITY_OF) == 4 * 12
    assert set(RISK_NEUTRALS) == set(ENTITY_OF)
    assert RISK_NAMES[Entity.MERCHANT][:4] == (
        "merchant_count_1d", "merchant_amount_1d", "merchant_due_1d", "merchant_fraud_share_1d",
    )  # fmt: skip
    assert all(spec.name.startswith(f"{entity}_") for entity in Entity for spec in RISK_SPECS[entity])


def test_a_list_of_entities_has_no_order_and_names_what_it_does_not_know() -> None:
    assert entities_of("") == ()
    assert entities_of(" card,merchant , card") == (Entity.MERCHANT, Entity.CARD)
    with pytest.raises(ValueError, match="ip has no history; choose from merchant, terminal, device, card"):
        entities_of("merchant,ip")


def test_the_id_of_an_entity_is_the_field_of_its_name() -> None:
    named = Transaction("t", "c", 1, "EUR", 1, merchant="m", terminal="p", device="d", card="k")
    assert [entity_id(named, entity) for entity in Entity] == ["m", "p", "d", "k"]
    assert [entity_id(Transaction("t", "c", 1, "EUR", 1), entity) for entity in Entity] == [None] * 4


@given(IDS, st.sampled_from(Entity), IDS, st.sampled_from(Entity))
def test_keys_are_unique_and_can_be_read(first: str, one: Entity, second: str, other: Entity) -> None:
    assert split_key(entity_key(one, first)) == (one, first)
    assert (entity_key(one, first) == entity_key(other, second)) == ((one, first) == (other, second))


@given(st.sampled_from(Entity), IDS, st.integers(0, 3))
def test_a_row_is_read_as_it_was_written(entity: Entity, name: str, purchases: int) -> None:
    written = row(entity, name, purchases)
    assert parse_row(written.to_json().encode()) == written
    assert orjson.loads(written.to_json())["schema_version"] == (1 if entity is Entity.MERCHANT else 2)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"entity": "merchant"}, "entity must be terminal or device or card"),
        ({"entity": 5}, "entity must be"),
        ({"id": ""}, "id must be a text without control characters"),
        ({"id": "a\x1fb"}, "id must be a text"),
        ({"schema_version": 1}, "merchant must be a text"),
        ({"schema_version": 3}, "schema_version must be 1 or 2"),
    ],
)
def test_bytes_that_are_no_row_of_an_entity_say_why(changed: dict[str, object], problem: str) -> None:
    document = orjson.loads(row(Entity.DEVICE).to_json()) | changed
    found = parse_row(orjson.dumps(document))
    assert isinstance(found, str)
    assert problem in found


def test_a_merchant_with_the_separator_in_its_id_cannot_pass_as_a_terminal() -> None:
    decision = {"merchant": "terminal\x1ft-1", "event_time_ms": 1, "amount_minor": 1, "currency": "EUR"}
    assert read_purchase(orjson.dumps(decision)) == UNREADABLE


@pytest.mark.parametrize("entity", OTHERS)
def test_a_decision_names_an_entity_or_not(entity: Entity) -> None:
    decision = {"event_time_ms": 5, "amount_minor": 250, "currency": "EUR"}
    assert read_purchase(orjson.dumps(decision), entity) == NOT_NAMED[entity] == f"no_{entity}"
    assert read_purchase(orjson.dumps(decision | {entity.value: "x"}), entity) == Purchase("x", 5, 2.5)
    for broken in (b"[]", b"{", orjson.dumps(decision | {entity.value: 7})):
        assert read_purchase(broken, entity) == UNREADABLE
    assert read_entity_label(b"{}", entity) == UNREADABLE


def test_equal_ids_of_different_entities_have_histories_of_their_own() -> None:
    table = EntityTable(tuple(Entity))
    for number, entity in enumerate(Entity, start=1):
        table.put(row(entity, purchases=number))
    assert [table.inputs(entity, BOUGHT)[0] for entity in Entity] == [1.0, 2.0, 3.0, 4.0]
    assert len(table) == 4


@pytest.mark.parametrize("entity", Entity)
def test_rows_of_one_entity_do_not_make_another_one_ready(entity: Entity) -> None:
    table = EntityTable(tuple(Entity))
    table.put(row(entity))
    assert table.inputs(entity, BOUGHT)[0] == 1.0
    for other in set(Entity) - {entity}:
        assert table.inputs(other, Transaction("t", "c", 1_000, "EUR", NOW_MS)) == (None,) * 12
        with pytest.raises(InputsNotReady, match=f"no current rows of {other}s"):
            table.inputs(other, BOUGHT)


def test_a_model_takes_inputs_of_several_entities_in_canonical_order() -> None:
    table = EntityTable(tuple(Entity))
    for number, entity in enumerate(Entity, start=1):
        table.put(row(entity, purchases=number))
    vector = FeatureVector(*[0.0] * len(FeatureVector._fields))
    for chosen in (pair for size in (1, 2, 3) for pair in combinations(Entity, size)):
        names = tuple(RISK_NAMES[entity][place] for entity in chosen for place in (0, 3))
        values = compile_inputs(names, {}, table)(vector, BOUGHT)
        assert values == tuple(v for entity in chosen for v in (float(list(Entity).index(entity) + 1), 0.0))
        if len(chosen) > 1:
            with pytest.raises(ModelError, match="in this order"):
                compile_inputs(names[::-1], {}, table)


def test_a_history_of_other_entities_scores_no_transaction() -> None:
    inputs = compile_inputs(RISK_NAMES[Entity.CARD], {}, EntityTable((Entity.MERCHANT,)))
    with pytest.raises(ModelError, match="known for rows only"):
        inputs(FeatureVector(*[0.0] * len(FeatureVector._fields)), BOUGHT)
