"""The job of merchants from a savepoint: with decisions that Java reads in place of SQL, and with a further entity.

A detector whose model takes inputs of terminals scores purchases meanwhile: 38 days of event time pass in one step.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.keys import entity_key
from flink_jobs.core.merchants.row import EntityRow, row_of
from flink_jobs.core.merchants.start import EntityStart, parse_message
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState
from flink_jobs.flink.savepoints.entities import entities_without_history
from flink_jobs.kafka.producer import connect
from flink_jobs.waiting import wait_for
from ml.artifact_writer import set_current, write_artifact
from ml.dataset import build_dataset
from ml.entity_risk import with_risk
from ml.parameters import ModelFamily, TrainingParameters
from ml.terminal_fraud import World, generate
from ml.train import Provenance, train_model
from tests.integration import jobs
from tests.unit.ml.terminal_events import NOW_MS, events_with_ids

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flink_jobs.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PREFIX = "starts"
WAIT_S = 400
BEGIN_MS = 1_767_225_600_000
MINUTE_MS = 60_000
HALF = 400
MERCHANTS = 7
UNREADABLE = b"no json"
BOTH = (Entity.MERCHANT, Entity.TERMINAL)
LATER_MS = 38 * 24 * 60 * MINUTE_MS
"""More than the 37 days after which the history of an entity is complete."""
PARAMETERS = TrainingParameters(
    kind=ModelFamily.GRADIENT_BOOSTING.value, n_estimators=5, risk_entities=(Entity.TERMINAL,)
)

Decision = dict[str, Any]


def test_a_new_entity_is_kept_since_then_and_a_detector_has_its_inputs_once_37_days_are_covered(
    stack: Stack, tmp_path: Path
) -> None:
    jobs.own_topics(stack, PREFIX)
    before, after = decisions(0), decisions(HALF)
    later, last = decisions(2 * HALF, LATER_MS), decisions(3 * HALF, LATER_MS)
    rest, folder = stack.rest(), stack.settings().savepoint_dir
    send(stack, before)
    started: list[str] = []
    try:
        with ThreadPoolExecutor(1) as pool:
            detector = pool.submit(start_detector, stack, tmp_path)
            started.append(start(stack, "merchant", "single"))
        started.append(detector.result())
        wait_for_rows(stack, before)
        savepoint = rest.stop_with_savepoint(started[0], folder)
        assert entities_without_history(savepoint, BOTH) == (Entity.TERMINAL,)
        started.append(start(stack, "merchant,terminal", "auto", savepoint))
        send(stack, after)
        wait_for_rows(stack, [*before, *after])
        early = after[-1]["event_time_ms"] + 1
        wait_for(lambda: newest_terminals(stack) == slot_at(early), limit_s=WAIT_S, what="the rows of terminals")
        assert model_of(stack, started[1], early) == "degraded", "the terminal has a row, of a history too short"
        assert model_of(stack, started[1], early, terminal=None) == "ok"
        send(stack, later)
        wait_for_rows(stack, [*before, *after, *later])
        wait_for(
            lambda: newest_terminals(stack) == slot_at(later[-1]["event_time_ms"]), limit_s=WAIT_S, what="later rows"
        )
        assert model_of(stack, started[1], later[-1]["event_time_ms"]) == "ok", "the history is complete"
        assert model_of(stack, started[1], early) == "degraded", "that of an earlier purchase never is"
        savepoint = rest.stop_with_savepoint(started[2], folder)
        assert entities_without_history(savepoint, BOTH) == ()
        assert {item.kept_since_ms for item in starts_of(stack, Entity.TERMINAL)} <= times(after)
        assert len(set(starts_of(stack, Entity.TERMINAL))) == 1
        accepted = {"STREAMFLOW_RISK_ACCEPT_SHORT_HISTORY": "true"}
        started.append(start(stack, "merchant,terminal", "single", savepoint, accepted))
        send(stack, last)
        wait_for_rows(stack, [*before, *after, *later, *last])
        wait_for(
            lambda: EntityStart(Entity.TERMINAL, 0) in starts_of(stack, Entity.TERMINAL), limit_s=WAIT_S, what="a start"
        )
        assert model_of(stack, started[1], early) == "ok", "the short history is accepted"
        send_unreadable(stack, entity_key(Entity.TERMINAL, "p-1"))
        assert model_of(stack, started[1], early) == "degraded", "nothing is known about this terminal"
        assert model_of(stack, started[1], early, terminal="p-2") == "ok"
    finally:
        jobs.end_jobs(stack, started)
    assert set(starts_of(stack, Entity.MERCHANT)) == {EntityStart(Entity.MERCHANT, 0)}


def decisions(first: int, later_ms: int = 0) -> list[Decision]:
    return [
        {
            "merchant": f"m-{number % MERCHANTS}", "terminal": f"p-{number % 11}", "currency": "EUR",
            "amount_minor": 100 + number, "event_time_ms": BEGIN_MS + number * MINUTE_MS + later_ms,
        }
        for number in range(first, first + HALF)
    ]  # fmt: skip


def times(sent: Sequence[Decision]) -> set[int]:
    return {item["event_time_ms"] for item in sent}


def slot_at(time_ms: int) -> int:
    """Return the slot whose row is the newest once a decision of this time has been read."""
    return (time_ms - 5 * MINUTE_MS) // SLOT_MS


def start_detector(stack: Stack, folder: Path) -> str:
    """Train a model with inputs of terminals, and return the detector that scores with it."""
    events = events_with_ids(generate(World(20, 30, 45, 3)))
    data = with_risk(build_dataset(events, NOW_MS), (Entity.TERMINAL,))
    model = train_model(data, PARAMETERS, Provenance("cards.csv", None, "1.0", datetime(2026, 1, 1, tzinfo=UTC)))
    write_artifact(folder, model.manifest, model.arrays)
    set_current(folder, model.manifest.version)
    environment = {
        "STREAMFLOW_TOPIC_PREFIX": PREFIX,
        "STREAMFLOW_RISK_ENTITIES": "merchant,terminal",
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "300",
        "STREAMFLOW_MODEL_DIR": str(folder),
        "STREAMFLOW_MODEL_BUDGET_MS": "10000",
    }
    return jobs.start_job(stack, "detect", environment)


def model_of(stack: Stack, detector: str, time_ms: int, *, terminal: str | None = "p-1") -> str:
    """Return whether the model scored a purchase, ``ok`` or ``degraded``, once the detector has read every row.

    The purchase names a merchant of its own, so its decision changes no history that is compared here.
    """

    def has_read_all() -> bool:
        return jobs.rows_read(stack, detector) == len(jobs.values(stack, "merchant-risk", PREFIX))

    wait_for(has_read_all, limit_s=WAIT_S, what="the detector to read every row")
    named = {} if terminal is None else {"terminal": terminal}
    found = jobs.decision_on(
        stack, "c-1", PREFIX, schema_version=2, event_time_ms=time_ms, merchant="not compared", **named
    )
    assert (found["ml_score"] is None) == (found["model"] == "degraded")
    return str(found["model"])


def send_unreadable(stack: Stack, key: str) -> None:
    producer = connect(stack.settings().broker())
    try:
        producer.send(topic_name(PREFIX, "merchant-risk"), key=key.encode(), value=UNREADABLE).get(timeout=120)
    finally:
        producer.close()


def send(stack: Stack, sent: Sequence[Decision]) -> None:
    jobs.send_raw(stack, topic_name(PREFIX, "decisions"), map(orjson.dumps, sent))


def start(
    stack: Stack, entities: str, crossing: str, savepoint: str | None = None, more: dict[str, str] | None = None
) -> str:
    environment = {
        "STREAMFLOW_TOPIC_PREFIX": PREFIX,
        "STREAMFLOW_RISK_ENTITIES": entities,
        "STREAMFLOW_CROSSING": crossing,
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "300",
        "STREAMFLOW_IDLE_TIMEOUT_MS": "1000",
        **(more or {}),
    }
    return jobs.start_job(stack, "merchants", environment, savepoint=savepoint)


def messages(stack: Stack) -> list[EntityRow | EntityStart]:
    found = [parse_message(value) for value in jobs.values(stack, "merchant-risk", PREFIX) if value != UNREADABLE]
    assert not [item for item in found if isinstance(item, str)]
    return [item for item in found if not isinstance(item, str)]


def starts_of(stack: Stack, entity: Entity) -> list[EntityStart]:
    return [item for item in messages(stack) if isinstance(item, EntityStart) and item.entity is entity]


def newest_terminals(stack: Stack) -> int:
    """Return the newest slot of which terminal ``p-1`` has a row."""
    rows = [item for item in messages(stack) if isinstance(item, EntityRow) and item.entity is Entity.TERMINAL]
    return max((row.slot for row in rows if row.name == "p-1"), default=-1)


def wait_for_rows(stack: Stack, sent: Sequence[Decision]) -> None:
    """Wait for the row of each merchant at the last slot that began five minutes before the newest decision."""
    states: defaultdict[str, MerchantState] = defaultdict(MerchantState)
    for item in sent:
        states[item["merchant"]].update(item["event_time_ms"], item["amount_minor"] / 100, 7)
    slot = slot_at(sent[-1]["event_time_ms"])
    expected = {name: row_of(name, state, slot) for name, state in states.items()}

    def newest() -> dict[str, EntityRow]:
        rows = [item for item in messages(stack) if isinstance(item, EntityRow) and item.entity is Entity.MERCHANT]
        return {row.name: row for row in rows if row.name in expected}

    assert len(expected) == MERCHANTS
    wait_for(lambda: newest() == expected, limit_s=WAIT_S, what=f"rows of {len(sent)} decisions")
