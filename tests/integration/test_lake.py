"""The lake job on a real cluster: files hold each committed decision exactly once, also after a killed TaskManager."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import orjson
import pytest

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.job.lake_tables import COLUMNS, DECISIONS, REJECTED
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.producer import connect
from flink_jobs.local.stack import Stack
from flink_jobs.waiting import wait_for
from tests.integration import jobs
from tests.integration.decided_cards import Document, decide
from tests.stack_control import kill_taskmanager, start_taskmanager

pytestmark = [pytest.mark.stack, pytest.mark.slow]

COUNT = 3_000


def bad_messages(good: Document) -> list[bytes | None]:
    """Return messages that cannot become a row, each for another reason."""
    return [
        None,
        b"",
        b"no JSON",
        b"[1, 2]",
        b'{"customer_id": "cut',
        b'{"customer_id": "\xff"}',
        orjson.dumps({name: value for name, value in good.items() if name != "score"}),
        orjson.dumps({**good, "event_time_ms": "noon"}),
        orjson.dumps({**good, "reasons": 5}),
        orjson.dumps({**good, "source": None}),
        orjson.dumps({**good, "model": "ok", "ml_score": "high"}),
        b"[" * 2_000 + b"]" * 2_000,
    ]


def test_a_killed_taskmanager_leaves_every_decision_once_and_no_bad_message_unseen(
    stack: Stack, tmp_path: Path
) -> None:
    """Every committed record is in one row: of the decisions with equal cells, or of the rejected messages."""
    lake = tmp_path / "lake"
    prefix = jobs.own_topics(stack, "lake-test")
    topic = topic_name(prefix, "decisions")
    documents = decide(COUNT).decisions
    bad = bad_messages(documents[0])
    environment = {
        "STREAMFLOW_TOPIC_PREFIX": prefix,
        "STREAMFLOW_LAKE_PATH": str(lake),
        "STREAMFLOW_LAKE_CHECKPOINT_INTERVAL_MS": "1000",
    }
    with jobs.running_job(stack, "lake", environment) as job_id:
        _send(stack, topic, [*documents[: COUNT // 2], *bad])
        wait_for(lambda: _rows(lake, DECISIONS), limit_s=400, what="the first file")
        victim = _taskmanager(stack, job_id)
        _send(stack, topic, documents[COUNT // 2 :])
        kill_taskmanager(stack, victim)
        start_taskmanager(stack, victim)
        total = COUNT + len(bad)
        wait_for(
            lambda: len(_rows(lake, DECISIONS)) + len(_rows(lake, REJECTED)) >= total,
            limit_s=400,
            what="all records in files",
        )
    found = _rows(lake, DECISIONS)
    with CommittedReader(stack.settings().broker(), [topic]) as reader:
        records = list(reader.read_to_end())
    rejected = {(row["decision_partition"], row["decision_offset"]): row for row in _rows(lake, REJECTED)}
    places = Counter((row["decision_partition"], row["decision_offset"]) for row in found)
    assert set(places.values()) == {1}
    assert {*places, *rejected} == {(record.partition, record.offset) for record in records}
    assert len(rejected) == len(bad)
    at = {(record.partition, record.offset): record.value for record in records}
    for row in found:
        _assert_equal(row, orjson.loads(at[row["decision_partition"], row["decision_offset"]] or b""))
    assert {rejected[place]["detail"] for place in rejected} >= {
        "not a JSON object in UTF-8", "missing or of another type: score", "missing or of another type: event_time_ms",
        "missing or of another type: ml_score",
    }  # fmt: skip


def _assert_equal(row: dict[str, Any], document: Document) -> None:
    """Compare every cell with the document: numbers and texts exactly."""
    source = document["source"]
    expected = {**document, **{f"source_{name}": source[name] for name in source}}
    for name in COLUMNS:
        if name in expected:
            assert row[name] == expected[name], name


def _taskmanager(stack: Stack, job_id: str) -> int:
    """Return the number of the TaskManager that runs the job, which has one task slot."""
    rest = stack.rest()
    vertex = rest.get(f"/jobs/{job_id}")["vertices"][0]["id"]
    subtasks = rest.get(f"/jobs/{job_id}/vertices/{vertex}")["subtasks"]
    return int(subtasks[0]["taskmanager-id"].split("-")[1])


def _send(stack: Stack, topic: str, messages: list[Any]) -> None:
    producer = connect(stack.settings().broker())
    try:
        for message in messages:
            is_document = isinstance(message, dict)
            key = message["customer_id"].encode() if is_document else b"bad"
            producer.send(topic, key=key, value=orjson.dumps(message) if is_document else message)
        producer.flush()
    finally:
        producer.close()


def _rows(lake: Path, table: str) -> list[dict[str, Any]]:
    """Return the rows of a table's completed files; files in progress have hidden names."""
    if not list((lake / table).glob("*/part-*")):
        return []
    with duckdb.connect() as connection:
        cursor = connection.execute(
            "SELECT * FROM read_parquet(?, hive_partitioning = true)", [f"{lake}/{table}/*/part-*"]
        )
        names = [item[0] for item in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
