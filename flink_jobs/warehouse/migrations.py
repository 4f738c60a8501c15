"""Applies ``sql/migrations/NNNN_name.sql`` in order, each once; ``undo`` is the way back."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from flink_jobs.errors import UserError

_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")
_LOCK = 0x5F10  # any number; every process that migrates uses the same
_TABLE = """
CREATE SCHEMA IF NOT EXISTS ops;
CREATE TABLE IF NOT EXISTS ops.schema_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    undone_at  timestamptz
)
"""
_HAS_UNDONE = "SELECT FROM pg_attribute WHERE attrelid = 'ops.schema_migrations'::regclass AND attname = 'undone_at'"


@dataclass(frozen=True)
class Migration:
    """One migration file."""

    version: int
    name: str
    sql: str

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) of the text: a file must not change after it was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read_migrations(folder: Path) -> list[Migration]:
    """Return the folder's migrations in order.

    Raises:
        UserError: the folder has no migration, a file name has another form, or the numbers are not 1, 2, 3, ...
    """
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if not match:
            raise UserError(f"the name of {path} does not have the form 0001_what_it_does.sql", "rename the file")
        migrations.append(Migration(int(match[1]), path.name, path.read_text(encoding="utf-8")))
    numbers = [migration.version for migration in migrations]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise UserError(
            f"the migrations in {folder} are numbered {numbers}", "number them 0001, 0002, ... without gaps"
        )
    return migrations


@contextmanager
def locked(connection: psycopg.Connection[Any]) -> Iterator[dict[int, str]]:
    """Let one process at a time change the schema; yield the digests of the migrations in force, by version.

    Args:
        connection: of the owner, in autocommit mode. The lock ends with it.
    """
    connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
    connection.execute(_TABLE)
    if connection.execute(_HAS_UNDONE).fetchone() is None:  # a release without undo made the table
        connection.execute("ALTER TABLE ops.schema_migrations ADD COLUMN undone_at timestamptz")
    found = connection.execute("SELECT version, sha256 FROM ops.schema_migrations WHERE undone_at IS NULL")
    yield dict(found.fetchall())


def apply_migrations(dsn: str, folder: Path) -> list[str]:
    """Apply the missing migrations; return the names of the files applied now.

    Each file runs in its own transaction, which also records that the file was applied.

    Raises:
        UserError: a file changed after it was applied, or its SQL fails.
    """
    migrations = read_migrations(folder)
    applied_now: list[str] = []
    with psycopg.connect(dsn, autocommit=True) as connection, locked(connection) as done:
        for migration in migrations:
            if migration.version in done:
                if done[migration.version] != migration.sha256:
                    raise UserError(
                        f"{folder / migration.name} was changed after it was applied to this database",
                        "undo the change and add a new migration, or delete the database with `streamflow down --wipe`",
                    )
                continue
            try:
                with connection.transaction():
                    connection.execute(migration.sql.encode())
                    connection.execute(
                        "INSERT INTO ops.schema_migrations (version, name, sha256) VALUES (%s, %s, %s) ON CONFLICT "
                        "(version) DO UPDATE SET name = excluded.name, sha256 = excluded.sha256, applied_at = now(), "
                        "undone_at = NULL",
                        (migration.version, migration.name, migration.sha256),
                    )
            except psycopg.Error as error:
                raise UserError(
                    f"{folder / migration.name} failed: {str(error).strip().splitlines()[0]}", "fix the SQL"
                ) from error
            applied_now.append(migration.name)
    return applied_now
