"""Dead letters on real servers, from rejection through archive and edit to a decision.

The tests of this file share two running jobs with their own topics, and run in order.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from flink_jobs.changing_folders import files_below
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.accounts.standing import DAY_MS
from flink_jobs.core.control.config import DEFAULT_ALERT_THRESHOLD
from flink_jobs.core.dead_letters.letter import letter_payload
from flink_jobs.core.documents import ControlChanges, Finding
from flink_jobs.core.label import Label
from flink_jobs.kafka.control_client import build_message
from flink_jobs.kafka.positions import committed_offsets, read_positions
from flink_jobs.local.stack import Stack
from flink_jobs.traffic.faults import FaultPlan
from flink_jobs.waiting import wait_for
from flink_jobs.warehouse.completeness import compare
from tests.account_samples import action
from tests.integration import jobs
from tests.integration.decided_cards import decide
from tests.integration.dlq_commands import LIMIT_S, Commands

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PREFIX = "letters"
Document = dict[str, Any]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the settings of jobs and commands: their own topics, frequent checkpoints, no model."""
    return {
        "STREAMFLOW_TOPIC_PREFIX": PREFIX,
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "1000",
        "STREAMFLOW_IDLE_TIMEOUT_MS": "1000",
        "STREAMFLOW_MODEL_DIR": str(tmp_path_factory.mktemp("no-models")),
    }


@pytest.fixture(scope="module")
def running(stack: Stack, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    jobs.own_topics(stack, PREFIX)
    with jobs.running_jobs(stack, environment) as ids:
        yield ids


@pytest.fixture(scope="module")
def dlq(stack: Stack, environment: dict[str, str]) -> Commands:
    return Commands(stack, environment)


def letters(stack: Stack) -> list[Document]:
    return jobs.committed(stack, "dlq", PREFIX)


def archived_letters(stack: Stack) -> int:
    query = "SELECT count(*) AS n FROM raw.dead_letters WHERE starts_with(source_topic, %s)"
    return int(jobs.rows(stack, query, f"{PREFIX}.")[0]["n"])


def archived_decisions(stack: Stack, run: str) -> int:
    query = "SELECT count(*) AS n FROM raw.decisions WHERE starts_with(customer_id, %s)"
    return int(jobs.rows(stack, query, f"{run}-")[0]["n"])


@pytest.mark.usefixtures("running")
def test_a_slow_or_stopped_postgres_does_not_hold_up_decisions(stack: Stack) -> None:
    """While all processes of Postgres are stopped, every record is scored on Kafka; then the rows catch up."""
    with frozen_postgres(stack):
        ledger = jobs.send(
            stack, jobs.card_events("frozen", 800), faults=FaultPlan(malformed=0.1, seed=3), prefix=PREFIX
        )
        balance = jobs.account(stack, ledger, PREFIX)
    assert balance.is_as_expected, "\n".join(balance.lines())
    wait_for(
        lambda: (
            archived_decisions(stack, "frozen") == balance.decided and archived_letters(stack) == len(letters(stack))
        ),
        limit_s=LIMIT_S,
        what="Postgres to hold what Kafka holds",
    )


@pytest.mark.usefixtures("running")
def test_an_edited_record_is_scored_and_show_reports_it(stack: Stack, dlq: Commands) -> None:
    one = next(item for item in letters(stack) if item["reason"] == "NEGATIVE_AMOUNT")
    name = one["dlq_id"]
    document = orjson.loads(one["payload"])
    edits = ("--set", "amount_minor=5", "--set", "transaction_id=fixed-1")
    report = dlq.run("redrive", name, *edits, "--why", "the sender's sign was wrong", "--by", "alice")
    assert report["sent"] == 1
    query = "SELECT amount_minor FROM raw.decisions WHERE customer_id = %s AND transaction_id = 'fixed-1'"
    rows = wait_for(
        lambda: jobs.rows(stack, query, document["customer_id"]),
        limit_s=LIMIT_S,
        what="the decision on the edited record",
    )
    assert rows == [{"amount_minor": 5}]
    assert ", decided: score " in dlq.run("show", name)["redrives"][0]["became"]


@pytest.mark.usefixtures("running")
def test_a_row_that_postgres_refuses_is_a_dead_letter_and_the_others_arrive(
    stack: Stack, running: dict[str, str]
) -> None:
    """Regression: one such message made the archive job restart forever."""
    good = [{**item, "customer_id": f"refused-{item['customer_id']}"} for item in decide(60).decisions]
    bad = {
        "NUL": orjson.dumps({**good[0], "transaction_id": "x", "merchant": "a\0b"}),
        "range": orjson.dumps({**good[0], "transaction_id": "x", "amount_minor": 2**64 - 1}),
        "no JSON": b'{"transaction_id":',
        "no text": b"\xff\x00",
    }
    label = Label("t-1", "refused-c", Finding.FRAUD, "analyst", 1_704_067_200_000, "somebody").document()
    foreign = b'{"label": "perhaps"}'
    values = [orjson.dumps(item) for item in good]
    failures = stack.rest().failures(running["archive"])
    before = archived_letters(stack)
    jobs.send_raw(stack, topic_name(PREFIX, "decisions"), [*values[:30], *bad.values(), *values[30:]])
    jobs.send_raw(stack, topic_name(PREFIX, "labels"), [foreign, orjson.dumps(label)])

    expected = before + len(bad) + 1
    wait_for(lambda: archived_letters(stack) == expected, limit_s=LIMIT_S, what="the table to hold the dead letters")
    wait_for(lambda: archived_decisions(stack, "refused") == len(good), limit_s=LIMIT_S, what="the good rows")
    assert jobs.rows(stack, "SELECT label_id FROM raw.labels WHERE customer_id = 'refused-c'")

    found = [item for item in letters(stack) if item["stage"] == "archive"]
    assert Counter(item["reason"] for item in found) == {"ROW_REFUSED": len(bad), "LABEL_INVALID": 1}
    assert {item["payload"] for item in found if item["reason"] == "LABEL_INVALID"} == {foreign.decode()}
    assert all(item["disposition"] == "incident" for item in found)
    assert stack.rest().failures(running["archive"]) == failures


NUMBER = "4000056655665556"
"""A card number that no other test sends."""


def messages_with_a_number() -> dict[str, list[bytes]]:
    """Return messages with the number in the clear by topic; the first of each is accepted, the others are rejected."""
    taken = {"transaction_id": "pan-ok", "customer_id": "pan-c", "amount_minor": 5, "currency": "USD",
             "event_time_ms": 1_704_067_200_000, "schema_version": 2, "card": NUMBER}  # fmt: skip
    wrong = [
        {**taken, "amount_minor": -5},
        {**taken, "card": int(NUMBER)},
        {**taken, "schema_version": 1, "currency": "ZZZ", "card": {"number": NUMBER}},
    ]
    rejected = [*map(orjson.dumps, wrong), orjson.dumps(taken)[:-1]]
    rejected.append(orjson.dumps({**taken, "merchant": "@"}).replace(b"@", b"\xff"))
    now_ms = time.time_ns() // 1_000_000
    times = {"issued_at_ms": now_ms - 1_000, "expires_at_ms": now_ms + DAY_MS}
    told = action("watch", "pan-c", reason=f"{NUMBER} was found", **times).document()
    on_card = {**action("block", "pan-c", card="tok", **times).document(), "card": NUMBER}
    label = Label("pan-ok", "pan-c", Finding.FRAUD, "desk", 1_704_067_200_000, "ann", f"card {NUMBER}").document()
    in_clear = {**label, "schema_version": 3, "event_time_ms": 1_704_067_200_000, "card": NUMBER}
    same: ControlChanges = {"alert_threshold": DEFAULT_ALERT_THRESHOLD}
    control = build_message(same, issued_by="ann", reason=NUMBER, expected_revision=None, now_ms=0)
    control["control_id"] = "pan-control"
    return {
        "transactions": [orjson.dumps(taken), *rejected],
        "user-actions": [orjson.dumps(told), orjson.dumps(on_card)],
        "labels": [orjson.dumps(label), orjson.dumps(in_clear)],
        "control": [orjson.dumps(control), orjson.dumps({**control, "changes": {"alpha": 7}})],
    }


ARRIVALS = {
    "decision": "SELECT FROM raw.decisions WHERE transaction_id = 'pan-ok' AND card = '****5556'",
    "action": "SELECT FROM raw.user_actions WHERE customer_id = 'pan-c' AND reason = '[card number] was found'",
    "label": "SELECT FROM raw.labels WHERE customer_id = 'pan-c' AND comment = 'card [card number]'",
    "audit": "SELECT FROM ops.control_audit WHERE control_id = 'pan-control' AND reason = '[card number]'",
}
_TABLES = """
    SELECT oid::regclass::text AS name FROM pg_class
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace::regnamespace::text
        NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1"""


@pytest.mark.usefixtures("running")
def test_a_card_number_in_any_message_is_in_no_table_no_output_and_no_log(
    stack: Stack, dlq: Commands, tmp_path: Path
) -> None:
    """Kafka alone keeps the bytes of a rejected message; every table that exists is searched, also later ones."""
    sent = messages_with_a_number()
    before = len(letters(stack))
    for topic, payloads in sent.items():
        jobs.send_raw(stack, topic_name(PREFIX, topic), payloads)
    rejected = {payload for payloads in sent.values() for payload in payloads[1:]}
    expected = before + len(rejected)
    wait_for(lambda: archived_letters(stack) == expected, limit_s=LIMIT_S, what="the dead letters in Postgres")
    for what, query in ARRIVALS.items():
        wait_for(lambda query=query: jobs.rows(stack, query), limit_s=LIMIT_S, what=what)  # type: ignore[misc]

    kept = {item["dlq_id"]: item for item in letters(stack) if letter_payload(item) in rejected}  # type: ignore[arg-type]
    assert {letter_payload(item) for item in kept.values()} == rejected  # type: ignore[arg-type]
    stored = jobs.rows(stack, "SELECT * FROM raw.dead_letters WHERE dlq_id = ANY(%s)", list(kept))
    assert len(stored) == len(rejected)
    for row in stored:
        assert NUMBER.encode() not in letter_payload(row)  # type: ignore[arg-type]
        assert b"5556" in letter_payload(row) or b"[card number]" in letter_payload(row)  # type: ignore[arg-type]
        assert row["payload_sha256"] == kept[row["dlq_id"]]["payload_sha256"]
    tables = [row["name"] for row in jobs.rows(stack, _TABLES)]
    assert {"raw.dead_letters", "raw.user_actions", "raw.labels", "ops.control_audit", "api.reads"} <= set(tables)
    found = [name for name in tables if jobs.rows(stack, f"SELECT FROM {name} t WHERE t::text LIKE %s", f"%{NUMBER}%")]
    assert found == []

    one = next(item for item in kept.values() if item["reason"] == "ACTION_INVALID")
    file = tmp_path / "record"
    assert NUMBER not in str(dlq.run("show", one["dlq_id"], "--raw-out", str(file)))
    assert file.read_bytes() == sent["user-actions"][1]
    assert NUMBER not in str(dlq.run("list", "--limit", "1000"))
    logs = [path for path, _ in files_below(stack.home.logs)]
    assert logs
    assert [path.name for path in logs if NUMBER.encode() in path.read_bytes()] == []


@contextmanager
def frozen_postgres(stack: Stack) -> Iterator[None]:
    """Stop every process of Postgres during a ``with`` block, as if the machine hung."""
    server = stack.record.processes["postgres"].pid
    stopped = [server]
    os.kill(server, signal.SIGSTOP)  # the first process, because it starts the others
    try:
        stopped += map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())
        for child in stopped[1:]:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(child, signal.SIGSTOP)
        yield
    finally:
        for process in stopped:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


@pytest.mark.usefixtures("running")
def test_aborted_records_of_a_transactional_producer_are_not_missing(stack: Stack) -> None:
    """Three committed transactions, three aborted ones, two committed ones: five decisions, and nothing is missing."""
    settings, topic = stack.settings(), topic_name(PREFIX, "transactions")
    broker, dsn = settings.broker(), settings.postgres_dsn_as("transformer")
    records = [orjson.dumps(event.transaction) for event in jobs.card_events("transactional", 8)]
    producer = Producer({**broker.librdkafka(), "transactional.id": "letters-producer", "log_level": 0})
    producer.init_transactions(LIMIT_S)
    for begin, end in ((0, 3), (3, 6), (6, 8)):
        producer.begin_transaction()
        for record in records[begin:end]:
            producer.produce(topic, record, partition=0)
        producer.flush(LIMIT_S)
        if begin == 3:
            producer.abort_transaction(LIMIT_S)
        else:
            producer.commit_transaction(LIMIT_S)

    def without_record() -> int:
        compared = compare(dsn, read_positions(broker, PREFIX), topic, partial(committed_offsets, broker, topic))
        of_input = [item for item in compared if item.position.topic == topic]
        assert {item.missing for item in of_input} == {0}
        return sum(item.without_record or 0 for item in of_input)

    wait_for(lambda: archived_decisions(stack, "transactional") == 5, limit_s=LIMIT_S, what="five rows")
    # Three records and the ends of two transactions; the detector commits the offsets behind them a moment later.
    wait_for(lambda: without_record() >= 5, limit_s=LIMIT_S, what="the offsets without a record")
