"""The job of merchants and the detector with further entities, and what happens when one is turned on or off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.documents import Finding
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.label import Label
from flink_jobs.core.state.merchant import SLOT_MS
from flink_jobs.errors import UserError
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.job.merchants import main
from flink_jobs.settings import Settings
from ml.dataset import DAY_MS
from tests.contract.conftest import StrictValidator
from tests.strategies import NOW_MS
from tests.unit.job.fake_runtime import Operator, Runtime
from tests.unit.job.merchant_stream import MERCHANTS_TOPIC, MerchantStream, row_record
from tests.unit.job.samples import settings

START_MS = NOW_MS // SLOT_MS * SLOT_MS - 20 * DAY_MS
EVERY = tuple(Entity)
CONTRACT = load_contracts()["merchant-risk"]
ADDRESSES: dict[str, Any] = {
    "kafka_bootstrap_servers": "h:1", "postgres_host": "h", "postgres_port": 1, "postgres_database": "d",
    "postgres_user": "u", "postgres_password": "p", "flink_rest_url": "http://h", "checkpoint_dir": "/c",
    "savepoint_dir": "/s",
}  # fmt: skip


def bought(time_ms: int, **ids: str) -> dict[str, Any]:
    return {"merchant": None, "event_time_ms": time_ms, "amount_minor": 1_000, "currency": "EUR", **ids}


def detector(entities: tuple[Entity, ...], runtime: Runtime | None = None) -> Operator:
    wanted = replace(settings(), merchants_topic=MERCHANTS_TOPIC, risk_entities=entities)
    return Operator(FraudDetectorFunction(wanted), runtime)


def test_each_entity_of_a_decision_gets_a_row_of_its_own() -> None:
    stream = MerchantStream(entities=EVERY)
    stream.decide(bought(START_MS, merchant="m", terminal="x", device="x", card="****1111"))
    stream.decide(bought(START_MS, terminal="x"))
    rows = {row.get("entity", "merchant"): row for row in stream.advance(START_MS + SLOT_MS)}
    counts = {entity: row["windows"][0]["transactions"] for entity, row in rows.items()}
    assert counts == {"merchant": 1, "terminal": 2, "device": 1, "card": 1}
    for row in rows.values():
        assert list(StrictValidator(CONTRACT.schema(row["schema_version"])).iter_errors(row)) == []


def test_a_label_teaches_the_entities_that_it_names_and_is_counted_for_the_others() -> None:
    stream = MerchantStream(entities=EVERY)
    stream.decide(bought(START_MS, merchant="m", terminal="x", device="d"))
    label = Label("t", "c", Finding.FRAUD, "desk", NOW_MS, "somebody", merchant="m", event_time_ms=START_MS)
    stream.label(label)
    counts = {name: stream.runtime.count("merchant_labels", outcome=name) for name in ("learned", "no_terminal")}
    assert counts == {"learned": 1, "no_terminal": 1}
    assert stream.runtime.count("merchant_labels", outcome="no_card") == 1
    frauds = [row["windows"][-1]["frauds"] for row in stream.advance(START_MS + 8 * DAY_MS) if "merchant" in row]
    assert frauds[-1] == 1


def test_an_entity_that_is_turned_off_is_forgotten_and_publishes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    stream = MerchantStream(entities=EVERY)
    stream.decide(bought(START_MS, merchant="m", terminal="x"))
    stream.decide(bought(START_MS, merchant="m", terminal="y"))
    again = MerchantStream(Runtime(backend=stream.runtime.backend), entities=(Entity.MERCHANT,))
    again.timers.event_timers = stream.timers.event_timers
    assert {row["schema_version"] for row in again.advance(START_MS + 2 * SLOT_MS)} == {1}
    for state in again.runtime.backend.states.values():
        assert list(state.values) == ["m"]
    (line,) = [orjson.loads(record.message) for record in caplog.records]
    assert (line["event"], line["detail"]) == (
        "history_forgotten", "STREAMFLOW_RISK_ENTITIES no longer names terminal"
    )  # fmt: skip


def test_a_detector_keeps_rows_of_an_entity_that_is_turned_on_later_and_drops_those_of_one_that_is_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stream = MerchantStream(entities=EVERY)
    stream.decide(bought(START_MS, merchant="m", terminal="x"))
    rows = stream.advance(START_MS + SLOT_MS)
    runtime = Runtime()
    early = detector((Entity.MERCHANT,), runtime)
    for row in rows:
        early.control(row_record(row))
    stored = runtime.broadcast["merchant-risk-rows"]
    assert set(stored) == {"m", "terminal\x1fx"}
    turned_on = Runtime(broadcast=runtime.broadcast, backend=runtime.backend)
    detector(EVERY, turned_on).control(row_record(rows[0]))
    assert set(stored) == {"m", "terminal\x1fx"}
    caplog.clear()
    off = Runtime(broadcast=runtime.broadcast)
    again = detector((Entity.MERCHANT,), off)
    for _ in range(2):
        again.control(row_record(rows[0]))
    assert set(runtime.broadcast["merchant-risk-rows"]) == {"m"}
    lines = [orjson.loads(record.message) for record in caplog.records]
    (line,) = [line for line in lines if line["event"] == "rows_dropped"]
    assert (line["entity"], line["rows"], line["level"]) == ("terminal", 1, "warning")
    assert line["detail"] == "STREAMFLOW_RISK_ENTITIES no longer names terminal"
    assert off.count("merchant_rows_read", outcome="dropped") == 1


def test_the_setting_names_entities_in_any_order_and_refuses_its_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(**ADDRESSES).entities == ()
    assert Settings(**ADDRESSES, risk_entities="terminal, merchant").entities == (Entity.MERCHANT, Entity.TERMINAL)
    with pytest.raises(ValueError, match="shop has no history"):
        Settings(**ADDRESSES, risk_entities="shop")
    monkeypatch.setenv("STREAMFLOW_MERCHANT_RISK", "true")
    with pytest.raises(ValueError, match="STREAMFLOW_RISK_ENTITIES=merchant"):
        Settings(**ADDRESSES)


def test_a_job_without_entities_says_what_to_set() -> None:
    with pytest.raises(UserError, match="STREAMFLOW_RISK_ENTITIES is empty"):
        main(Settings(**ADDRESSES))


def test_a_document_of_a_terminal_has_no_field_of_a_merchant() -> None:
    stream = MerchantStream(entities=(Entity.TERMINAL,))
    stream.decide(bought(START_MS, merchant="m", terminal="x"))
    (row,) = stream.advance(START_MS + SLOT_MS)
    assert list(row)[:3] == ["schema_version", "entity", "id"]
    assert orjson.dumps(row)
