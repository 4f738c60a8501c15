"""The job of merchants from a savepoint: with decisions that Java reads in place of SQL, and with a further entity."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.row import EntityRow, row_of
from flink_jobs.core.merchants.start import EntityStart, parse_message
from flink_jobs.core.state.merchant import SLOT_MS, MerchantState
from flink_jobs.flink.savepoints.entities import entities_without_history
from flink_jobs.waiting import wait_for
from tests.integration import jobs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flink_jobs.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PREFIX = "starts"
WAIT_S = 400
BEGIN_MS = 1_767_225_600_000
MINUTE_MS = 60_000
HALF = 400
MERCHANTS = 7
BOTH = (Entity.MERCHANT, Entity.TERMINAL)

Decision = dict[str, Any]


def test_histories_survive_both_ways_of_reading_and_a_new_entity_is_kept_since_then(stack: Stack) -> None:
    jobs.own_topics(stack, PREFIX)
    decisions = [decision(number) for number in range(2 * HALF)]
    before, after = decisions[:HALF], decisions[HALF:]
    rest, folder = stack.rest(), stack.settings().savepoint_dir
    send(stack, before)
    started = [start(stack, "merchant", "single")]
    try:
        wait_for_rows(stack, before)
        savepoint = rest.stop_with_savepoint(started[0], folder)
        assert entities_without_history(savepoint, BOTH) == (Entity.TERMINAL,)
        started.append(start(stack, "merchant,terminal", "auto", savepoint))
        send(stack, after)
        wait_for_rows(stack, decisions)
        savepoint = rest.stop_with_savepoint(started[1], folder)
        assert entities_without_history(savepoint, BOTH) == ()
        started.append(start(stack, "merchant,terminal", "single", savepoint))
        last = [decision(number) for number in range(2 * HALF, 3 * HALF)]
        send(stack, last)
        wait_for_rows(stack, [*decisions, *last])
    finally:
        jobs.end_jobs(stack, started)
    starts = [message for message in messages(stack) if isinstance(message, EntityStart)]
    assert {item.kept_since_ms for item in starts if item.entity is Entity.MERCHANT} == {0}
    (since,) = {item.kept_since_ms for item in starts if item.entity is Entity.TERMINAL}
    assert since in {item["event_time_ms"] for item in after}


def decision(number: int) -> Decision:
    return {
        "merchant": f"m-{number % MERCHANTS}", "terminal": f"p-{number % 11}", "currency": "EUR",
        "amount_minor": 100 + number, "event_time_ms": BEGIN_MS + number * MINUTE_MS,
    }  # fmt: skip


def send(stack: Stack, decisions: Sequence[Decision]) -> None:
    jobs.send_raw(stack, topic_name(PREFIX, "decisions"), map(orjson.dumps, decisions))


def start(stack: Stack, entities: str, crossing: str, savepoint: str | None = None) -> str:
    environment = {
        "STREAMFLOW_TOPIC_PREFIX": PREFIX,
        "STREAMFLOW_RISK_ENTITIES": entities,
        "STREAMFLOW_CROSSING": crossing,
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "300",
        "STREAMFLOW_IDLE_TIMEOUT_MS": "1000",
    }
    return jobs.start_job(stack, "merchants", environment, savepoint=savepoint)


def messages(stack: Stack) -> list[EntityRow | EntityStart]:
    found = [parse_message(orjson.dumps(item)) for item in jobs.committed(stack, "merchant-risk", PREFIX)]
    assert not [item for item in found if isinstance(item, str)]
    return [item for item in found if not isinstance(item, str)]


def wait_for_rows(stack: Stack, decisions: Sequence[Decision]) -> None:
    """Wait for the row of each merchant at the last slot that began five minutes before the newest decision."""
    states: defaultdict[str, MerchantState] = defaultdict(MerchantState)
    for item in decisions:
        states[item["merchant"]].update(item["event_time_ms"], item["amount_minor"] / 100, 7)
    slot = (decisions[-1]["event_time_ms"] - 5 * MINUTE_MS) // SLOT_MS
    expected = {name: row_of(name, state, slot) for name, state in states.items()}

    def newest() -> dict[str, EntityRow]:
        rows = [item for item in messages(stack) if isinstance(item, EntityRow) and item.entity is Entity.MERCHANT]
        return {row.name: row for row in rows}

    assert len(expected) == MERCHANTS
    wait_for(lambda: newest() == expected, limit_s=WAIT_S, what=f"rows of {len(decisions)} decisions")
