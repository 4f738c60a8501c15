"""``streamflow dlq mask`` on a real Postgres: rows of earlier releases become those that this release writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import orjson
import psycopg
import pytest

from flink_jobs.core.accounts.standing import DAY_MS
from flink_jobs.core.dead_letters.letter import build_dlq_record
from flink_jobs.core.documents import Finding
from flink_jobs.core.label import Label
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from flink_jobs.dead_letters import masking
from flink_jobs.dead_letters.masking import MaskedRows, mask_stored_rows
from flink_jobs.dead_letters.redrive_audit import RedriveItem, open_redrives
from flink_jobs.errors import UserError
from flink_jobs.job.archiver.rows import write_messages
from flink_jobs.job.archiver.tables import ARCHIVE_OF
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT, Settings
from flink_jobs.warehouse.partitions import create_partitions
from flink_jobs.warehouse.paths import QUALITY_CHECKS
from flink_jobs.warehouse.queries import ask, read_sql_files
from tests.account_samples import action
from tests.avro_samples import avro
from tests.integration.case_database import START_MS, add_decision, own_database
from tests.integration.decided_cards import upsert
from tests.unit.core.test_payload_mask import TEXTS
from tests.unit.core.test_purchase_ids import IDS, LEAST

pytestmark = pytest.mark.stack

NUMBER = "4111111111111111"
NOW_MS = time.time_ns() // 1_000_000
DAYS = (NOW_MS, NOW_MS + DAY_MS, None)
"""Times of records: two days with a partition of their own, and one row of the DEFAULT partition."""
PAYLOADS = [
    *(payload.encode() for payload, _ in TEXTS.values()),
    avro({**LEAST, **IDS, "schema_version": 2, "card": NUMBER}),
    b'{"m":"Caf\xff","card":"4111111111111111"}',
]
CLEAN = [b'{"card":"tok_1"}', b"\xff\xfe", b"{", b"", None]


def letter(number: int, payload: bytes | None) -> dict[str, Any]:
    day_ms = DAYS[number % len(DAYS)]
    sent = "" if day_ms is None else datetime.fromtimestamp(day_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    record = SourceRecord(payload, 0, number, sent, "", "c", "streamflow.transactions")
    body = build_dlq_record(
        record, DeadLetterReason.WRONG_TYPE, PipelineStage.PARSE, "why", Disposition.REJECTED, NOW_MS
    )
    return dict(body)


def messages() -> dict[str, list[Any]]:
    """Return messages by topic; the first of each has no card number, except for dead letters."""
    letters = [letter(number, payload) for number, payload in enumerate([*PAYLOADS, *CLEAN])]
    labels = [
        Label(f"t-{number}", "c", Finding.FRAUD, "desk", 1_704_067_200_000, "ann", comment).document()
        for number, comment in enumerate([None, f"card {NUMBER}", '{"card":"4111 1111 1111 1111"}'])
    ]
    times = {"issued_at_ms": NOW_MS - 1_000, "expires_at_ms": NOW_MS + DAY_MS}
    actions = [action("watch", f"c-{number}", reason=why, **times).document() for number, why in enumerate("ab")]
    actions.append({**action("block", "c-2", card="tok", **times).document(), "card": NUMBER, "reason": f"x {NUMBER}"})
    audit = {
        "schema_version": 1, "control_id": "a", "revision": 1, "outcome": "applied", "detail": "", "issued_by": "ann",
        "issued_at_ms": 1, "reason": "why", "applied_at_ms": 2, "changes": {"alpha": 0.5},
    }  # fmt: skip
    changed = {"reason": NUMBER, "changes": {"card_rules": [int(NUMBER)], "alpha": 0.25}}
    return {"dlq": letters, "labels": labels, "user-actions": actions,
            "audit": [audit, {**audit, "control_id": "b", **changed}]}  # fmt: skip


MASKED = {"raw.dead_letters": len(PAYLOADS), "raw.labels": 2, "raw.user_actions": 1, "ops.control_audit": 1}
LEFT = {"raw.dead_letters": len(CLEAN), "raw.labels": 1, "raw.user_actions": 2, "ops.control_audit": 1}
NONE = {"ops.redrive_runs": 0, "ops.redrives": 0}


@pytest.fixture(scope="module")
def databases(database: Stack) -> Iterator[tuple[Settings, Settings]]:
    """Yield one database for the rows of an earlier release, and one into which this release writes."""
    with ExitStack() as exits:
        old, new = (exits.enter_context(own_database(database.settings(), "mask")) for _ in range(2))
        for settings in (old, new):
            create_partitions(settings.postgres_dsn)
        yield old, new


@pytest.fixture
def old(databases: tuple[Settings, Settings]) -> str:
    """Return the DSN of a database whose tables hold rows as an earlier release wrote them: byte for byte."""
    dsn = databases[0].postgres_dsn
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "TRUNCATE raw.dead_letters, raw.labels, raw.user_actions, ops.control_audit, ops.masking_log"
        )
        connection.execute("TRUNCATE ops.redrive_runs, ops.redrives")
        for topic, documents in messages().items():
            upsert(connection, ARCHIVE_OF[topic], documents)
    return dsn


def query(dsn: str, text: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(text.encode(), parameters).fetchall()


def rows(dsn: str) -> dict[str, list[str]]:
    """Return all rows of the tables by name, without their times of loading."""
    return {
        table: [row[0] for row in query(dsn, f"SELECT (to_jsonb(t) - 'loaded_at')::text FROM {table} t ORDER BY 1")]  # noqa: S608 - ours
        for table in MASKED
    }


def loaded(dsn: str) -> list[tuple[Any, ...]]:
    return query(dsn, "SELECT dlq_id, loaded_at FROM raw.dead_letters ORDER BY 1")


def counts(tables: list[MaskedRows]) -> dict[str, tuple[int, int]]:
    return {item.table: (item.masked, item.left) for item in tables}


def ignore(_: MaskedRows) -> None:
    """Take no note of the progress."""


EXPECTED = {name: (MASKED[name], LEFT[name]) for name in MASKED} | dict.fromkeys(NONE, (0, 0))


@pytest.mark.parametrize("batch", [1, 4, 1_000])
def test_rows_become_those_that_the_archive_writes_today(
    old: str, databases: tuple[Settings, Settings], batch: int
) -> None:
    new = databases[1].postgres_dsn
    with psycopg.connect(new, autocommit=True) as connection:
        for topic, documents in messages().items():
            texts = [orjson.dumps(document).decode() for document in documents]
            assert write_messages(connection, ARCHIVE_OF[topic], texts) == []
    days = query(old, "SELECT count(DISTINCT tableoid) FROM raw.dead_letters")
    assert days == [(3,)], "rows of two days and of the DEFAULT partition"
    before, times = rows(old), loaded(old)
    assert before != rows(new)

    trial = mask_stored_rows(old, "ann", ignore, is_trial=True, batch=batch)
    assert (trial.run, counts(trial.tables)) == (None, EXPECTED)
    assert (rows(old), query(old, "SELECT FROM ops.masking_log")) == (before, [])

    report = mask_stored_rows(old, "ann", ignore, batch=batch)
    assert counts(report.tables) == EXPECTED
    assert rows(old) == rows(new)
    assert loaded(old) == times, "retention, marts and completeness count from the time of loading"
    found = [name for name, held in rows(old).items() if NUMBER in json.dumps(held)]
    assert found == []
    log = "SELECT table_name, masked::int, (looked_at - masked)::int, started_by FROM ops.masking_log"
    assert query(old, f"{log} WHERE run_id = %s AND finished_at >= started_at ORDER BY entry_id", report.run) == [
        (name, *EXPECTED[name], "ann") for name in EXPECTED
    ]

    again = mask_stored_rows(old, "ann", ignore, batch=batch)
    assert {item.masked for item in again.tables} == {0}
    assert rows(old) == rows(new)


def test_an_interrupted_run_keeps_its_batches_and_the_next_run_completes_them(old: str) -> None:
    def interrupt(progress: MaskedRows) -> None:
        query(old, "SELECT FROM raw.dead_letters FOR UPDATE NOWAIT")  # no row stays locked between two batches
        if progress.looked_at == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mask_stored_rows(old, "ann", interrupt, batch=3)
    ((looked_at, masked, finished),) = query(old, "SELECT looked_at, masked, finished_at FROM ops.masking_log")
    assert (looked_at, finished) == (6, None)
    assert 0 < masked <= 6
    report = mask_stored_rows(old, "ann", ignore, batch=3)
    assert report.tables[0].masked == len(PAYLOADS) - masked
    assert report.tables[0].looked_at == len(PAYLOADS) + len(CLEAN)


def test_rows_that_another_session_holds_give_an_error_and_two_runs_exclude_each_other(
    old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(masking, "ATTEMPTS", 2)
    with psycopg.connect(old) as other:
        other.execute("SELECT FROM raw.dead_letters FOR UPDATE")
        with pytest.raises(UserError, match=r"another session holds rows of raw\.dead_letters"):
            mask_stored_rows(old, "ann", ignore)

    def second(_: MaskedRows) -> None:
        with pytest.raises(UserError, match="another run masks the stored rows"):
            mask_stored_rows(old, "ann", ignore)

    assert counts(mask_stored_rows(old, "ann", second).tables) == EXPECTED


EDIT = [
    {"path": "card", "from": NUMBER, "to": "tok_1"},
    {"path": "reason", "from": f"of {NUMBER}"},
    {"path": "", "from_sha256": "a", "to_sha256": "b"},
]
ENDED = """
    INSERT INTO ops.redrives (run_id, dlq_id, letter_reason, source_topic, source_partition, source_offset, replay,
        is_forced, changes, edited_payload, payload_sha256, outcome, ended_at)
    VALUES ('r', %s, 'WRONG_TYPE', 't', 0, %s, 1, false, %s, %s, 'sha', %s, CASE WHEN %s <> 'started' THEN now() END)"""


def test_recorded_edits_of_redrives_are_masked_and_else_the_audit_cannot_be_changed(
    old: str, databases: tuple[Settings, Settings]
) -> None:
    with psycopg.connect(old) as connection:
        run = "INSERT INTO ops.redrive_runs VALUES ('r', 'ann', %s, '{}', '[]')"
        connection.execute(run, (f"the number was {NUMBER}",))
        for number, outcome in enumerate(("abandoned", "started")):
            values = (f"dl-{number}", number, json.dumps(EDIT), b'{"card":"4111111111111111"}', outcome, outcome)
            connection.execute(ENDED, values)
        connection.execute(ENDED, ("dl-2", 2, None, None, "refused", "refused"))
    api = databases[0].postgres_dsn_as("api")
    with psycopg.connect(api) as connection, pytest.raises(psycopg.errors.RaiseException, match="is an audit"):
        connection.execute("UPDATE ops.redrives SET edited_payload = NULL WHERE outcome = 'abandoned'")
    with psycopg.connect(old) as connection, pytest.raises(psycopg.errors.RaiseException, match="is an audit"):
        connection.execute("UPDATE ops.redrives SET detail = 'x' WHERE outcome = 'abandoned'")

    report = mask_stored_rows(old, "ann", ignore)
    assert {item.table: (item.masked, item.left) for item in report.tables[-2:]} == {
        "ops.redrive_runs": (1, 0),
        "ops.redrives": (2, 1),
    }
    masked = [{**EDIT[0], "from": "****1111"}, {**EDIT[1], "from": "of [card number]"}, EDIT[2]]
    held = "SELECT outcome, changes, edited_payload FROM ops.redrives ORDER BY redrive_id"
    assert query(old, held) == [
        ("abandoned", masked, b'{"card":"****1111"}'),
        ("started", masked, b'{"card":"****1111"}'),
        ("refused", None, None),
    ]
    assert query(old, "SELECT reason FROM ops.redrive_runs") == [("the number was [card number]",)]


def test_a_redrive_records_the_edited_payload_without_the_number(old: str) -> None:
    """Regression: the audit had the bytes that were sent, also of fields that were not edited."""
    one = letter(0, b'{"card":"4111111111111111","amount_minor":-5}')
    sent = b'{"card":"4111111111111111","amount_minor":5}'
    item = RedriveItem(one, sent, changes=[{"path": "amount_minor", "from": -5, "to": 5}])  # type: ignore[arg-type]
    with open_redrives(old) as store:
        store.begin("run", "ann", "why", {}, {})
        assert len(store.claim("run", [item])) == 1
    stored = query(old, "SELECT edited_payload, payload_sha256 = encode(sha256(%s), 'hex') FROM ops.redrives", sent)
    assert stored == [(b'{"card":"****1111","amount_minor":5}', True)]


def test_numbers_in_append_only_tables_are_counted(old: str) -> None:
    with psycopg.connect(old) as connection:
        connection.execute(
            "INSERT INTO ml.model_versions (version, kind, digest, artifact_uri, manifest, metrics, created_at)"
            " VALUES ('v', 'k', %s, 'u', '{}', '{}', now())",
            ("0" * 64,),
        )
        connection.cursor().executemany(
            "INSERT INTO ml.model_events (version, event, actor, reason) VALUES ('v', 'registered', 'ann', %s)",
            [(f"after {NUMBER}",), ("order 4111111111111112",)],
        )
    assert mask_stored_rows(old, "ann", ignore).kept == {"ml.model_events": 1}


CHECK = "card_numbers_in_texts"
IDS_OF_MERCHANTS = [f"40000000000{number:04d}" for number in range(100)]
"""Numbers of 15 digits; the last one decides, so exactly ten of them pass the Luhn check."""


@pytest.mark.parametrize(
    ("merchants", "found"),
    [
        (["4111111111111111"], ["****1111"]),
        (["shop 4111 1111 1111 1111, x", "378282246310005"], ["****0005", "****1111"]),
        ([*IDS_OF_MERCHANTS], []),
        (["4111111111111112", "tok_4111111111111111", "0000000000000000", "fraud_Kirlin", "41111111111111111111"], []),
    ],
    ids=["number", "in a text", "numeric ids", "none"],
)
def test_the_daily_check_reports_card_numbers_in_texts_of_scored_transactions(
    databases: tuple[Settings, Settings], merchants: list[str], found: list[str]
) -> None:
    dsn = databases[0].postgres_dsn
    for number, merchant in enumerate(merchants):
        add_decision(databases[0], "check", number)
        with psycopg.connect(dsn) as connection:
            name = f"check-t{number}"
            connection.execute("UPDATE raw.decisions SET merchant = %s WHERE transaction_id = %s", (merchant, name))
    check = read_sql_files(QUALITY_CHECKS)[CHECK]
    with psycopg.connect(dsn) as connection:
        answer = ask(connection, check, datetime.fromtimestamp(START_MS / 1_000, UTC).date())
        connection.execute("TRUNCATE raw.decisions")
    assert check.severity == "warn"
    assert sorted(row[1] for row in answer.rows) == found
    assert "4111" + "1" * 12 not in str(answer.rows), "the result is stored and printed"


def test_the_command_prints_counts_and_names_what_is_missing(
    old: str, databases: tuple[Settings, Settings], database: Stack
) -> None:
    assert old
    variables = {"STREAMFLOW_POSTGRES_DATABASE": databases[0].postgres_database}

    def command(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "STREAMFLOW_HOME": str(database.home.root), "PYTHONPATH": str(REPO_ROOT)}
        return subprocess.run(
            [sys.executable, "-m", "flink_jobs.cli", "dlq", "mask", *words], env={**environment, **variables, **more},
            cwd=REPO_ROOT, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    trial = command("--dry-run", "--output", "json")
    assert orjson.loads(trial.stdout)["tables"][0] == {
        "table": "raw.dead_letters",
        "looked_at": len(PAYLOADS) + len(CLEAN), "masked": len(PAYLOADS), "left": len(CLEAN),
    }, trial.stderr  # fmt: skip
    done = command("--by", "ann")
    assert done.returncode == 0, done.stderr
    assert "is recorded in ops.masking_log" in done.stdout
    assert NUMBER not in done.stdout + done.stderr
    other = command(STREAMFLOW_POSTGRES_DATABASE="postgres")
    assert other.returncode != 0
    assert "run `streamflow migrate`" in other.stderr
