"""The raw tables in a real Postgres: upgrade with existing rows, partitions by day, retention and permissions."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flink_jobs.database_logins import DatabaseRole
from flink_jobs.errors import UserError
from flink_jobs.job.archiver.tables import ARCHIVE_OF
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.warehouse import partitions
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.partitions import create_partitions, expire_rows
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.integration.decided_cards import LATER_COLUMNS, DecidedCards, archive, decide, upsert

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("whole_day")]

BEFORE_PARTITIONS = 3
"""Migrations of a database without partitions."""
TABLES = {"decisions": "raw.decisions", "alerts": "raw.alerts", "dlq": "raw.dead_letters"}


@pytest.fixture(scope="module")
def cards() -> DecidedCards:
    return decide(1_000)


def query(dsn: str, text: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(text.encode(), parameters).fetchall()


def raw_rows(dsn: str) -> dict[str, list[Any]]:
    """Return every raw row as JSON, without the columns that later migrations added."""
    return {
        topic: sorted(
            (row[0] for row in query(dsn, f"SELECT to_jsonb(t) - %s::text[] FROM {table} t", [*LATER_COLUMNS[topic]])),  # noqa: S608
            key=lambda row: json.dumps(row, sort_keys=True),
        )
        for topic, table in TABLES.items()
    }


def default_rows(dsn: str, table: str) -> int:
    return int(query(dsn, f"SELECT count(*) FROM partitions.{table}_default")[0][0])  # noqa: S608


def test_an_old_database_keeps_its_rows(fresh_database: Settings, cards: DecidedCards, tmp_path: Path) -> None:
    dsn = fresh_database.postgres_dsn
    for path in sorted(MIGRATIONS.glob("*.sql"))[:BEFORE_PARTITIONS]:
        shutil.copy(path, tmp_path)
    apply_migrations(dsn, tmp_path)
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE VIEW ml.alarming AS SELECT * FROM raw.decisions WHERE is_alert")
        for topic, key in (("decisions", 2), ("alerts", 1), ("dlq", 1)):
            table = ARCHIVE_OF[topic]
            columns = {name: kind for name, kind in table.columns.items() if name not in LATER_COLUMNS[topic]}
            old = replace(table, topic="of an old release", primary_key=table.primary_key[:key], columns=columns)
            upsert(connection, old, getattr(cards, topic))
    before = raw_rows(dsn)
    assert min(map(len, before.values())) > 0

    assert len(apply_migrations(dsn, MIGRATIONS)) == len(list(MIGRATIONS.glob("*.sql"))) - BEFORE_PARTITIONS
    assert raw_rows(dsn) == before
    create_partitions(dsn)
    assert expire_rows(dsn) == []
    assert raw_rows(dsn) == before

    archive(dsn, cards)  # the same messages again find their rows
    assert raw_rows(dsn) == before
    assert len(query(dsn, "SELECT FROM ml.alarming")) == len(cards.alerts) > 0, "a view sees every partition"


def age(dsn: str, table: str, days: int) -> None:
    """Let the rows of a table look as if they had been loaded so many days earlier."""
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE raw.decisions DISABLE TRIGGER note_reload")
        connection.execute("ALTER TABLE raw.dead_letters DISABLE TRIGGER note_reload")
        shift = f"UPDATE raw.{table} SET loaded_at = loaded_at - make_interval(days => %s)"  # noqa: S608 - tests' own
        connection.execute(shift.encode(), (days,))
        connection.execute("ALTER TABLE raw.decisions ENABLE TRIGGER note_reload")
        connection.execute("ALTER TABLE raw.dead_letters ENABLE TRIGGER note_reload")


def today(dsn: str) -> datetime:
    return query(dsn, "SELECT now()")[0][0]  # type: ignore[no-any-return]


def moved_to(day: datetime, cards: DecidedCards, name: str) -> DecidedCards:
    """Return the decisions as other transactions, all at one moment."""
    at = int(day.timestamp() * 1000)
    changed = [
        {**row, "transaction_id": f"{name}-{row['transaction_id']}", "event_time_ms": at} for row in cards.decisions
    ]
    return DecidedCards(decisions=changed)


def test_partitions_are_created_for_the_days_to_come_and_no_row_moves(
    fresh_database: Settings, cards: DecidedCards
) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    absurd = {**cards.decisions[0], "transaction_id": "absurd", "event_time_ms": 253_402_300_799_000}
    archive(dsn, DecidedCards(decisions=[*cards.decisions, absurd]))
    created = {change.partition for change in create_partitions(dsn) if change.table == "raw.decisions"}
    days = [today(dsn) + timedelta(days=number) for number in range(-1, 8)]
    assert created == {day.strftime("decisions_%Y%m%d") for day in days}
    assert create_partitions(dsn) == []
    assert default_rows(dsn, "decisions") == len(cards.decisions) + 1
    archive(dsn, moved_to(today(dsn), cards, "new"))
    assert default_rows(dsn, "decisions") == len(cards.decisions) + 1, "rows of today have a partition"


def test_a_day_that_has_rows_in_default_stays_there(fresh_database: Settings, cards: DecidedCards) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    archive(dsn, moved_to(today(dsn), cards, "new"))
    created = [change.partition for change in create_partitions(dsn) if change.table == "raw.decisions"]
    assert today(dsn).strftime("decisions_%Y%m%d") not in created
    assert len(created) == 8
    assert len(query(dsn, "SELECT FROM raw.decisions")) == len(cards.decisions)


@pytest.mark.parametrize("days", [100, 500])
def test_a_row_is_kept_from_its_loading_whatever_its_event_time(
    fresh_database: Settings, cards: DecidedCards, days: int
) -> None:
    """A history of old events is loaded beside rows of today; the same clock passes for both."""
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    create_partitions(dsn)
    archive(dsn, cards)
    history = moved_to(today(dsn) - timedelta(days=2_000), cards, "history")
    archive(dsn, history)
    archive(dsn, moved_to(today(dsn), cards, "today"))
    assert expire_rows(dsn) == [], "nothing that was loaded a moment ago is deleted"
    letters = len(query(dsn, "SELECT FROM raw.dead_letters"))

    for table in ("decisions", "dead_letters"):
        age(dsn, table, days - 2)
    late = moved_to(today(dsn), DecidedCards(decisions=cards.decisions[:5]), "late")
    archive(dsn, late)
    for table in ("decisions", "dead_letters"):
        age(dsn, table, 2)
    changes = expire_rows(dsn)
    if days < 400:
        assert changes == []
        return
    gone = {change.partition: change.rows for change in changes if change.action != "kept"}
    assert gone == {"decisions_default": 2 * len(cards.decisions)}, "the partition of today holds a young row"
    kept = [change.table for change in changes if change.action == "kept"]
    assert kept == ["raw.dead_letters"], "a table without a young row is left alone"
    assert len(query(dsn, "SELECT FROM raw.dead_letters")) == letters
    log = query(dsn, "SELECT sum(row_count)::bigint, bool_and(loaded_before < now()) FROM ops.retention_log")
    assert log == [(2 * len(cards.decisions), True)]


def test_an_expired_partition_is_dropped_and_recorded(fresh_database: Settings, cards: DecidedCards) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    create_partitions(dsn)
    yesterday = today(dsn) - timedelta(days=1)
    archive(dsn, moved_to(yesterday, cards, "old"))
    age(dsn, "decisions", 401)
    assert [change.action for change in expire_rows(dsn)] == ["kept"], "a wrong clock deletes nothing"
    archive(dsn, moved_to(today(dsn), cards, "new"))
    assert [change.action for change in expire_rows(dsn)] == ["kept"], "also while it loads new rows"
    age(dsn, "decisions", 2)
    with pytest.raises(UserError, match=r"the clock of the database is -2\.0 h from the clock of this machine"):
        expire_rows(dsn, clock=lambda: time.time() + 7_200)
    dropped = [(f"{yesterday:decisions_%Y%m%d}", "dropped", len(cards.decisions))]
    assert [tuple(change[1:]) for change in expire_rows(dsn, is_trial=True)] == dropped
    assert len(query(dsn, "SELECT FROM raw.decisions")) == 2 * len(cards.decisions), "a trial deletes nothing"
    assert [tuple(change[1:]) for change in expire_rows(dsn)] == dropped
    assert len(query(dsn, "SELECT FROM raw.decisions")) == len(cards.decisions)
    log = query(dsn, "SELECT partition_name, action, row_count, first_day_ms, deleted_by FROM ops.retention_log")
    at = int(yesterday.timestamp() * 1000)
    assert log == [(*dropped[0], at, fresh_database.postgres_user)]
    assert expire_rows(dsn) == []


def test_the_role_of_the_tools_counts_and_deletes_rows_that_are_due(
    fresh_database: Settings, cards: DecidedCards
) -> None:
    dsn, transformer = fresh_database.postgres_dsn, fresh_database.postgres_dsn_as("transformer")
    apply_migrations(dsn, MIGRATIONS)
    create_partitions(dsn)
    yesterday = today(dsn) - timedelta(days=1)
    archive(dsn, cards)
    archive(dsn, moved_to(yesterday, cards, "old"))
    age(dsn, "decisions", 401)
    archive(dsn, moved_to(today(dsn), DecidedCards(decisions=cards.decisions[:3]), "new"))
    age(dsn, "decisions", 2)
    due = [
        ("raw.decisions", f"{yesterday:decisions_%Y%m%d}", "dropped", len(cards.decisions)),
        ("raw.decisions", "decisions_default", "emptied", len(cards.decisions)),
    ]
    assert [tuple(change) for change in expire_rows(transformer, is_trial=True)] == due
    assert [tuple(change) for change in expire_rows(transformer)] == due
    assert expire_rows(transformer) == expire_rows(transformer, is_trial=True) == []
    assert len(query(dsn, "SELECT FROM raw.decisions")) == 3


def test_a_reader_does_not_block_the_archive_behind_retention(
    fresh_database: Settings, cards: DecidedCards, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    create_partitions(dsn)
    archive(dsn, moved_to(today(dsn) - timedelta(days=1), cards, "old"))
    age(dsn, "decisions", 401)
    archive(dsn, moved_to(today(dsn), cards, "new"))
    age(dsn, "decisions", 2)
    monkeypatch.setattr(partitions, "ATTEMPTS", 2)
    monkeypatch.setattr(partitions, "PAUSE_S", 0.0)
    with psycopg.connect(dsn) as reader:
        reader.execute("SELECT count(*) FROM raw.decisions")  # the lock stays until the transaction ends
        with pytest.raises(UserError, match=r"another session holds raw\.decisions"):
            expire_rows(dsn)
        archive(dsn, moved_to(today(dsn), DecidedCards(decisions=cards.decisions[:3]), "meanwhile"))
    assert [change.action for change in expire_rows(dsn)] == ["dropped"]


def test_an_equal_row_is_not_written_again_and_a_changed_one_is_new(
    fresh_database: Settings, cards: DecidedCards
) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    one = DecidedCards(decisions=cards.decisions[:1])
    versions = "SELECT xmin::text, loaded_at, score FROM raw.decisions"
    archive(dsn, one)
    first = query(dsn, versions)
    archive(dsn, one)
    assert query(dsn, versions) == first
    archive(dsn, DecidedCards(decisions=[{**cards.decisions[0], "score": 0.25}]))
    ((version, loaded_at, score),) = query(dsn, versions)
    assert version != first[0][0]
    assert loaded_at > first[0][1]
    assert score == 0.25


FORBIDDEN: list[tuple[DatabaseRole, str]] = [
    ("writer", "DELETE FROM raw.decisions"),
    ("writer", "DROP TABLE raw.alerts"),
    ("writer", "SELECT * FROM ops.partition_policy"),
    ("writer", "SELECT ops.create_partition('raw.decisions', current_date)"),
    ("writer", "SELECT ops.delete_expired_rows('raw.decisions', 1)"),
    ("writer", "DELETE FROM ops.superseded_decisions"),
    ("transformer", "DELETE FROM ops.retention_log"),
    ("writer", "CREATE TABLE gold.mine (a int)"),
    ("writer", "CREATE TABLE public.mine (a int)"),
    ("transformer", "INSERT INTO raw.labels (label_id) VALUES ('mine')"),
    ("transformer", "UPDATE raw.decisions SET score = 0"),
    ("transformer", "TRUNCATE raw.alerts"),
    ("transformer", "UPDATE ops.partition_policy SET keep_days = 1"),
    ("transformer", "SELECT * FROM ml.model_versions"),
    ("transformer", "DELETE FROM ops.backups"),
    ("transformer", "CREATE ROLE mine"),
    ("analyst", "SELECT * FROM raw.decisions"),
    ("analyst", "SELECT * FROM raw.dead_letters"),
    ("analyst", "SELECT * FROM ops.control_audit"),
    ("analyst", "SELECT * FROM ops.dead_letter_report"),
    ("analyst", "CREATE TABLE gold.mine (a int)"),
    ("analyst", "CREATE TEMPORARY TABLE mine (a int)"),
    ("models", "UPDATE raw.decisions SET score = 0"),
    ("models", "DELETE FROM ml.model_events"),
    ("models", "SELECT * FROM ops.incidents"),
    ("backup", "INSERT INTO raw.labels (label_id) VALUES ('mine')"),
    ("backup", "DELETE FROM ops.backups"),
    ("backup", "CREATE TABLE gold.mine (a int)"),
    ("backup", "CREATE ROLE mine"),
]


@pytest.mark.parametrize(("role", "statement"), FORBIDDEN, ids=[f"{role}: {text}" for role, text in FORBIDDEN])
def test_a_role_cannot_do_more_than_it_needs(database: Stack, role: DatabaseRole, statement: str) -> None:
    settings = database.settings()
    with psycopg.connect(settings.postgres_dsn_as(role)) as connection:
        assert connection.info.user == f"streamflow_{role}"
        if role == "analyst":  # the setting of the role is a convenience; its privileges are the protection
            connection.execute("SET default_transaction_read_only = off")
            connection.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_a_role_can_do_what_it_is_for(database: Stack, cards: DecidedCards) -> None:
    settings = database.settings()
    dsns = {role: settings.postgres_dsn_as(role) for role in ("writer", "transformer", "analyst")}
    archive(dsns["writer"], cards)
    assert len(query(dsns["transformer"], "SELECT FROM raw.decisions")) >= len(cards.decisions)
    create_partitions(dsns["transformer"])
    assert expire_rows(dsns["transformer"]) == []
    with psycopg.connect(dsns["transformer"], autocommit=True) as connection:
        connection.execute("CREATE TABLE gold.shown AS SELECT 1 AS n")
        try:
            assert query(dsns["analyst"], "SELECT n FROM gold.shown") == [(1,)]
        finally:
            connection.execute("DROP TABLE gold.shown")
