"""The raw tables in a real Postgres: upgrade with existing rows, partitions by day, retention and permissions."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flink_jobs.job.archiver.tables import ARCHIVE_OF
from flink_jobs.local.stack import Stack
from flink_jobs.settings import DatabaseRole, Settings
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.partitions import roll_partitions
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.integration.decided_cards import DecidedCards, archive, decide, upsert

pytestmark = pytest.mark.stack

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
    """Return every raw row as JSON, without the column that the partitioning added."""
    return {
        topic: sorted(
            (row[0] for row in query(dsn, f"SELECT to_jsonb(t) - 'received_ms' FROM {table} t")),  # noqa: S608
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
            columns = {name: kind for name, kind in table.columns.items() if name != "received_ms"}
            old = replace(table, primary_key=table.primary_key[:key], columns=columns)
            upsert(connection, old, getattr(cards, topic))
    before = raw_rows(dsn)
    assert min(map(len, before.values())) > 0

    assert len(apply_migrations(dsn, MIGRATIONS)) == len(list(MIGRATIONS.glob("*.sql"))) - BEFORE_PARTITIONS
    assert raw_rows(dsn) == before
    roll_partitions(dsn, date(2026, 1, 2))
    assert raw_rows(dsn) == before
    assert [default_rows(dsn, name) for name in ("decisions", "alerts", "dead_letters")] == [0, 0, 0]

    archive(dsn, cards)  # the same messages again find their rows
    assert raw_rows(dsn) == before
    assert len(query(dsn, "SELECT FROM ml.alarming")) == len(cards.alerts) > 0, "a view sees every partition"


def test_rows_of_the_same_day_share_a_partition_and_absurd_ones_do_not_fail(
    fresh_database: Settings, cards: DecidedCards
) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    absurd = {**cards.decisions[0], "transaction_id": "absurd", "event_time_ms": 253_402_300_799_000}
    archive(dsn, DecidedCards(decisions=[*cards.decisions, absurd]))
    created = {change.partition: change.rows for change in roll_partitions(dsn, date(2026, 1, 2))}
    days: dict[str, int] = {}
    for decision in cards.decisions:
        day = date.fromtimestamp(decision["event_time_ms"] / 1000).strftime("decisions_%Y%m%d")  # noqa: DTZ012 - TZ is UTC
        days[day] = days.get(day, 0) + 1
    assert len(days) > 1
    assert {name: rows for name, rows in created.items() if name.startswith("decisions") and rows} == days
    assert default_rows(dsn, "decisions") == 1
    assert {"decisions_20260101", "decisions_20260104"} <= set(created), "the days to come have theirs"
    assert roll_partitions(dsn, date(2026, 1, 2)) == []


def test_retention_counts_from_the_newest_row(fresh_database: Settings, cards: DecidedCards) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    archive(dsn, cards)
    roll_partitions(dsn, date(2026, 1, 2))
    days = [row[0] for row in query(dsn, "SELECT DISTINCT event_time::date FROM raw.decisions ORDER BY 1")]
    assert len(days) > 1
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE ops.partition_policy SET keep_days = 1 WHERE table_name = 'raw.decisions'")
    dropped = [change for change in roll_partitions(dsn, date(2026, 1, 2)) if change.action == "dropped"]
    left = [row[0] for row in query(dsn, "SELECT DISTINCT event_time::date FROM raw.decisions ORDER BY 1")]
    assert left == days[-2:]
    assert [change.partition for change in dropped] == [day.strftime("decisions_%Y%m%d") for day in days[-3::-1]]
    assert min(change.rows for change in dropped) > 0


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
    ("writer", "SELECT ops.roll_partitions('raw.decisions', current_date)"),
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
    roll_partitions(dsns["transformer"], date(2026, 1, 2))
    with psycopg.connect(dsns["transformer"], autocommit=True) as connection:
        connection.execute("CREATE TABLE gold.shown AS SELECT 1 AS n")
        try:
            assert query(dsns["analyst"], "SELECT n FROM gold.shown") == [(1,)]
        finally:
            connection.execute("DROP TABLE gold.shown")
