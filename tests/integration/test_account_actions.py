"""Actions on accounts on the real job, in both crossings: block, allow and suppress, through a savepoint."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.flink.savepoints.snapshot import open_snapshot
from flink_jobs.kafka.action_client import read_account, send_action
from flink_jobs.kafka.control_client import build_message, send_and_wait
from flink_jobs.waiting import wait_for
from tests.account_samples import action
from tests.integration import jobs

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PREFIX = "acted"
WAIT_S = 400
HERE, FAR = {"lat": 50.0, "lon": 8.0}, {"lat": -40.0, "lon": -170.0}


def decision_on(stack: Stack, customer: str, location: dict[str, float] = HERE) -> dict[str, Any]:
    """Send a purchase and return its decision."""
    return jobs.decision_on(stack, customer, PREFIX, location=location)


def acted_on(stack: Stack, customer: str) -> dict[str, Any]:
    """Send purchases until one meets the action."""
    return jobs.acted_on(stack, customer, PREFIX)


def test_actions_apply_in_both_crossings_and_survive_a_savepoint(stack: Stack, tmp_path: Path) -> None:
    jobs.own_topics(stack, PREFIX)
    settings, rest = stack.settings(), stack.rest()
    broker = settings.broker()
    environment = {
        "STREAMFLOW_TOPIC_PREFIX": PREFIX,
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "300",
        "STREAMFLOW_MODEL_DIR": str(tmp_path),
    }
    now_ms = time.time_ns() // 1_000_000
    dates = {"issued_at_ms": now_ms - 1_000, "expires_at_ms": now_ms + 86_400_000}
    for item in (
        action("block", "blocked", **dates),
        action("allow", "allowed", **dates),
    ):
        send_action(broker, PREFIX, item)
    jobs.send_raw(stack, topic_name(PREFIX, "user-actions"), [b'{"action": "block"'])

    job = jobs.start_job(stack, "detect", {**environment, "STREAMFLOW_CROSSING": "single"})
    try:
        # A threshold of 0: every decision without an allow is an alert.
        message = build_message(
            {"alert_threshold": 0.0}, issued_by="tester", reason="test", expected_revision=None, now_ms=now_ms
        )
        assert send_and_wait(broker, PREFIX, orjson.dumps(message), message["control_id"], WAIT_S) is not None
        blocked = acted_on(stack, "blocked")
        assert [item["code"] for item in blocked["reasons"]] == ["ACCOUNT_BLOCKED"]
        assert blocked["is_alert"]
        letters = wait_for(lambda: jobs.committed(stack, "dlq", PREFIX), limit_s=WAIT_S, what="the dead letter")
        assert [(item["reason"], item["payload"]) for item in letters] == [("ACTION_INVALID", '{"action": "block"')]
        savepoint = rest.stop_with_savepoint(job, settings.savepoint_dir)
    finally:
        if job in {item.job_id for item in rest.active_jobs()}:
            rest.cancel(job)
    with open_snapshot(savepoint) as snapshot:
        versions = {item.customer_id: item.version for item in snapshot.customers()}
    assert versions["blocked"] == 4

    job = jobs.start_job(stack, "detect", {**environment, "STREAMFLOW_CROSSING": "batched"}, savepoint=savepoint)
    try:
        assert "actions" in decision_on(stack, "blocked"), "the first transaction after the restore"
        allowed = acted_on(stack, "allowed")
        assert (allowed["is_alert"], allowed["score"] >= allowed["threshold"]) == (False, True)
        decision_on(stack, "traveller")
        assert "IMPOSSIBLE_TRAVEL" in [item["code"] for item in decision_on(stack, "traveller", FAR)["reasons"]]
        send_action(broker, PREFIX, action("suppress", "traveller", rule="impossible_travel", **dates))
        travels = wait_for(
            lambda: [
                item
                for item in (decision_on(stack, "traveller", HERE), decision_on(stack, "traveller", FAR))
                if "actions" in item
            ],
            limit_s=WAIT_S,
            what="the suppression",
        )
        assert {item["rule"] for item in travels[-1]["actions"]} == {"impossible_travel"}
        assert travels[-1]["rule_score"] < 0.35
        send_action(broker, PREFIX, action("clear", "blocked", issued_at_ms=now_ms))
        wait_for(lambda: "actions" not in decision_on(stack, "blocked"), limit_s=WAIT_S, what="the end of the block")
    finally:
        rest.cancel(job)
    alerted = {item["transaction_id"] for item in jobs.committed(stack, "alerts", PREFIX)}
    assert blocked["transaction_id"] in alerted
    assert allowed["transaction_id"] not in alerted
    assert read_account(broker, PREFIX, "blocked", now_ms).risk == "none"
    assert len(read_account(broker, PREFIX, "blocked", now_ms).history) == 2
