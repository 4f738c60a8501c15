"""The lake job on a real cluster and S3: each committed decision is in one row, also after a killed TaskManager."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from flink_jobs.cli.app import app
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.job.lake_tables import COLUMNS, DECISIONS, REJECTED
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.positions import group_bounds
from flink_jobs.kafka.producer import connect
from flink_jobs.local.stack import Stack
from flink_jobs.waiting import wait_for
from flink_jobs.warehouse.lake_files import LakeBucket, live_files
from tests.integration import jobs
from tests.integration.decided_cards import Document, decide
from tests.stack_control import kill_taskmanager, start_taskmanager

pytestmark = [pytest.mark.stack, pytest.mark.slow]

COUNT = 3_000
ACTION = {"action_id": "ac_1", "action": "watch", "scope": "customer", "rule": None, "expires_at_ms": 1_700_000_000_000}

TRACE = f"00-{'a' * 32}-{'b' * 16}-01"


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
    stack: Stack, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every committed record is in one row: of the decisions with equal cells, or of the rejected messages."""
    lake = LakeBucket(f"s3://{bucket}/lake-test")
    prefix = jobs.own_topics(stack, "lake-test")
    topic = topic_name(prefix, "decisions")
    documents = decide(COUNT).decisions
    documents[1] = {**documents[1], "schema_version": 3, "actions": [ACTION]}
    documents[2] = {**documents[2], "schema_version": 4, "traceparent": TRACE}
    bad = bad_messages(documents[0])
    environment = {
        "STREAMFLOW_TOPIC_PREFIX": prefix,
        "STREAMFLOW_LAKE_PATH": f"s3://{bucket}/lake-test",
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
        # The consumer groups commit a moment after the files.
        wait_for(lambda: _is_committed(stack, prefix, topic), limit_s=400, what="the commit of the offsets")
    found = _rows(lake, DECISIONS)
    with CommittedReader(stack.settings().broker(), [topic]) as reader:
        records = list(reader.read_to_end())
    rejected = {(row["decision_partition"], row["decision_offset"]): row for row in _rows(lake, REJECTED)}
    places = Counter((row["decision_partition"], row["decision_offset"]) for row in found)
    assert set(places.values()) == {1}
    assert {*places, *rejected} == {(record.partition, record.offset) for record in records}
    assert len(rejected) == len(bad)
    at = {(record.partition, record.offset): record.value for record in records}
    assert [row["actions"] for row in found if row["actions"]] == [[ACTION]]
    assert [row["traceparent"] for row in found if row["traceparent"]] == [TRACE]
    for row in found:
        _assert_equal(row, orjson.loads(at[row["decision_partition"], row["decision_offset"]] or b""))
    assert {rejected[place]["detail"] for place in rejected} >= {
        "not a JSON object in UTF-8", "missing or of another type: score", "missing or of another type: event_time_ms",
        "missing or of another type: ml_score",
    }  # fmt: skip
    for name, value in {"TOPIC_PREFIX": prefix, "LAKE_PATH": f"s3://{bucket}/lake-test"}.items():
        monkeypatch.setenv(f"STREAMFLOW_{name}", value)
    monkeypatch.setenv("STREAMFLOW_HOME", str(stack.home.root))
    _assert_the_check_finds_a_removed_file(lake)


def _is_committed(stack: Stack, prefix: str, topic: str) -> bool:
    """Return whether both consumer groups of the job have committed the ends of the topic."""
    broker = stack.settings().broker()
    with CommittedReader(broker, [topic]) as reader:
        ends = {number: end for (_, number), end in reader.end_offsets().items()}
    bounds = group_bounds(broker, topic, [f"{prefix}-lake", f"{prefix}-lake-check"])
    return {number: end for number, (_, end) in bounds.items()} == ends


def _assert_the_check_finds_a_removed_file(lake: LakeBucket) -> None:
    """Nothing is wrong before a file is removed."""
    assert _check() == (0, 0, 0)
    victim = max(live_files(lake, DECISIONS).items(), key=lambda item: item[1])[0]
    with lake.open(victim) as file:
        rows = parquet.read_metadata(file).num_rows
    lake.delete(victim)
    assert _check() == (3, rows, 0)


def _check() -> tuple[int, int, int]:
    """Return the exit code of ``streamflow lake check``, and how many messages it reports as lost and duplicated."""
    result = CliRunner().invoke(app, ["lake", "check", "--wait", "0", "--output", "json"])
    found = orjson.loads(result.stdout)["partitions"]
    return result.exit_code, sum(item["lost"] for item in found), sum(item["duplicated"] for item in found)


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


def _rows(lake: LakeBucket, table: str) -> list[dict[str, Any]]:
    """Return the rows of a table's completed files; files in progress have hidden names."""
    found: list[dict[str, Any]] = []
    for name in live_files(lake, table):
        with lake.open(name) as file:
            found += parquet.read_table(file).to_pylist()
    return [row | {name: dict(row[name]) for name in ("features", "absent") if name in row} for row in found]
