"""``POST /v1/score`` with histories of entities: the detector's score for the same rows, or rules and the reason."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, cast

import orjson
import pytest

from api import what_if
from api.histories import NotReady
from api.in_force import InForce
from flink_jobs.artifacts.finder import known_features
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.merchants.row import parse_row
from flink_jobs.core.merchants.start import EntityStart
from flink_jobs.core.merchants.table import EntityTable
from flink_jobs.core.models.model import load_model
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.state.merchant import SLOT_MS
from flink_jobs.core.transaction import Transaction
from flink_jobs.errors import UserError
from flink_jobs.metrics import catalogue
from tests.unit.api.known_histories import CHOSEN, PLACE, TOPIC, Known, Topic, reading, scores_of, served, until
from tests.unit.ml.terminal_events import NOW_MS

if TYPE_CHECKING:
    import httpx


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Known:
    return Known(tmp_path_factory.mktemp("models"))


def test_scores_equal_those_of_the_detector_with_the_same_rows(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    table = EntityTable(CHOSEN)
    for payload in known.rows:
        row = parse_row(payload)
        assert not isinstance(row, str)
        table.put(row)
    model = load_model(known.folder / known.version, known_features(CHOSEN), table)
    parts = reading(Topic(known.rows), monkeypatch)
    answers = served(known, parts, scores_of(known.purchases), lambda: parts.is_read)
    detector = TransactionEvaluator(DetectionConfig(), model)
    different = set()
    for sent, answer in zip(known.purchases, answers, strict=True):
        payload = orjson.dumps(sent)
        record = SourceRecord(payload, 0, 0, "", "", sent["customer_id"], what_if.SOURCE)
        decision = orjson.loads(detector.evaluate(record, lambda: None, sent["event_time_ms"]).decision or b"")
        assert answer["decision"] == decision
        assert (decision["model_version"], answer["model_problem"]) == (known.version, None)
        different.add(decision["ml_score"])
    assert len(different) > 1


def test_before_the_topic_is_read_rules_score_and_the_answer_says_why(
    known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = reading(Topic(known.rows), monkeypatch)
    (answer,) = served(known, parts, scores_of(known.purchases[:1]))
    assert (answer["decision"]["ml_score"], answer["decision"]["model"]) == (None, "degraded")
    assert answer["model_problem"] == "histories_not_read"


@pytest.mark.parametrize("missing", [Entity.TERMINAL, Entity.MERCHANT])
def test_a_model_needs_current_rows_of_each_of_its_entities(
    known: Known, monkeypatch: pytest.MonkeyPatch, missing: Entity
) -> None:
    rows = [payload for payload in known.rows if cast("Any", parse_row(payload)).entity is not missing]
    parts = reading(Topic(rows), monkeypatch)
    sent = known.purchases[0]
    unnamed = {name: value for name, value in sent.items() if name != missing.value}
    answers = served(known, parts, scores_of([sent, unnamed]), lambda: parts.is_read)
    assert [answer["model_problem"] for answer in answers] == ["histories_not_current", None]
    assert [answer["decision"]["model"] for answer in answers] == ["degraded", "ok"]


def test_rows_older_than_a_day_are_not_current(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = reading(Topic(known.rows), monkeypatch)
    later = {**known.purchases[0], "event_time_ms": (known.slot + 6) * SLOT_MS}
    (answer,) = served(known, parts, scores_of([later]), lambda: parts.is_read)
    assert (answer["decision"]["ml_score"], answer["model_problem"]) == (None, "histories_not_current")


def test_a_history_that_is_too_short_is_not_current(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    start = EntityStart(Entity.TERMINAL, (known.slot - 36 * 4) * SLOT_MS)
    parts = reading(Topic([*known.rows, start.to_json().encode()]), monkeypatch)
    (answer,) = served(known, parts, scores_of(known.purchases[:1]), lambda: parts.is_read)
    assert (answer["decision"]["ml_score"], answer["model_problem"]) == (None, "histories_not_current")


def test_answers_without_histories_are_counted_by_reason(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    """The alert HistoriesNotCurrent reads this counter; its label values begin at 0."""
    assert set(catalogue.API_MODEL_PROBLEMS.values) == set(NotReady)
    rows = [payload for payload in known.rows if cast("Any", parse_row(payload)).entity is not Entity.TERMINAL]
    parts = reading(Topic(rows), monkeypatch)
    sent = known.purchases[0]
    unnamed = {name: value for name, value in sent.items() if name != Entity.TERMINAL.value}

    async def ask(http: httpx.AsyncClient) -> list[str]:
        await scores_of([sent, unnamed])(http)
        before = (await http.get("/metrics")).text
        await scores_of([sent, sent])(http)
        return [before, (await http.get("/metrics")).text]

    counted = 'streamflow_api_model_problems_total{problem="%s"} %s'
    for text, number in zip(served(known, parts, ask, lambda: parts.is_read), ("1.0", "3.0"), strict=True):
        assert counted % ("histories_not_current", number) in text
        assert counted % ("histories_not_read", "0.0") in text


def test_an_api_without_the_setting_refuses_the_model(known: Known) -> None:
    (answer,) = served(known, None, scores_of(known.purchases[:1]))
    assert (answer["decision"]["ml_score"], answer["model_problem"]) == (None, "feature_mismatch")


class _Broken:
    """A model whose inputs are there, and that fails."""

    version, digest, kind, base, own_blend, probability = "v", "d", "k", 0.5, None, None

    def score(self, _features: FeatureVector, _transaction: Transaction) -> float:
        raise ZeroDivisionError

    def contributions(self, _features: FeatureVector, _transaction: Transaction) -> dict[str, float]:
        return {}


def test_a_model_that_fails_is_named_as_the_reason(known: Known) -> None:
    in_force = InForce(DetectionConfig(), cast("Any", _Broken()))
    sent = known.purchases[0]
    payload = orjson.dumps(sent)
    (transaction,) = what_if.parse_history([sent], sent["customer_id"], NOW_MS)
    found = what_if.score(payload, transaction, [], in_force)
    assert not isinstance(found, str)
    assert (found.decision["ml_score"], found.model_problem) == (None, "raised")


def test_a_damaged_row_is_counted_and_logged_with_its_place(
    known: Known, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = Topic([b"no json", *known.rows, b"{}"])
    parts = reading(topic, monkeypatch)
    caplog.set_level(logging.INFO)
    (answer,) = served(known, parts, scores_of(known.purchases[:1]), lambda: parts.is_read)
    assert answer["model_problem"] is None
    text = parts._metrics.text().decode()
    assert 'streamflow_api_history_rows_read_total{outcome="rejected"} 2.0' in text
    assert f'streamflow_api_history_rows_read_total{{outcome="applied"}} {len(known.rows)}.0' in text
    held = len([1 for payload in known.rows if b'"terminal"' in payload])
    assert f'streamflow_api_history_rows{{entity="terminal"}} {held}.0' in text
    newest = float(text.split('newest_slot_seconds{entity="merchant"} ')[1].splitlines()[0])
    assert newest == known.slot * SLOT_MS / 1000
    (line,) = [record.getMessage() for record in caplog.records if "were rejected" in record.getMessage()]
    assert line.startswith(f"2 rows of {TOPIC} were rejected; models get no inputs of their keys until the next row;")
    assert "; the first: partition 0, offset 0: " in line


@pytest.mark.parametrize("is_start", [False, True])
def test_a_message_that_cannot_be_read_takes_the_inputs_of_its_key_until_the_next_one(
    known: Known, monkeypatch: pytest.MonkeyPatch, *, is_start: bool
) -> None:
    sent = known.purchases[0]
    name = sent[Entity.TERMINAL.value]
    key = f"terminal\x1f{'' if is_start else name}".encode()
    (row,) = [payload for payload in known.rows if orjson.loads(payload).get("id") == name]
    again = EntityStart(Entity.TERMINAL, 0).to_json().encode() if is_start else row
    other = next(item for item in known.purchases if item[Entity.TERMINAL.value] != name)
    topic = Topic([*known.rows, b"no json"], {b"no json": key})
    parts = reading(topic, monkeypatch)

    async def ask(http: httpx.AsyncClient) -> list[str | None]:
        before = await scores_of([sent, other])(http)
        topic.values = [*topic.values, again]
        await until(lambda: parts._places[PLACE] == len(topic.values))
        return [answer["model_problem"] for answer in (*before, *await scores_of([sent])(http))]

    no_inputs = "histories_not_current"
    answers = served(known, parts, ask, lambda: parts.is_read)
    assert answers == [no_inputs, no_inputs if is_start else None, None]


def test_rows_of_other_entities_take_no_memory(known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = reading(Topic(known.rows), monkeypatch, (Entity.TERMINAL,))

    async def run() -> None:
        running = asyncio.create_task(parts.run())
        await until(lambda: parts.is_read)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())
    assert parts._table.held(Entity.MERCHANT) == 0
    assert parts._table.held(Entity.TERMINAL) > 0


def test_without_kafka_the_api_serves_and_logs_the_reason_once_then_reads_on_where_it_was(
    known: Known, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = Topic(known.rows[:3])
    away = UserError("no Kafka broker answers at nowhere:1", "run `streamflow up`")
    topic.problems = [RuntimeError("a defect"), away, away]
    parts = reading(topic, monkeypatch)

    async def ask(http: httpx.AsyncClient) -> list[dict[str, Any]]:
        first = (await http.get("/health/ready")).json()
        topic.problems = [away]
        await until(lambda: {PLACE: 3} in topic.starts and not topic.problems)
        topic.values = [*topic.values, *known.rows[3:]]
        await until(lambda: sum(map(parts._table.held, CHOSEN)) == len(known.rows))
        return [first, (await http.get("/health/ready")).json()]

    first, last = served(known, parts, ask, lambda: parts.is_read)
    assert first == {"status": "ok", "postgres": True, "replies": False, "histories": True}
    assert last == first
    assert topic.starts[:4] == [{}] * 4
    lines = [record.getMessage() for record in caplog.records if "are not read" in record.getMessage()]
    assert [line.partition(" (")[2] for line in lines] == [
        "models that need them give no score): no Kafka broker answers at nowhere:1: run `streamflow up`",
        "models that need them give no score): a defect of StreamFlow (RuntimeError: a defect)",
        "the rows that were read stay in use): no Kafka broker answers at nowhere:1: run `streamflow up`",
    ]


def test_a_topic_that_was_created_again_is_read_from_its_beginning(
    known: Known, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    topic = Topic(known.rows)
    parts = reading(topic, monkeypatch)

    async def ask(http: httpx.AsyncClient) -> dict[str, Any]:
        topic.values = known.rows[:1]
        await until(lambda: parts.is_read and sum(map(parts._table.held, CHOSEN)) == 1)
        return cast("dict[str, Any]", (await http.get("/health/ready")).json())

    assert served(known, parts, ask, lambda: parts.is_read)["histories"] is True
    assert "was created again" in caplog.text
