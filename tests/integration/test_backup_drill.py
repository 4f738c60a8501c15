"""The loss of Postgres: back up to an S3 server with the role of the backups, restore on another server, compare.

The owner of the new server is no superuser, as in every cloud. The test logs how long each step takes.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from flink_jobs.errors import UserError
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.warehouse import backups, database
from flink_jobs.warehouse.backup_store import BackupStore, open_backup_store
from tests.integration.decided_cards import archive, decide
from tests.stack_folder import stack_folder

pytestmark = pytest.mark.stack
RESTORED = "restored"
log = logging.getLogger(__name__)


def rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def filled(database: Stack, bucket: str) -> Settings:
    """Return settings of a database with rows in raw, ml and gold, and a bucket for its backups."""
    settings = database.settings().model_copy(update={"backup_store": f"s3://{bucket}/backups"})
    archive(settings.postgres_dsn_as("writer"), decide(300))
    transformer = settings.postgres_dsn_as("transformer")
    rows(transformer, "DROP TABLE IF EXISTS gold.kept; CREATE TABLE gold.kept AS SELECT generate_series(1, 500) AS day")
    registered = """
        INSERT INTO ml.model_versions (version, kind, digest, artifact_uri, manifest, metrics, created_at)
        VALUES ('drill', 'isolation_forest', repeat('a', 64), 's3://x', '{}', '{}', now()) ON CONFLICT DO NOTHING"""
    rows(settings.postgres_dsn_as("models"), registered)
    return settings


@pytest.fixture
def store(filled: Settings) -> Iterator[BackupStore]:
    with open_backup_store(filled) as opened:
        yield opened


@pytest.fixture
def new_server() -> Iterator[Settings]:
    """Yield the owner's settings of an empty database on a server that knows none of our roles."""
    with stack_folder("test") as folder:
        stack, password = Stack(folder / "home"), secrets.token_hex(8)
        try:
            settings = stack.up(["postgres"])
            owner, secret = settings.postgres_user, SecretStr(password)
            admin = {"postgres_user": "admin", "postgres_password": secret, "postgres_database": "postgres"}
            rows(settings.postgres_dsn, f"CREATE ROLE admin SUPERUSER LOGIN PASSWORD '{password}'")
            with psycopg.connect(settings.model_copy(update=admin).postgres_dsn, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {settings.postgres_database} WITH (FORCE)")
                for role in database.ROLES:
                    connection.execute(f"DROP ROLE streamflow_{role}")
                # The owner has the same name as on the lost server, but is no superuser.
                connection.execute(f"ALTER ROLE {owner} RENAME TO first")
                connection.execute(f"CREATE ROLE {owner} LOGIN CREATEROLE CREATEDB PASSWORD '{password}'")
                connection.execute(f"CREATE DATABASE {RESTORED} OWNER {owner}")
            access = {"postgres_password": SecretStr(password), "postgres_database": RESTORED}
            yield settings.model_copy(update=access)
        finally:
            stack.down(wipe=True)


def test_a_lost_server_is_restored_from_the_bucket(filled: Settings, store: BackupStore, new_server: Settings) -> None:
    seconds = {"start": time.monotonic()}
    before = datetime.now(UTC)
    made = backups.back_up(filled, store)
    seconds["backed up"] = time.monotonic()
    assert before - timedelta(seconds=5) < made.point_in_time < datetime.now(UTC) + timedelta(seconds=5)
    assert {f"{made.name}.dump", f"{made.name}.json"} <= set(store.names())
    dsn = filled.postgres_dsn
    rows(dsn, "INSERT INTO ops.incidents (kind, dag_id, what) VALUES ('task_failed', 'drill', 'after the backup')")

    backups.verify(filled, store, made.name)
    seconds["proven"] = time.monotonic()
    assert rows(dsn, f"SELECT verified_at >= taken_at FROM ops.backups WHERE backup_name = '{made.name}'") == [(True,)]  # noqa: S608
    assert rows(dsn, "SELECT datname FROM pg_database WHERE datname LIKE 'scratch%'") == []

    restored = backups.restore_backup(new_server, store, backups.complete_backups(store)[-1])
    seconds["restored"] = time.monotonic()
    assert restored == made
    assert made.tables["gold.kept"].rows == 500
    assert made.tables["raw.decisions"].rows > 250
    with psycopg.connect(new_server.postgres_dsn) as connection:
        found = backups.sum_up(connection)
    changed = {"ops.schema_migrations"}  # equal too, unless the release has newer migrations
    assert {name: item for name, item in found.items() if name not in changed} == {
        name: item for name, item in made.tables.items() if name not in changed
    }
    # Owners, rights and defaults of the roles are back: each part can work, and may do no more than before.
    transformer, analyst = new_server.postgres_dsn_as("transformer"), new_server.postgres_dsn_as("analyst")
    rows(transformer, "INSERT INTO gold.kept VALUES (501); CREATE TABLE gold.later AS SELECT 1 AS one")
    assert rows(analyst, "SELECT one FROM gold.later") == [(1,)]
    assert rows(analyst, "SHOW default_transaction_read_only") == [("on",)]
    archive(new_server.postgres_dsn_as("writer"), decide(310))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(analyst, "SELECT FROM raw.decisions")
    assert rows(analyst, "SELECT has_database_privilege(current_database(), 'TEMPORARY')") == [(False,)]
    with pytest.raises(UserError, match="is not empty"):
        backups.restore_backup(new_server, store, made.name)
    steps = pairwise(seconds.items())
    log.info("drill: %s", ", ".join(f"{name} in {moment - start:.1f} s" for (_, start), (name, moment) in steps))


def test_a_backup_whose_rows_differ_is_not_proven(filled: Settings, store: BackupStore, tmp_path: Path) -> None:
    made = backups.back_up(filled, store)
    damaged = {**made.tables, "raw.labels": backups.TableSum(-1, "0")}
    with pytest.raises(UserError, match=r"does not restore what was dumped \(raw.labels"):
        backups.compare(made.name, damaged, made.tables)
    truncated = tmp_path / "dump"
    with truncated.open("wb") as file:
        store.read(f"{made.name}.dump", file)
    with truncated.open("rb+") as file:
        file.truncate(truncated.stat().st_size // 2)
        file.seek(0)
        store.write(f"{made.name}.dump", file)
    with pytest.raises(UserError, match="pg_restore failed"):
        backups.verify(filled, store, made.name)
    assert rows(filled.postgres_dsn, "SELECT datname FROM pg_database WHERE datname LIKE 'scratch%'") == []
    store.delete(f"{made.name}.json")
    store.delete(f"{made.name}.dump")


def test_a_failed_dump_leaves_no_backup(filled: Settings, store: BackupStore, monkeypatch: pytest.MonkeyPatch) -> None:
    files = store.names()
    login = filled.postgres_login("writer")  # may not read every table
    less = filled.model_copy(update={"postgres_backup_user": login[0], "postgres_backup_password": login[1]})
    with pytest.raises(UserError, match="pg_dump failed"):
        backups.back_up(less, store)
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(UserError, match="pg_dump is not on PATH"):
        backups.back_up(filled, store)
    assert store.names() == files


def test_a_bucket_that_does_not_exist_is_one_error_line(filled: Settings) -> None:
    elsewhere = filled.model_copy(update={"backup_store": "s3://nowhere/backups"})
    with pytest.raises(UserError, match="does not answer or refuses"), open_backup_store(elsewhere) as nowhere:
        nowhere.names()
