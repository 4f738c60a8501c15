"""The history of an entity that is turned on later is not used before it is complete."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.features.entity_risk import SETTLE_MS, Entity
from flink_jobs.core.merchants.coverage import COVERED_DAYS
from flink_jobs.core.merchants.row import row_of
from flink_jobs.core.merchants.start import EntityStart, EntityStarts, parse_message
from flink_jobs.core.merchants.table import EntityTable
from flink_jobs.core.models.faults import InputsNotReady
from flink_jobs.core.state.codec import StateCorrupt, StateVersionUnsupported
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState
from flink_jobs.core.state.sealed import seal
from flink_jobs.core.transaction import Transaction
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.job.merchant_operator import FIELDS
from ml.dataset import DAY_MS
from tests.contract.conftest import StrictValidator
from tests.strategies import NOW_MS
from tests.unit.job.fake_runtime import Operator, Runtime
from tests.unit.job.merchant_stream import MERCHANTS_TOPIC, MerchantStream, row_record
from tests.unit.job.samples import settings
from tests.unit.job.test_merchants import bought

if TYPE_CHECKING:
    from collections.abc import Callable

BOTH = (Entity.MERCHANT, Entity.TERMINAL)
SLOT_START_MS = NOW_MS // SLOT_MS * SLOT_MS
GOLDEN = "01d66bc57d070000006d0000000000000000740500000000000000"


def resumed(stream: MerchantStream, entities: tuple[Entity, ...], **options: Any) -> MerchantStream:  # noqa: ANN401
    return MerchantStream(Runtime(backend=stream.runtime.backend), entities, **options)


def since(starts: list[EntityStart]) -> dict[Entity, int]:
    return {start.entity: start.kept_since_ms for start in starts}


def test_a_job_that_begins_without_state_has_the_whole_history() -> None:
    stream = MerchantStream(entities=BOTH)
    assert since(stream.beat(SLOT_START_MS + 5)) == dict.fromkeys(BOTH, 0)
    assert stream.beat(SLOT_START_MS + 6) == [], "once per slot"
    assert since(resumed(stream, BOTH).beat(SLOT_START_MS + SLOT_MS)) == dict.fromkeys(BOTH, 0)
    assert stream.beat(SLOT_START_MS) == [], "a decision of an earlier slot"


def test_an_entity_that_is_turned_on_later_is_kept_since_then(caplog: pytest.LogCaptureFixture) -> None:
    stream = MerchantStream()
    stream.beat(SLOT_START_MS)
    stream = resumed(stream, BOTH)
    expected = {Entity.MERCHANT: 0, Entity.TERMINAL: SLOT_START_MS + 7}
    assert since(stream.beat(SLOT_START_MS + 7)) == expected
    assert since(resumed(stream, BOTH).beat(SLOT_START_MS + 3 * DAY_MS)) == expected, "it is in the state"
    (first, *_) = [orjson.loads(record.message) for record in caplog.records]
    assert first["event"] == "history_too_short"
    assert first["detail"].startswith("terminal: models use its history once it covers 37 days")


def test_an_entity_that_was_off_in_between_starts_again() -> None:
    stream = MerchantStream(entities=BOTH)
    stream.beat(SLOT_START_MS)
    stream = resumed(stream, (Entity.MERCHANT,))
    assert since(stream.beat(SLOT_START_MS + 1)) == {Entity.MERCHANT: 0}
    assert since(resumed(stream, BOTH).beat(SLOT_START_MS + 2))[Entity.TERMINAL] == SLOT_START_MS + 2


def test_a_short_history_can_be_accepted_also_afterwards() -> None:
    stream = MerchantStream()
    stream.beat(SLOT_START_MS)
    stream = resumed(stream, BOTH)
    stream.beat(SLOT_START_MS)
    accepted = resumed(stream, BOTH, is_short_history_accepted=True)
    assert since(accepted.beat(SLOT_START_MS)) == dict.fromkeys(BOTH, 0)
    assert since(resumed(accepted, BOTH).beat(SLOT_START_MS + SLOT_MS)) == dict.fromkeys(BOTH, 0)


def damage_all(stream: MerchantStream) -> None:
    for state in stream.runtime.backend.states.values():
        for key in state.values:
            state.values[key] = b"\x01damaged"


def test_damaged_starts_count_as_kept_since_now(caplog: pytest.LogCaptureFixture) -> None:
    """Regression: they counted as complete, so a short history looked like no fraud."""
    stream = MerchantStream(entities=BOTH)
    stream.beat(SLOT_START_MS)
    damage_all(stream)
    expected = dict.fromkeys(BOTH, SLOT_START_MS + 5)
    assert since(stream.beat(SLOT_START_MS + 5)) == expected
    assert since(resumed(stream, BOTH).beat(SLOT_START_MS + SLOT_MS)) == expected, "it is in the state"
    assert stream.runtime.count("merchant_histories_lost", state="starts") == 1
    assert stream.runtime.count("merchant_unreadable") == 0
    line, *_ = [orjson.loads(record.message) for record in caplog.records]
    assert (line["event"], line["level"]) == ("history_lost", "error")
    assert line["detail"] == (
        "8 bytes are no starts of a merchant; the history of all ids of merchant, terminal counts from now on, and "
        "models get no inputs of it until it covers 37 days (docs/histories.md)"
    )


def test_damaged_starts_count_as_complete_where_a_short_history_is_accepted(caplog: pytest.LogCaptureFixture) -> None:
    stream = MerchantStream(entities=BOTH, is_short_history_accepted=True)
    stream.beat(SLOT_START_MS)
    damage_all(stream)
    assert since(stream.beat(SLOT_START_MS)) == dict.fromkeys(BOTH, 0)
    assert stream.runtime.count("merchant_histories_lost", state="starts") == 1
    (line,) = [orjson.loads(record.message) for record in caplog.records]
    assert line["detail"].endswith("STREAMFLOW_RISK_ACCEPT_SHORT_HISTORY lets models use it at once")


def test_starts_survive_as_bytes_of_every_release() -> None:
    starts = EntityStarts()
    starts.at((Entity.MERCHANT,), SLOT_MS, is_short_accepted=False)
    starts.at(BOTH, 5, is_short_accepted=False)
    starts.at(BOTH, 7 * SLOT_MS, is_short_accepted=False)
    assert starts.to_bytes().hex() == GOLDEN
    stored = EntityStarts(bytes.fromhex(GOLDEN))
    assert stored.at(BOTH, 7 * SLOT_MS, is_short_accepted=False) == []
    assert since(stored.at(BOTH, 8 * SLOT_MS, is_short_accepted=False)) == {Entity.MERCHANT: 0, Entity.TERMINAL: 5}
    with pytest.raises(StateCorrupt, match="cut short"):
        EntityStarts(seal(1, bytes(5)))
    with pytest.raises(StateVersionUnsupported):
        EntityStarts(seal(2, bytes(4)))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"entity": "shop"}, "entity must be merchant or terminal or device or card"),
        ({"entity": []}, "entity must be"),
        ({"kept_since_ms": -1}, "kept_since_ms must be"),
        ({"kept_since_ms": "1"}, "kept_since_ms must be"),
        ({"schema_version": 5}, "schema_version must be 1 or 2 or 3 or 4"),
    ],
)
def test_bytes_that_are_no_start_say_why(changed: dict[str, object], problem: str) -> None:
    start = EntityStart(Entity.CARD, NOW_MS)
    assert parse_message(start.to_json().encode()) == start
    assert (
        list(StrictValidator(load_contracts()["merchant-risk"].schema(3)).iter_errors(orjson.loads(start.to_json())))
        == []
    )
    found = parse_message(orjson.dumps(orjson.loads(start.to_json()) | changed))
    assert isinstance(found, str)
    assert problem in found


def with_rows(slot: int) -> EntityTable:
    table = EntityTable(BOTH)
    for entity in BOTH:
        state = MerchantState()
        state.update((slot - 1) * SLOT_MS, 10.0, 7)
        table.put(row_of("x", state, slot, entity))
    return table


def test_inputs_are_ready_with_the_first_slot_whose_windows_are_complete() -> None:
    start = EntityStart(Entity.TERMINAL, SLOT_START_MS + 1)
    slot = SLOT_START_MS // SLOT_MS + COVERED_DAYS * 4
    table = with_rows(slot)
    table.put(start)
    first = Transaction("t", "c", 1, "EUR", (slot + 1) * SLOT_MS + SETTLE_MS, merchant="x", terminal="x")
    before = first._replace(event_time_ms=first.event_time_ms - 1)
    assert table.inputs(Entity.TERMINAL, first)[0] == 1.0
    with pytest.raises(InputsNotReady, match="the history of terminals is still too short"):
        table.inputs(Entity.TERMINAL, before)
    assert table.inputs(Entity.MERCHANT, before)[0] == 1.0, "it holds back its own entity only"
    table.put(start._replace(kept_since_ms=0))
    assert table.inputs(Entity.TERMINAL, before)[0] == 1.0, "the job began again without state"


def test_a_detector_keeps_starts_over_a_restore() -> None:
    wanted = replace(settings(), merchants_topic=MERCHANTS_TOPIC, risk_entities=BOTH)
    runtime, start = Runtime(), EntityStart(Entity.TERMINAL, NOW_MS)
    Operator(FraudDetectorFunction(wanted), runtime).control(row_record(start.to_json().encode()))
    assert runtime.broadcast["merchant-risk-rows"] == {"terminal\x1f": start.to_json()}
    assert runtime.count("merchant_rows_read", outcome="applied") == 1
    again = Runtime(broadcast=runtime.broadcast)
    Operator(FraudDetectorFunction(replace(wanted, risk_entities=(Entity.MERCHANT,))), again).control(
        row_record(EntityStart(Entity.MERCHANT, 0).to_json().encode())
    )
    Operator(FraudDetectorFunction(wanted), Runtime(broadcast=runtime.broadcast)).control(row_record(b"{}"))
    assert "merchant\x1f" in runtime.broadcast["merchant-risk-rows"]


def both_ways(work: Callable[[MerchantStream], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    whole, fields = work(MerchantStream(entities=BOTH)), work(MerchantStream(entities=BOTH, origin=FIELDS))
    assert whole == fields
    return whole


def test_the_fields_that_java_picks_make_the_rows_of_the_whole_decision() -> None:
    def work(stream: MerchantStream) -> list[dict[str, Any]]:
        for number, amount in enumerate((1, 250, 99_999_999)):
            decision = bought("K\u00fcche", SLOT_START_MS + number, amount)
            stream.decide(decision | {"terminal": "x", "currency": ("EUR", "JPY", "KWD")[number]})
        return stream.advance(SLOT_START_MS + SLOT_MS)

    assert [row["windows"][0]["transactions"] for row in both_ways(work)] == [3, 3]


def test_fields_with_an_unknown_currency_are_counted_as_unreadable() -> None:
    stream = MerchantStream(entities=BOTH, origin=FIELDS)
    stream.decide(bought("m", SLOT_START_MS) | {"currency": "???"})
    assert stream.runtime.count("merchant_unreadable") == 1
