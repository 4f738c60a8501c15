"""Stream and replay compute the same inputs of merchants, bit for bit; and what becomes of late records and labels."""

from __future__ import annotations

import heapq
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import orjson
import pytest

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.documents import Finding
from flink_jobs.core.features.entity_risk import ENTITY_OF, SETTLE_MS, Entity
from flink_jobs.core.label import Label
from flink_jobs.core.models.model import OFFLINE_FEATURES, build_model
from flink_jobs.core.state.merchant import SLOT_MS
from flink_jobs.errors import UserError
from flink_jobs.job.detector.operator import FraudDetectorFunction
from flink_jobs.job.merchant_operator import LATENESS_MIN
from flink_jobs.job.merchants import check_parallelism
from ml.artifact_writer import write_artifact
from ml.dataset import DAY_MS, build_dataset
from ml.entity_risk import with_risk
from ml.model_scores import score_rows
from ml.parameters import ModelFamily, TrainingParameters
from ml.terminal_fraud import World, generate
from ml.train import Provenance, train_model
from tests.contract.conftest import StrictValidator
from tests.strategies import NOW_MS
from tests.unit.job.fake_runtime import Operator, Runtime
from tests.unit.job.merchant_stream import MERCHANTS_TOPIC, MerchantStream, row_record
from tests.unit.job.samples import record, settings, transaction
from tests.unit.ml.terminal_events import events_with_ids

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.cards.card_files import SourceEvent
    from flink_jobs.job.detector.operator_settings import DetectorSettings
    from ml.dataset import Dataset
    from ml.train import TrainedModel

LATENESS_MS = LATENESS_MIN * 60_000
EVERY = tuple(Entity)
PARAMETERS = TrainingParameters(kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=10, risk_entities=EVERY)
PROVENANCE = Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC))
START_MS = NOW_MS // SLOT_MS * SLOT_MS - 20 * DAY_MS
CONTRACT = load_contracts()["merchant-risk"]


def with_merchants(folder: Path | str = "/nowhere", version: str | None = None) -> DetectorSettings:
    wanted = replace(settings(folder, version), merchants_topic=MERCHANTS_TOPIC, risk_entities=EVERY)
    return replace(wanted, model_budget_ms=10_000)


def bought(merchant: str, time_ms: int, amount_minor: int = 1_000) -> dict[str, Any]:
    return {"merchant": merchant, "event_time_ms": time_ms, "amount_minor": amount_minor, "currency": "EUR"}


def fraud(merchant: str, time_ms: int, name: str = "t-1", finding: Finding = Finding.FRAUD) -> Label:
    return Label(name, "c-1", finding, "analyst", NOW_MS, "somebody", merchant=merchant, event_time_ms=time_ms)


def last_window(rows: list[dict[str, Any]]) -> tuple[int, int, int]:
    """Return transactions, due transactions and frauds of the 30 days of the only row."""
    (row,) = rows
    assert list(StrictValidator(CONTRACT.schema(row["schema_version"])).iter_errors(row)) == []
    window = row["windows"][-1]
    return window["transactions"], window["due"], window["frauds"]


class Trained(NamedTuple):
    """A model with inputs of every entity, and the history that it was trained on."""

    folder: Path
    model: TrainedModel
    events: list[SourceEvent]
    whole: Dataset

    def detector(self, runtime: Runtime | None = None) -> Operator:
        version = self.model.manifest.version
        return Operator(FraudDetectorFunction(with_merchants(self.folder, version)), runtime)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("models")
    events = list(events_with_ids(generate(World(20, 30, 45, 3)), terminals_per_merchant=2))
    whole = with_risk(build_dataset(iter(events), NOW_MS), EVERY)
    model = train_model(whole, PARAMETERS, PROVENANCE)
    write_artifact(folder, model.manifest, model.arrays)
    return Trained(folder, model, events, whole)


@pytest.mark.untraced
def test_the_stream_scores_as_the_replay_does(trained: Trained) -> None:
    """Decisions and delayed labels pass the job of merchants, its rows the detector; also after a restore."""
    _, model, events, whole = trained
    expected = score_rows(build_model(model.manifest, model.arrays, OFFLINE_FEATURES), whole)
    assert whole.risk is not None
    stream, runtime = MerchantStream(entities=EVERY), Runtime()
    detector = trained.detector(runtime)
    labels: list[tuple[int, int, Label]] = []
    degraded = 0
    for number, event in enumerate(events):
        if number == len(events) // 2:
            stream, runtime = restored(stream), Runtime(broadcast=runtime.broadcast, backend=runtime.backend)
            detector = trained.detector(runtime)
        row = event.transaction
        while labels and labels[0][0] <= row["event_time_ms"]:
            for item in stream.label(heapq.heappop(labels)[2]):
                detector.control(row_record(item))
        for item in stream.advance(row["event_time_ms"] - LATENESS_MS):
            detector.control(row_record(item))
        (line,) = detector.send(record(row)).main
        decision = orjson.loads(line.partition("\n")[2])
        if decision["model"] == "degraded":
            degraded += 1
            assert np.nan_to_num(whole.risk.values[number]).sum() == 0.0, "only before the first row of any merchant"
        else:
            assert decision["ml_score"] == expected[number]
        for item in stream.decide(decision):
            detector.control(row_record(item))
        if event.label:
            label = fraud(row["merchant"], row["event_time_ms"], row["transaction_id"])
            terminal, device, card = (row.get(name) for name in ("terminal", "device", "card"))
            label = replace(label, customer_id=row["customer_id"], terminal=terminal, device=device, card=card)
            heapq.heappush(labels, (row["event_time_ms"] + 7 * DAY_MS, number, label))
    assert 0 < degraded < 30
    assert runtime.count("model_faults") == 0
    assert runtime.count("merchant_other_slots") == 0
    for entity in EVERY:
        shares = whole.risk.values[:, list(ENTITY_OF).index(f"{entity}_fraud_share_30d")]
        assert (shares > 0).sum() > 100, f"known frauds of a {entity} took part"


def restored(stream: MerchantStream) -> MerchantStream:
    again = MerchantStream(Runtime(backend=stream.runtime.backend), stream.entities)
    again.timers.event_timers = stream.timers.event_timers
    return again


def test_a_late_decision_publishes_the_row_again() -> None:
    stream = MerchantStream()
    assert stream.decide(bought("m", START_MS + 1)) == []
    assert last_window(stream.advance(START_MS + SLOT_MS)) == (1, 0, 0)
    assert last_window(stream.decide(bought("m", START_MS + 2))) == (2, 0, 0)
    assert stream.decide(bought("m", START_MS + SLOT_MS + 1)) == [], "it counts in the next row"
    assert last_window(stream.advance(START_MS + 2 * SLOT_MS)) == (3, 0, 0)


def test_a_backlog_that_is_read_before_time_advances_publishes_every_slot() -> None:
    """Regression: the chain of timers continued at the newest purchase, so the slots before it had no row."""
    stream, begin = MerchantStream(), START_MS - 120 * DAY_MS
    for day in (0, 1, 2):
        stream.decide(bought("m", begin + day * DAY_MS))
    rows = stream.advance(begin + 60 * DAY_MS)
    first = begin // SLOT_MS
    assert [row["slot"] for row in rows] == list(range(first + 1, first + (2 + 7 + 30) * 4 + 3))
    assert [row["windows"][0]["transactions"] for row in rows[:9]] == [1] * 9


def test_a_merchant_whose_first_decision_is_late_gets_its_row_at_once() -> None:
    """Regression: a backlog ended with decisions of another partition, and no later watermark fired their timers."""
    stream = MerchantStream()
    stream.advance(START_MS + 40 * SLOT_MS)
    rows = stream.decide(bought("m", START_MS + 1))
    assert last_window(rows) == (1, 1, 0)
    assert rows[0]["slot"] == START_MS // SLOT_MS + 40
    assert last_window(stream.decide(bought("m", START_MS + SLOT_MS))) == (2, 2, 0)
    assert last_window(stream.advance(START_MS + 41 * SLOT_MS)) == (2, 2, 0), "its timers go on"
    assert stream.decide(bought("old", START_MS - 60 * DAY_MS)) == [], "no window covers it"


def test_labels_still_wait_when_a_merchant_without_history_is_forgotten() -> None:
    """Regression: a backlog began with a decision that no window covered, and the labels were forgotten with it."""
    stream = MerchantStream()
    present = START_MS + 40 * SLOT_MS
    stream.advance(present)
    stream.label(fraud("m", START_MS))
    stream.label(fraud("m", START_MS - 60 * DAY_MS, "too old"))
    assert stream.decide(bought("m", START_MS - 50 * DAY_MS)) == []
    assert [len(state.values) for state in stream.runtime.backend.states.values()] == [0, 1]
    stream = restored(stream)
    stream.advance(present)
    assert last_window(stream.decide(bought("m", START_MS))) == (1, 1, 1)


def test_an_early_decision_of_a_new_merchant_comes_after_a_later_one() -> None:
    stream = MerchantStream()
    for slot in (5, 0):
        stream.decide(bought("m", START_MS + slot * SLOT_MS))
    rows = stream.advance(START_MS + 6 * SLOT_MS)
    assert [row["slot"] - START_MS // SLOT_MS for row in rows] == [1, 2, 3, 4, 5, 6]


def test_a_label_counts_from_the_slot_after_its_delay_and_a_late_label_at_once() -> None:
    stream = MerchantStream()
    stream.decide(bought("m", START_MS))
    stream.advance(START_MS + SLOT_MS)
    assert stream.label(fraud("m", START_MS)) == [], "its delay is not over"
    rows = stream.advance(START_MS + 7 * DAY_MS + SLOT_MS)
    assert [row["windows"][-1]["frauds"] for row in rows] == [0] * 27 + [1]
    assert last_window(stream.label(fraud("m", START_MS, finding=Finding.GENUINE))) == (1, 1, 0)
    assert last_window(stream.label(fraud("m", START_MS, "t-2"))) == (1, 1, 1)
    assert stream.label(fraud("m", START_MS, "t-2")) == [], "the same label again"
    assert stream.runtime.count("merchant_labels", outcome="learned") == 3
    assert stream.runtime.count("merchant_labels", outcome="known") == 1


def test_a_label_waits_for_its_transaction() -> None:
    stream = MerchantStream()
    assert stream.label(fraud("m", START_MS)) == stream.label(fraud("m", START_MS, "t-2")) == []
    stream.label(fraud("m", START_MS, "t-2", Finding.GENUINE))
    stream = restored(stream)
    stream.decide(bought("m", START_MS))
    rows = stream.advance(START_MS + 8 * DAY_MS)
    assert rows[-1]["windows"][-1]["frauds"] == 1
    assert stream.label(fraud("m", START_MS - 60 * DAY_MS)) == []
    assert stream.runtime.count("merchant_labels", outcome="too_old") == 1


@pytest.mark.parametrize(
    ("payload", "outcome"),
    [
        (orjson.dumps(Label("t", "c", Finding.FRAUD, "analyst", NOW_MS, "somebody").document()), "no_merchant"),
        (b"{", "unreadable"),
        (b"", "unreadable"),
    ],
    ids=["version 1", "no JSON", "tombstone"],
)
def test_a_label_that_names_no_merchant_is_counted(payload: bytes, outcome: str) -> None:
    stream = MerchantStream()
    assert stream.raw_label(payload) == []
    assert stream.runtime.count("merchant_labels", outcome=outcome) == 1


def test_a_merchant_is_forgotten_with_its_last_transaction_and_a_detector_drops_its_row() -> None:
    stream, runtime = MerchantStream(), Runtime()
    detector = Operator(FraudDetectorFunction(with_merchants()), runtime)
    stream.decide(bought("m", START_MS))
    rows = stream.advance(START_MS + 60 * DAY_MS)
    for row in rows[:-1]:
        detector.control(row_record(row))
    assert list(runtime.broadcast["merchant-risk-rows"]) == ["m"]
    detector.control(row_record(rows[-1]))
    assert runtime.broadcast["merchant-risk-rows"] == {}
    assert runtime.count("merchant_rows_read", outcome="applied") == len(rows) == (7 + 30) * 4 + 1 + 1
    assert [state.values for state in stream.runtime.backend.states.values()] == [{}, {}]
    assert not stream.timers.event_timers


def test_damaged_states_and_decisions_are_counted_and_the_merchant_starts_again() -> None:
    stream = MerchantStream()
    stream.decide(bought("m", START_MS))
    for state in stream.runtime.backend.states.values():
        state.values["m"] = b"\x01damaged"
    stream.decide(bought("m", START_MS + SLOT_MS))
    assert last_window(stream.advance(START_MS + 2 * SLOT_MS)[-1:]) == (1, 0, 0)
    stream.decide({"merchant": "m"})
    assert stream.runtime.count("merchant_unreadable") == 1
    assert stream.runtime.count("merchant_histories_lost", state="id") == 1


def test_without_current_rows_rules_score_alone_and_the_model_stays(trained: Trained) -> None:
    """Zeros would look like merchants without fraud; a pause of the job of merchants must not disable the model."""
    detector = trained.detector()

    def model_of(name: str, merchant: str | None = None) -> str:
        (line,) = detector.send(record(transaction(name, merchant=merchant))).main
        return str(orjson.loads(line.partition("\n")[2])["model"])

    for number in range(20):
        assert model_of(f"early-{number}", merchant="m") == "degraded"
    assert model_of("without a merchant") == "ok"
    stream = MerchantStream()
    stream.decide(bought("other", NOW_MS - 3 * DAY_MS))
    rows = stream.advance(NOW_MS - SETTLE_MS)
    detector.control(row_record(rows[0]))
    assert model_of("the rows are old", merchant="m") == "degraded"
    detector.control(row_record(rows[-1]))
    assert model_of("current", merchant="m") == "ok"
    detector.control(row_record(b"no json", key="m"))
    assert model_of("its own row cannot be read", merchant="m") == "degraded"
    assert model_of("that of another one can", merchant="other") == "ok"
    stream.decide(bought("m", NOW_MS - SETTLE_MS))
    rows = stream.advance(NOW_MS + SLOT_MS)
    detector.control(row_record(next(row for row in rows if row["merchant"] == "m")))
    assert model_of("its next row can, too", merchant="m") == "ok"
    assert detector.runtime.count("merchant_rows_read", outcome="rejected") == 1
    assert detector.runtime.count("model_faults") == 0


def test_a_subtask_without_decisions_is_refused_at_the_start() -> None:
    check_parallelism(4, 4, "streamflow.decisions")
    with pytest.raises(UserError, match=r"parallelism 5, but streamflow\.decisions has 4 partitions"):
        check_parallelism(5, 4, "streamflow.decisions")
