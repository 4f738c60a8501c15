"""Backups that are proven to restore: a dump with checksums, restored into a scratch database and compared.

A backup holds everything, also gold: gold keeps rows that retention has deleted from raw. It has two files:
``NAME.dump`` for pg_restore, and ``NAME.json`` with the row count and checksum of each table. ``NAME.json`` is written
last: a dump without it is not a complete backup.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from flink_jobs.errors import UserError
from flink_jobs.settings import Settings

SCHEMAS: Final = ("raw", "ops", "ml", "silver", "gold")
"""Schemas whose tables are compared; partitions count as part of their table."""
_TABLES: Final = """
    SELECT nspname, relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND nspname = ANY(%s) ORDER BY 1, 2"""
# The checksum does not depend on the order of rows: it adds up 64 bits of each row's MD5 as exact numbers.
_SUM: Final = """
    SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 16))::bit(64)::bigint::numeric), 0)::text FROM {} AS t"""


class TableSum(NamedTuple):
    """Row count and checksum of a table."""

    rows: int
    checksum: str


def back_up(settings: Settings, folder: Path, now: datetime) -> Path:
    """Dump the database and compute the checksums of its tables from one snapshot; record it in ``ops.backups``.

    Args:
        settings: settings with the login of the owner, who may read every table.
        folder: folder of the backups.
        now: time of the backup, which gives its name.

    Returns:
        The file for pg_restore.

    Raises:
        UserError: pg_dump is not installed, is older than the server, or failed. The unfinished dump is deleted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    dump = folder / f"streamflow-{now:%Y%m%dT%H%M%SZ}.dump"
    unfinished = dump.with_suffix(".unfinished")
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        snapshot = _one(connection.execute("SELECT pg_export_snapshot()"))
        try:
            command = ["pg_dump", "--format=custom", f"--snapshot={snapshot}"]
            _run(settings, settings.postgres_database, *command, f"--file={unfinished}")
            sums = sum_up(connection)
            unfinished.rename(dump)
        finally:
            unfinished.unlink(missing_ok=True)
    dump.with_suffix(".json").write_text(json.dumps({"taken_at": now.isoformat(), "tables": sums}, indent=1))
    rows = sum(item.rows for item in sums.values())
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute(
            """
            INSERT INTO ops.backups (backup_name, taken_at, size_bytes, table_count, row_count)
            VALUES (%s, %s, %s, %s, %s) ON CONFLICT (backup_name) DO UPDATE SET
                taken_at = EXCLUDED.taken_at, size_bytes = EXCLUDED.size_bytes, table_count = EXCLUDED.table_count,
                row_count = EXCLUDED.row_count, verified_at = NULL
            """,
            (dump.stem, now, dump.stat().st_size, len(sums), rows),
        )
    return dump


def verify(settings: Settings, dump: Path) -> dict[str, TableSum]:
    """Restore a backup into a scratch database on the same server, compare every table, and mark it as verified.

    Returns:
        Row count and checksum of each table.

    Raises:
        UserError: the restore failed, or a restored table differs from the dumped one; the message names the tables.
    """
    expected = read_sums(dump)
    with scratch_database(settings) as scratch:
        restore(scratch, dump)
        with psycopg.connect(scratch.postgres_dsn) as connection:
            found = sum_up(connection)
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        details = ", ".join(f"{name}: {expected.get(name)} dumped, {found.get(name)} restored" for name in wrong[:3])
        raise UserError(
            f"{dump} does not restore what was dumped ({details})", "keep the previous backup and take another"
        )
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute("UPDATE ops.backups SET verified_at = now() WHERE backup_name = %s", (dump.stem,))
    return found


def restore(settings: Settings, dump: Path) -> None:
    """Restore a backup into the database of these settings, which must be empty and must have the roles.

    Raises:
        UserError: pg_restore failed.
    """
    _run(settings, settings.postgres_database, "pg_restore", "--exit-on-error", "--single-transaction",
         f"--dbname={settings.postgres_database}", str(dump))  # fmt: skip


def read_sums(dump: Path) -> dict[str, TableSum]:
    """Return the row count and checksum of each table in a backup.

    Raises:
        UserError: the backup is not complete.
    """
    try:
        tables: dict[str, list[Any]] = json.loads(dump.with_suffix(".json").read_text())["tables"]
    except FileNotFoundError:
        raise UserError(
            f"the backup {dump} is not complete: {dump.stem}.json is missing", "take another backup"
        ) from None
    return {name: TableSum(rows, checksum) for name, (rows, checksum) in tables.items()}


def prune(folder: Path, keep: int) -> list[str]:
    """Delete all but the newest ``keep`` backups; return the names of the deleted backups.

    Raises:
        UserError: ``keep`` is below 1.
    """
    if keep < 1:
        raise UserError("the last backup cannot be deleted", "keep 1 or more")
    old = sorted(folder.glob("streamflow-*.dump"))[:-keep]
    for dump in old:
        dump.unlink()
        dump.with_suffix(".json").unlink(missing_ok=True)
    return [dump.stem for dump in old]


def sum_up(connection: psycopg.Connection[Any]) -> dict[str, TableSum]:
    """Return row count and checksum of each table in ``SCHEMAS``, by table name."""
    connection.execute("SET LOCAL timezone = 'UTC'")  # the text of a timestamp, and so its checksum, depends on it
    sums = {}
    for schema, name in connection.execute(_TABLES, (list(SCHEMAS),)).fetchall():
        row = connection.execute(sql.SQL(_SUM).format(sql.Identifier(schema, name))).fetchone()
        sums[f"{schema}.{name}"] = TableSum(*row or (0, "0"))
    return sums


@contextmanager
def scratch_database(settings: Settings) -> Iterator[Settings]:
    """Create an empty database on the same server for a ``with`` block, and yield its settings."""
    name = f"scratch_{secrets.token_hex(4)}"
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    try:
        yield settings.model_copy(update={"postgres_database": name})
    finally:
        with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _run(settings: Settings, database: str, program: str, *arguments: str) -> None:
    path = shutil.which(program)
    if path is None:
        raise UserError(f"{program} is not on PATH", "install the PostgreSQL client of the server's version")
    login = {
        "PGHOST": settings.postgres_host, "PGPORT": str(settings.postgres_port), "PGUSER": settings.postgres_user,
        "PGPASSWORD": settings.postgres_password.get_secret_value(), "PGDATABASE": database,
    }  # fmt: skip
    done = subprocess.run([path, *arguments], env={**os.environ, **login}, capture_output=True, text=True, check=False)
    if done.returncode:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit code {done.returncode}")
        raise UserError(f"{program} failed: {last}", f"check that {program} is not older than the server")


def _one(cursor: psycopg.Cursor[Any]) -> str:
    return str((cursor.fetchone() or ("",))[0])
