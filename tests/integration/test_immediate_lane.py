"""Alerts and replies leave at once; the ledger follows with the checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.replies import REPLY_PARTITION, REPLY_TO, REQUEST_ID
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.producer import connect
from flink_jobs.waiting import wait_for
from tests.integration import jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from flink_jobs.local.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PREFIX = "immediate"
PARTITION = 3
EVENTS = 60
WAIT_S = 400
NO_CHECKPOINT = {"STREAMFLOW_TOPIC_PREFIX": PREFIX, "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "3600000"}
"""Only savepoints commit the ledger."""


def transaction(number: int) -> dict[str, Any]:
    """Return a purchase every ten minutes; each tenth is large and on the other side of the world."""
    is_odd = number % 10 == 9
    return {
        "transaction_id": f"t-{number}",
        "customer_id": "lane-1",
        "amount_minor": 10_000_000 if is_odd else 1_000 + number,
        "currency": "USD",
        "event_time_ms": 1_704_067_200_000 + number * 600_000,
        "location": {"lat": -40.0, "lon": -170.0} if is_odd else {"lat": 50.0, "lon": 8.0},
    }


def ask(stack: Stack, payloads: Mapping[str, bytes], topic: str = f"{PREFIX}.replies") -> None:
    """Send records that ask for a reply; the keys are the request ids."""
    producer = connect(stack.settings().broker())
    try:
        sent = [
            producer.send(
                topic_name(PREFIX, "transactions"),
                value=payload,
                headers=[
                    (REPLY_TO, topic.encode()),
                    (REQUEST_ID, request_id.encode()),
                    (REPLY_PARTITION, b"%d" % PARTITION),
                ],
                partition=0,  # keeps the order of all records
            )
            for request_id, payload in payloads.items()
        ]
        for future in sent:
            future.get(timeout=120)
    finally:
        producer.close()


def replies(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the replies by request id; each is in the partition that was asked for."""
    with CommittedReader(stack.settings().broker(), [topic_name(PREFIX, "replies")]) as reader:
        records = list(reader.read_to_end())
    assert {record.partition for record in records} <= {PARTITION}
    return {document["request_id"]: document for document in (orjson.loads(item.value or b"") for item in records)}


def alerted(documents: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(item["transaction_id"] for item in documents)


def test_alerts_and_replies_leave_before_the_checkpoint_and_old_transactions_are_committed(
    stack: Stack, tmp_path: Path
) -> None:
    """Regression for upgrades: a savepoint of an exactly-once alert sink holds alerts that only a commit shows."""
    jobs.own_topics(stack, PREFIX)
    payloads = {f"r-{number}": orjson.dumps(transaction(number)) for number in range(EVENTS)}
    half = dict(list(payloads.items())[: EVENTS // 2])
    rest, settings = stack.rest(), stack.settings()
    # Without a model the rules decide alone.
    environment = {**NO_CHECKPOINT, "STREAMFLOW_MODEL_DIR": str(tmp_path)}

    ask(stack, half)
    job = jobs.start_job(stack, "detect", {**environment, "STREAMFLOW_ALERTS_GUARANTEE": "exactly-once"})
    try:
        wait_for(lambda: replies(stack).keys() >= half.keys(), limit_s=WAIT_S, what="the replies")
        before = alerted(item for item in replies(stack).values() if item["is_alert"])
        assert before, "some of them are alerts"
        savepoint = rest.savepoint(job, settings.savepoint_dir)
        # A savepoint of a running job commits nothing: the alerts are in a transaction that the savepoint names.
        assert (jobs.committed(stack, "alerts", PREFIX), jobs.committed(stack, "decisions", PREFIX)) == ([], [])
    finally:
        rest.cancel(job)

    job = jobs.start_job(stack, "detect", environment, savepoint=savepoint)
    try:
        wait_for(
            lambda: alerted(jobs.committed(stack, "alerts", PREFIX)) == before,
            limit_s=WAIT_S,
            what="the alerts of the old transaction",
        )
        ask(stack, payloads | {"bad": b"not json"})
        ask(stack, {"elsewhere": payloads["r-0"]}, topic=f"{PREFIX}.alerts")
        wait_for(lambda: replies(stack).keys() >= {*payloads, "bad"}, limit_s=WAIT_S, what="the other replies")
        answered = replies(stack)
        assert "elsewhere" not in answered
        expected = sorted({*before, *alerted(item for item in answered.values() if item["is_alert"])})
        assert len(expected) > len(before)
        wait_for(
            lambda: sorted(set(alerted(jobs.committed(stack, "alerts", PREFIX)))) == expected,
            limit_s=WAIT_S,
            what="the alerts of the running job",
        )
        # Another sink than that of the alerts commits them.
        wait_for(lambda: jobs.committed(stack, "decisions", PREFIX), limit_s=WAIT_S, what="the old decisions")
        assert len(jobs.committed(stack, "decisions", PREFIX)) == len(half), "decisions wait for the checkpoint"
        made = {item["transaction_id"]: item for item in jobs.committed(stack, "alerts", PREFIX)}
        for reply in (item for item in answered.values() if item["is_alert"]):
            alert = made[reply["transaction_id"]]
            assert reply["contributions"] == alert["contributions"]
            assert reply["reason_contributions"] == [item["contribution"] for item in alert["reasons"]]
        assert answered["bad"]["rejection"] == "MALFORMED_JSON"
        assert {answered[name]["outcome"] for name in half} == {"duplicate"}
        assert {answered[name]["outcome"] for name in payloads.keys() - half.keys()} == {"decided"}
        rest.stop_with_savepoint(job, settings.savepoint_dir)
    finally:
        if job in {item.job_id for item in rest.active_jobs()}:
            rest.cancel(job)
    wait_for(lambda: len(jobs.committed(stack, "decisions", PREFIX)) == EVENTS, limit_s=WAIT_S, what="every decision")
    decided = [item for item in jobs.committed(stack, "decisions", PREFIX) if item["is_alert"]]
    assert alerted(decided) == expected
