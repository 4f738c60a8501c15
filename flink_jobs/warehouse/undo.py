"""Undoes migrations, newest first, with ``sql/migrations/undo/NNNN_name.sql``.

Lines at the head of an undo file:

    -- lock: TABLE, ...        tables that nobody may change until the undo is complete
    -- lost: WHAT: SELECT ...  returns the number of rows that the undo would lose; the undo is refused unless it is 0
    -- irreversible: REASON    the migration is never undone, nor is any before it
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg

from flink_jobs.errors import UserError
from flink_jobs.warehouse.migrations import Migration, locked, read_migrations

if TYPE_CHECKING:
    from pathlib import Path

_LOCK: Final = re.compile(r"^-- lock: (.+)$", re.MULTILINE)
_LOST: Final = re.compile(r"^-- lost: ([^:]+): (SELECT .+)$", re.MULTILINE)
_IRREVERSIBLE: Final = re.compile(r"^-- irreversible: (.+)$", re.MULTILINE)
_RESTORE: Final = "restore a backup from before it: `streamflow backup restore`"


@dataclass(frozen=True, slots=True)
class Undo:
    """The undo of one migration.

    Attributes:
        migration: the migration.
        sql: the statements; empty if there are none.
        locks: tables to lock.
        losses: what would be lost, and the query that counts it.
        irreversible: why the migration cannot be undone; empty if it can.
    """

    migration: Migration
    sql: str
    locks: tuple[str, ...]
    losses: tuple[tuple[str, str], ...]
    irreversible: str = ""


def read_undo(migration: Migration, folder: Path) -> Undo:
    """Return the undo of a migration; without a file the migration cannot be undone."""
    path = folder / "undo" / migration.name
    if not path.exists():
        return Undo(migration, "", (), (), "it has no undo")
    text = path.read_text(encoding="utf-8")
    reason = _IRREVERSIBLE.search(text)
    locks = tuple(table.strip() for line in _LOCK.findall(text) for table in line.split(","))
    return Undo(migration, text, locks, tuple(_LOST.findall(text)), reason[1] if reason else "")


def undo_migrations(dsn: str, folder: Path, to: int, *, dry_run: bool = False) -> list[str]:
    """Undo all migrations after ``to``, in one transaction; return the names of their files, newest first.

    Each is recorded in ``ops.schema_migrations`` with the time of the undo. A later ``migrate`` applies it again.

    Args:
        dsn: connection string of the owner.
        folder: the migrations.
        to: version that the database has afterwards.
        dry_run: check only.

    Raises:
        UserError: a migration cannot be undone, rows would be lost, or the SQL fails. Nothing is changed then.
    """
    known = {item.version: item for item in read_migrations(folder)}
    with psycopg.connect(dsn, autocommit=True) as connection, locked(connection) as done:
        newer = sorted((version for version in done if version > to), reverse=True)
        _require_known(newer, known, done, to)
        undos = [read_undo(known[version], folder) for version in newer]
        for item in undos:
            if item.irreversible:
                raise UserError(f"{item.migration.name} cannot be undone: {item.irreversible}", _RESTORE)
        if dry_run:
            _refuse_losses(connection, undos)
        else:
            with connection.transaction():
                _run(connection, undos)
    return [item.migration.name for item in undos]


def _require_known(newer: list[int], known: dict[int, Migration], done: dict[int, str], to: int) -> None:
    if to not in known and to != 0:
        raise UserError(f"there is no migration {to:04d}", f"name one from 0001 to {max(known):04d}")
    for version in newer:
        if version not in known:
            raise UserError(
                f"the database has migration {version:04d}, which this release does not know",
                "run the undo with the release that applied it",
            )
        if known[version].sha256 != done[version]:
            raise UserError(
                f"{known[version].name} was changed after it was applied, so its undo may not fit",
                "run the undo with the release that applied it",
            )


def _refuse_losses(connection: psycopg.Connection[Any], undos: list[Undo]) -> None:
    found = []
    for item in undos:
        for what, query in item.losses:
            row = connection.execute(query.encode()).fetchone()
            if row is not None and row[0]:
                found.append(f"{item.migration.name}: {row[0]:,} {what}")
    if found:
        raise UserError(
            f"the undo would lose rows: {'; '.join(found)}",
            "take a backup, delete these rows yourself if nobody needs them, and run the undo again",
        )


def _run(connection: psycopg.Connection[Any], undos: list[Undo]) -> None:
    """Lock the tables, count what would be lost, and run the statements."""
    connection.execute("SET LOCAL lock_timeout = '30s'")
    name = ""
    try:
        for table in sorted({table for item in undos for table in item.locks}):
            connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        _refuse_losses(connection, undos)
        for item in undos:
            name = item.migration.name
            connection.execute(item.sql.encode())
            connection.execute(
                "UPDATE ops.schema_migrations SET undone_at = now() WHERE version = %s", (item.migration.version,)
            )
    except psycopg.Error as error:
        what = str(error).strip().splitlines()[0]
        raise UserError(
            f"the undo {name} failed, and nothing was changed: {what}", "stop the jobs and the API first"
        ) from error
