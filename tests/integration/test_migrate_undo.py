"""The way back of migrations, on a database with rows: each undo restores the schema and keeps the rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flink_jobs.errors import UserError
from flink_jobs.settings import Settings
from flink_jobs.warehouse.migrations import apply_migrations, read_migrations
from flink_jobs.warehouse.partitions import create_partitions
from flink_jobs.warehouse.paths import MIGRATIONS
from flink_jobs.warehouse.undo import read_undo, undo_migrations

pytestmark = pytest.mark.stack

FLOOR = 9
"""The oldest version to which a database can go back."""
NEWEST = len(read_migrations(MIGRATIONS))

ROWS = """
INSERT INTO raw.decisions (customer_id, transaction_id, schema_version, event_time_ms, processing_time_ms, amount_minor,
    currency, score, rule_score, alpha, threshold, is_alert, features, absent, reasons, model, ruleset_version,
    config_revision, out_of_order_ms, source_topic, source_partition, source_offset)
SELECT 'c' || n, 't' || n, 2, 1704067200000 + n * 3600000, 1704067200000, 100, 'USD', 0.5, 0.5, 0.5, 0.5, false, '{}',
    '[]', '[]', 'm', '1', 0, 0, 'streamflow.transactions', 0, n
FROM generate_series(1, 60) AS n;
INSERT INTO raw.alerts (alert_id, schema_version, transaction_id, customer_id, event_time_ms, processing_time_ms,
    amount_minor, currency, score, rule_score, threshold, reasons, model, ruleset_version, config_revision)
SELECT 'a' || n, 2, 't' || n, 'c' || n, 1704067200000 + n, 1704067200000, 100, 'USD', 0.9, 0.9, 0.5, '[]', 'm', '1', 0
FROM generate_series(1, 5) AS n;
INSERT INTO raw.labels
    (label_id, schema_version, transaction_id, customer_id, label, source, labelled_at_ms, labelled_by)
VALUES ('l1', 1, 't1', 'c1', 'fraud', 'analyst', 1704067200000, 'user:ada');
INSERT INTO ops.redrive_runs (run_id, started_by, reason, selection, positions)
VALUES ('r', 'ada', 'why', '{}', '[]');
INSERT INTO ops.quality_results (check_name, checked_day, severity, violations)
VALUES ('ids', '2024-01-01', 'error', 1);
"""

# Names of columns and not their order: a column that is added again is the last one.
CATALOG = {
    "columns": """
        SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull, attgenerated,
            attidentity, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
        WHERE relnamespace IN ($1) AND attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'v')""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace IN ($1)""",
    "indexes": """
        SELECT schemaname, indexname, indexdef FROM pg_indexes
        WHERE schemaname::regnamespace IN ($1)""",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname::regnamespace IN ($1)",
    "functions": """
        SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace IN ($1)""",
    "triggers": """
        SELECT tgrelid::regclass::text, pg_get_triggerdef(pg_trigger.oid)
        FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace IN ($1) AND NOT tgisinternal""",
    "rights on tables": """
        SELECT pg_class.oid::regclass::text, grantee::regrole::text, privilege_type
        FROM pg_class, aclexplode(relacl) WHERE relnamespace IN ($1) AND grantee <> relowner""",
    "rights on columns": """
        SELECT attrelid::regclass::text, attname, grantee::regrole::text, privilege_type
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid, aclexplode(attacl)
        WHERE relnamespace IN ($1) AND NOT attisdropped""",
    "rights on functions": """
        SELECT pg_proc.oid::regprocedure::text, grantee, privilege_type
        FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
        WHERE pronamespace IN ($1) AND grantee <> proowner""",
    "rights on schemas": """
        SELECT nspname, grantee::regrole::text, privilege_type
        FROM pg_namespace, aclexplode(nspacl) WHERE pg_namespace.oid IN ($1) AND grantee <> nspowner""",
    "default rights": """
        SELECT defaclnamespace::regnamespace::text, defaclobjtype, grantee::regrole::text, privilege_type
        FROM pg_default_acl, aclexplode(defaclacl) WHERE defaclnamespace IN ($1)""",
    "rights on the database": """
        SELECT grantee, privilege_type FROM pg_database, aclexplode(datacl)
        WHERE datname = current_database() AND grantee <> datdba""",
}
Picture = dict[str, list[tuple[Any, ...]]]


def picture(dsn: str) -> Picture:
    """Return the whole schema, and the rows of every table as JSON without null values."""
    with psycopg.connect(dsn) as connection:
        schemas = """SELECT oid FROM pg_namespace
            WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')"""
        found = {
            name: sorted(connection.execute(query.replace("$1", schemas).encode()).fetchall(), key=repr)
            for name, query in CATALOG.items()
        }
        tables = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace IN ($1)".replace(
                "$1", schemas
            ).encode()
        ).fetchall()
        for (table,) in tables:
            if table != "ops.schema_migrations":
                query = f"SELECT jsonb_strip_nulls(to_jsonb(t))::text FROM {table} AS t ORDER BY 1"  # noqa: S608 - ours
                found[f"rows of {table}"] = connection.execute(query.encode()).fetchall()
    return found


def subset(folder: Path, version: int) -> Path:
    """Return a folder with the migrations up to a version."""
    folder.mkdir()
    for item in read_migrations(MIGRATIONS)[:version]:
        shutil.copy(MIGRATIONS / item.name, folder / item.name)
    return folder


def test_every_migration_goes_down_and_up_again_on_a_database_with_rows(
    fresh_database: Settings, tmp_path: Path
) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, subset(tmp_path / "floor", FLOOR))
    with psycopg.connect(dsn) as connection:
        connection.execute(ROWS.encode())
    create_partitions(dsn)
    up = {FLOOR: picture(dsn)}
    for version in range(FLOOR + 1, NEWEST + 1):
        apply_migrations(dsn, subset(tmp_path / f"{version}", version))
        up[version] = picture(dsn)

    for version in range(NEWEST - 1, FLOOR - 1, -1):
        assert len(undo_migrations(dsn, MIGRATIONS, version)) == 1
        differs(picture(dsn), up[version], f"down to {version:04d}")
    with psycopg.connect(dsn) as connection:
        undone = connection.execute("SELECT count(*) FROM ops.schema_migrations WHERE undone_at IS NOT NULL").fetchone()
        assert undone == (NEWEST - FLOOR,)

    assert len(apply_migrations(dsn, MIGRATIONS)) == NEWEST - FLOOR
    differs(picture(dsn), up[NEWEST], "up again")
    assert len(undo_migrations(dsn, MIGRATIONS, FLOOR)) == NEWEST - FLOOR, "all at once"
    differs(picture(dsn), up[FLOOR], "down at once")
    with pytest.raises(
        UserError, match=r"0009_retention_by_load_time.sql cannot be undone: the release before deletes"
    ):
        undo_migrations(dsn, MIGRATIONS, FLOOR - 1)


def differs(found: Picture, expected: Picture, when: str) -> None:
    """Fail with the parts that differ."""
    parts = {
        name: (sorted({*found.get(name, ())} ^ {*expected.get(name, ())}, key=repr)[:4])
        for name in found.keys() | expected.keys()
        if found.get(name) != expected.get(name)
    }
    assert parts == {}, when


PROPOSAL = """
INSERT INTO api.accounts (name, display_name, roles, created_by) VALUES ('ada', 'Ada', '{rules-editor}', 'x');
INSERT INTO api.proposals (changes, before, base_revision, reason, proposed_by)
VALUES ('{}', '{}', 0, 'why', 'user:ada');
"""
CASE = "INSERT INTO cases.cases (customer_id, due_at) VALUES ('c', now())"


@pytest.mark.parametrize(
    ("row", "to", "what"),
    [(PROPOSAL, 17, "0018_proposals.sql: 1 proposals of rules"), (CASE, 14, "0015_cases.sql: 1 cases")],
    ids=["proposal", "case"],
)
def test_an_undo_that_would_lose_rows_is_refused_and_changes_nothing(
    fresh_database: Settings, row: str, to: int, what: str
) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    with psycopg.connect(dsn) as connection:
        connection.execute(row.encode())
    before = picture(dsn)
    for dry_run in (True, False):
        with pytest.raises(UserError, match="the undo would lose rows") as refused:
            undo_migrations(dsn, MIGRATIONS, to, dry_run=dry_run)
        assert what in refused.value.what
    differs(picture(dsn), before, "after the refusal")
    assert undo_migrations(dsn, MIGRATIONS, NEWEST - 1, dry_run=True) == [read_migrations(MIGRATIONS)[-1].name]
    differs(picture(dsn), before, "after a dry run")


def test_every_later_migration_has_an_undo() -> None:
    """A new migration needs ``sql/migrations/undo/NNNN_name.sql``, or there the reason why it has none."""
    migrations = read_migrations(MIGRATIONS)
    names = {item.name for item in migrations if item.version >= FLOOR}
    assert names - {path.name for path in (MIGRATIONS / "undo").iterdir()} == set()
    stuck = [item.version for item in migrations if read_undo(item, MIGRATIONS).irreversible]
    assert stuck == list(range(1, FLOOR + 1))


def test_a_database_of_a_newer_release_and_an_unknown_target_are_refused(
    fresh_database: Settings, tmp_path: Path
) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    older = subset(tmp_path / "older", NEWEST - 1)
    with pytest.raises(UserError, match="which this release does not know"):
        undo_migrations(dsn, older, NEWEST - 2)
    with pytest.raises(UserError, match="there is no migration 0999"):
        undo_migrations(dsn, MIGRATIONS, 999)
    assert undo_migrations(dsn, MIGRATIONS, NEWEST) == []
