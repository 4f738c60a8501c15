"""A damaged state or message never looks like an id without fraud: models get no inputs until it is complete again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.documents import Finding
from flink_jobs.core.features.entity_risk import SETTLE_MS, Entity
from flink_jobs.core.label import Label
from flink_jobs.core.merchants.book import EntityBook
from flink_jobs.core.merchants.coverage import COVERED_DAYS, NOT_KNOWN_MS
from flink_jobs.core.merchants.row import EntityRow, parse_row
from flink_jobs.core.merchants.start import EntityStart, parse_message, without_message
from flink_jobs.core.merchants.table import EntityTable
from flink_jobs.core.models.faults import InputsNotReady
from flink_jobs.core.state.codec import StateCorrupt, StateVersionUnsupported
from flink_jobs.core.state.merchant import SLOT_MS
from flink_jobs.core.state.sealed import seal
from flink_jobs.core.transaction import Transaction
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.job.merchant_operator import LATENESS_MIN
from ml.dataset import DAY_MS
from tests.contract.conftest import StrictValidator
from tests.strategies import NOW_MS
from tests.unit.job.fake_runtime import Operator, Runtime
from tests.unit.job.merchant_stream import MERCHANTS_TOPIC, MerchantStream, row_record
from tests.unit.job.samples import settings

if TYPE_CHECKING:
    from collections.abc import Callable

BOTH = (Entity.MERCHANT, Entity.TERMINAL)
START_MS = NOW_MS // SLOT_MS * SLOT_MS - 60 * DAY_MS
LATENESS_MS = LATENESS_MIN * 60_000
VALIDATORS = {number: StrictValidator(load_contracts()["merchant-risk"].schema(number)) for number in (1, 2, 4)}


def bought(time_ms: int, **ids: str) -> dict[str, Any]:
    return {"event_time_ms": time_ms, "amount_minor": 1_000, "currency": "EUR", **ids}


def fraud(time_ms: int, **ids: str) -> Label:
    return Label("t", "c", Finding.FRAUD, "desk", NOW_MS, "somebody", event_time_ms=time_ms, **ids)


def damage(stream: MerchantStream, key: str, *names: str) -> None:
    """Damage stored states of a key, by default both."""
    for name, state in stream.runtime.backend.states.items():
        if key in state.values and (not names or any(part in name for part in names)):
            state.values[key] = state.values[key][:-1] + bytes((state.values[key][-1] ^ 1,))


def restored(stream: MerchantStream, **options: Any) -> MerchantStream:  # noqa: ANN401
    again = MerchantStream(Runtime(backend=stream.runtime.backend), stream.entities, **options)
    again.timers.event_timers = stream.timers.event_timers
    return again


def inputs(table: EntityTable, entity: Entity, name: str, time_ms: int) -> tuple[float | None, ...] | str:
    ids: dict[str, Any] = {entity.value: name}
    transaction = Transaction("t", "c", 1_000, "EUR", time_ms + SETTLE_MS, **ids)
    try:
        return table.inputs(entity, transaction)
    except InputsNotReady as problem:
        return str(problem)


def by_hand(stream: MerchantStream) -> None:
    stream.decide(bought(START_MS, merchant="m", terminal="x"))
    stream.label(fraud(START_MS, merchant="m", terminal="x"))
    stream.advance(START_MS + SLOT_MS)


def by_purchase(stream: MerchantStream) -> None:
    stream.decide(bought(START_MS + SLOT_MS + 1, merchant="m"))


def by_label(stream: MerchantStream) -> None:
    stream.label(fraud(START_MS + 1, merchant="m"))


@pytest.mark.parametrize("found", [by_purchase, by_label, lambda _: None], ids=["purchase", "label", "timer"])
@pytest.mark.parametrize("names", [(), ("history",), ("progress",)], ids=["both", "history", "progress"])
def test_an_id_with_a_damaged_state_has_no_inputs_until_its_history_is_complete_again(
    found: Callable[[MerchantStream], None], names: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    stream = MerchantStream(entities=BOTH)
    by_hand(stream)
    stream.decide(bought(START_MS, merchant="other"))
    assert any(any(part in name for part in names or ("a",)) for name in stream.runtime.backend.states)
    damage(stream, "m", *names)
    found(stream)
    stream = restored(stream)
    table = EntityTable(BOTH)
    held, used, since = 0, 0, set()
    for slot in range(START_MS // SLOT_MS + 2, START_MS // SLOT_MS + COVERED_DAYS * 4 + 6):
        time_ms = slot * SLOT_MS
        for name in ("m", "other") if slot % 4 == 0 else ():
            stream.decide(bought(time_ms - 1, merchant=name, terminal="x"))
        for document in stream.advance(time_ms):
            row = parse_message(orjson.dumps(document))
            assert isinstance(row, EntityRow)
            table.put(row)
            if row.name == "m":
                assert not list(VALIDATORS[document["schema_version"]].iter_errors(document))
                since.add(row.kept_since_ms)
        assert not isinstance(inputs(table, Entity.MERCHANT, "other", time_ms), str)
        assert not isinstance(inputs(table, Entity.TERMINAL, "x", time_ms), str)
        answer = inputs(table, Entity.MERCHANT, "m", time_ms)
        if isinstance(answer, str):
            assert answer.startswith("the history of this merchant was lost")
            assert used == 0
            held += 1
        else:
            used += 1
    assert since == {0, START_MS + 2 * SLOT_MS + LATENESS_MS}, "one time, which a restore keeps, and at last none"
    assert held == COVERED_DAYS * 4 + 1
    assert used > 0
    assert stream.runtime.count("merchant_unreadable") == 0
    lines = [orjson.loads(record.message) for record in caplog.records]
    (line,) = [line for line in lines if line["event"] == "history_lost"]
    assert line["level"] == "error"
    assert line["detail"].endswith(
        "the history of one merchant begins from now on, and models get no inputs of it until it covers 37 days "
        "(docs/histories.md)"
    )


def test_a_damaged_state_that_a_late_purchase_finds_is_known_from_the_present_on() -> None:
    """The time of a late purchase would claim that the history of the days after it is known."""
    stream = MerchantStream()
    by_hand(stream)
    stream.advance(START_MS + 20 * DAY_MS)
    damage(stream, "m")
    stream.timers.watermark = -(2**63)
    stream.decide(bought(START_MS + 2 * DAY_MS, merchant="m"))
    rows = [parse_row(orjson.dumps(item)) for item in stream.advance(START_MS + 21 * DAY_MS)]
    assert {row.kept_since_ms for row in rows if isinstance(row, EntityRow)} == {START_MS + 21 * DAY_MS + LATENESS_MS}
    assert stream.runtime.count("merchant_histories_lost", state="id") == 1


@pytest.mark.parametrize("when", ["before the damage", "afterwards"])
def test_a_lost_history_is_used_at_once_where_a_short_one_is_accepted(
    when: str, caplog: pytest.LogCaptureFixture
) -> None:
    stream = MerchantStream(is_short_history_accepted=when == "before the damage")
    by_hand(stream)
    damage(stream, "m")
    by_purchase(stream)
    if when == "afterwards":
        assert stream.advance(START_MS + 2 * SLOT_MS)[0]["schema_version"] == 4
        stream = restored(stream, is_short_history_accepted=True)
    (row,) = stream.advance(START_MS + 3 * SLOT_MS)[-1:]
    assert (row["schema_version"], row["windows"][0]["transactions"]) == (1, 1)
    assert restored(stream).advance(START_MS + 4 * SLOT_MS)[0]["schema_version"] == 1, "it is in the state"
    (line,) = [orjson.loads(record.message) for record in caplog.records]
    assert line["level"] == "error"
    assert ("lets models use it at once" in line["detail"]) == (when == "before the damage")


@pytest.mark.parametrize(
    ("since", "golden"),
    [
        (0, "019cb2f0a3a83e0100010007000000000000000018dd419a010000"),
        (NOW_MS, "028367a40f00a8da769b010000a83e0100010007000000000000000018dd419a010000"),
    ],
    ids=["complete", "lost"],
)
def test_a_progress_survives_as_bytes_of_every_release(since: int, golden: str) -> None:
    stored = EntityBook("m", None, bytes.fromhex(golden))
    assert (stored.published, stored.kept_since_ms) == (START_MS // SLOT_MS, since)
    assert stored.progress_bytes().hex() == golden
    with pytest.raises(StateCorrupt):
        EntityBook("m", None, bytes.fromhex(golden)[:-1])


def test_a_progress_of_a_later_release_is_refused() -> None:
    with pytest.raises(StateVersionUnsupported):
        EntityBook("m", None, seal(3, bytes(30)))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"kept_since_ms": 0}, "kept_since_ms must be"),
        ({"kept_since_ms": "1"}, "kept_since_ms must be"),
        ({"entity": "shop"}, "entity must be merchant or terminal or device or card"),
        ({"id": ""}, "id must be a text"),
    ],
)
def test_bytes_that_are_no_row_of_a_lost_history_say_why(changed: dict[str, object], problem: str) -> None:
    row = without_message("m")
    assert isinstance(row, EntityRow)
    assert parse_row(row.to_json().encode()) == row
    assert not list(VALIDATORS[4].iter_errors(orjson.loads(row.to_json())))
    found = parse_row(orjson.dumps(orjson.loads(row.to_json()) | changed))
    assert isinstance(found, str)
    assert problem in found


def test_a_key_says_of_whom_nothing_is_known() -> None:
    for key, entity, name in (
        ("m", Entity.MERCHANT, "m"), ("card\x1fx", Entity.CARD, "x"), (b"device\x1f\xc3\xa9", Entity.DEVICE, "\xe9"),
    ):  # fmt: skip
        row = without_message(key)
        assert isinstance(row, EntityRow)
        assert (row.entity, row.name, row.kept_since_ms) == (entity, name, NOT_KNOWN_MS)
    assert without_message("card\x1f") == EntityStart(Entity.CARD, NOT_KNOWN_MS)
    for nobody in (None, "", b"", b"\xff", "shop\x1fx", "merchant\x1fm", "card\x1fx\x1f", "\x1f"):
        assert without_message(nobody) is None


def detector(runtime: Runtime) -> tuple[Operator, EntityTable]:
    wanted = replace(settings(), merchants_topic=MERCHANTS_TOPIC, risk_entities=BOTH)
    operator = Operator(FraudDetectorFunction(wanted), runtime)
    merchants = operator.function._merchants
    assert merchants is not None
    return operator, merchants.table


@pytest.mark.parametrize("payload", [b"no json", b"", b'{"schema_version": 99}'])
def test_a_detector_has_no_inputs_of_a_key_whose_message_cannot_be_read(
    payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    stream, runtime = MerchantStream(entities=BOTH), Runtime()
    for name in ("m", "other"):
        stream.decide(bought(START_MS, merchant=name, terminal="x"))
    operator, table = detector(runtime)
    first, second = stream.advance(START_MS + SLOT_MS), stream.advance(START_MS + 2 * SLOT_MS)
    for row in first:
        operator.control(row_record(row))
    known = inputs(table, Entity.MERCHANT, "other", START_MS + SLOT_MS)
    assert not isinstance(known, str)
    operator.control(row_record(payload, key="m"))
    line = orjson.loads(caplog.records[-1].message)
    assert (line["event"], line["level"]) == ("merchant_row_rejected", "error")
    assert line["detail"].startswith("partition 0, offset 0: ")
    assert line["detail"].endswith("models get no inputs of its key until the next message with it")
    operator, table = detector(Runtime(broadcast=runtime.broadcast))
    operator.control(row_record(payload, key="terminal\x1f"))
    for entity, name in ((Entity.MERCHANT, "m"), (Entity.TERMINAL, "x")):
        assert isinstance(inputs(table, entity, name, START_MS + SLOT_MS), str), "also after a restore"
    assert inputs(table, Entity.MERCHANT, "other", START_MS + SLOT_MS) == known
    assert table.held(Entity.MERCHANT) == 1
    for row in second:
        operator.control(row_record(row))
    assert not isinstance(inputs(table, Entity.MERCHANT, "m", START_MS + 2 * SLOT_MS), str)
    assert isinstance(inputs(table, Entity.TERMINAL, "x", START_MS + 2 * SLOT_MS), str)
    for start in MerchantStream(entities=BOTH).beat(START_MS + 2 * SLOT_MS):
        operator.control(row_record(start.to_json().encode()))
    assert not isinstance(inputs(table, Entity.TERMINAL, "x", START_MS + 2 * SLOT_MS), str)


def test_a_message_whose_key_is_of_no_row_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    runtime = Runtime()
    operator, _ = detector(runtime)
    operator.control(row_record(b"no json", key="shop\x1fx"))
    assert runtime.broadcast["merchant-risk-rows"] == {}
    assert runtime.count("merchant_rows_read", outcome="rejected") == 1
    assert orjson.loads(caplog.records[-1].message)["detail"].endswith("so it changes nothing")
