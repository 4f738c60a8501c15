"""Backups that are proven to restore: a dump with checksums, restored into a scratch database and compared.

A backup holds everything, also gold: gold keeps rows that retention has deleted from raw. It has two files:
``NAME.dump`` for pg_restore, and ``NAME.json`` with its point in time and the row count and checksum of each table.
``NAME.json`` is written last: a dump without it is not a complete backup. All functions log in as the role ``backup``,
except ``restore_backup``, which needs the owner.
"""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from flink_jobs.errors import UserError
from flink_jobs.settings import Settings
from flink_jobs.warehouse import database
from flink_jobs.warehouse.backup_programs import dump_to, restore_from
from flink_jobs.warehouse.backup_store import BackupStore

SCHEMAS: Final = ("raw", "ops", "ml", "api", "cases", "silver", "gold")
"""Schemas whose tables are compared; partitions count as part of their table."""
KEEP_DAYS: Final = 30
_NAME: Final = "streamflow-%Y%m%dT%H%M%SZ"
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


class Backup(NamedTuple):
    """The content of ``NAME.json``.

    Attributes:
        name: name of both files without their endings.
        point_in_time: the database's clock when the snapshot was taken: a restore returns to this time.
        size_bytes: size of the dump.
        tables: row count and checksum by table.
    """

    name: str
    point_in_time: datetime
    size_bytes: int
    tables: dict[str, TableSum]


def as_backup_role(settings: Settings) -> Settings:
    """Return the settings with the login of the role ``backup`` as the user."""
    user, password = settings.postgres_login("backup")
    return settings.model_copy(update={"postgres_user": user, "postgres_password": password})


def back_up(settings: Settings, store: BackupStore) -> Backup:
    """Dump the database and compute the checksums of its tables from one snapshot; record it in ``ops.backups``.

    Raises:
        UserError: pg_dump is not installed, is older than the server, or failed. The unfinished dump is deleted.
    """
    login = as_backup_role(settings)
    with psycopg.connect(login.postgres_dsn) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        snapshot, moment = connection.execute("SELECT pg_export_snapshot(), statement_timestamp()").fetchone() or (
            "",
            None,
        )
        assert isinstance(moment, datetime)  # noqa: S101 - a query without FROM returns one row
        name = f"{moment.astimezone(UTC):{_NAME}}"
        size = dump_to(login, snapshot, store, f"{name}.dump")
        made = Backup(name, moment.astimezone(UTC), size, sum_up(connection))
    document = {**made._asdict(), "point_in_time": made.point_in_time.isoformat()}
    store.write(f"{name}.json", io.BytesIO(json.dumps(document, indent=1).encode()))
    with psycopg.connect(login.postgres_dsn) as connection:
        connection.execute(
            """
            INSERT INTO ops.backups (backup_name, taken_at, size_bytes, table_count, row_count)
            VALUES (%s, %s, %s, %s, %s) ON CONFLICT (backup_name) DO UPDATE SET
                taken_at = EXCLUDED.taken_at, size_bytes = EXCLUDED.size_bytes, table_count = EXCLUDED.table_count,
                row_count = EXCLUDED.row_count, verified_at = NULL
            """,
            (name, moment, size, len(made.tables), sum(item.rows for item in made.tables.values())),
        )
    return made


def verify(settings: Settings, store: BackupStore, name: str) -> dict[str, TableSum]:
    """Restore a backup from the store into a scratch database, compare every table, and mark the backup as verified.

    Returns:
        Row count and checksum of each table.

    Raises:
        UserError: the restore failed, or a restored table differs from the dumped one; the message names the tables.
    """
    expected, login = read_backup(store, name).tables, as_backup_role(settings)
    with scratch_database(login) as scratch:
        # The role owns neither the roles nor their rights; `restore_backup` restores those too.
        restore_from(scratch, store, f"{name}.dump", "--no-owner", "--no-privileges")
        with psycopg.connect(scratch.postgres_dsn) as connection:
            found = sum_up(connection)
    compare(f"{store.place}/{name}", expected, found)
    with psycopg.connect(login.postgres_dsn) as connection:
        connection.execute("UPDATE ops.backups SET verified_at = now() WHERE backup_name = %s", (name,))
    return found


def restore_backup(settings: Settings, store: BackupStore, name: str) -> Backup:
    """Restore a backup into the empty database of the settings, with its owners and rights, and compare every table.

    Roles that are missing on the server are created, passwords are set, and newer migrations are applied.

    Raises:
        UserError: the database is not empty, or the restore failed or differs from the dump.
    """
    backup = read_backup(store, name)
    with psycopg.connect(settings.postgres_dsn) as connection:
        if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = ANY(%s)", (list(SCHEMAS),)).fetchone():
            raise UserError(
                f"the database {settings.postgres_database} is not empty",
                "create an empty database and name it with STREAMFLOW_POSTGRES_DATABASE; nothing was changed",
            )
    database.make_roles(settings)
    restore_from(settings, store, f"{name}.dump")
    with psycopg.connect(settings.postgres_dsn) as connection:
        compare(f"{store.place}/{name}", backup.tables, sum_up(connection))
    database.migrate(settings)
    return backup


def compare(place: str, expected: dict[str, TableSum], found: dict[str, TableSum]) -> None:
    """Check that the restored tables are the dumped ones.

    Tables of a schema of which the backup has no checksum are not compared: an older release summed up fewer schemas.

    Raises:
        UserError: a table differs; the message names the first three.
    """
    summed = {name.partition(".")[0] for name in expected}
    found = {name: table for name, table in found.items() if name.partition(".")[0] in summed}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        details = ", ".join(f"{name}: {expected.get(name)} dumped, {found.get(name)} restored" for name in wrong[:3])
        raise UserError(
            f"{place} does not restore what was dumped ({details})", "keep the previous backup and take another"
        )


def read_backup(store: BackupStore, name: str) -> Backup:
    """Return point in time, size, row counts and checksums of a backup.

    Raises:
        UserError: the backup is not complete.
    """
    text = io.BytesIO()
    try:
        store.read(f"{name}.json", text)
    except FileNotFoundError:
        raise UserError(
            f"the backup {store.place}/{name} is not complete: {name}.json is missing", "take another backup"
        ) from None
    found: dict[str, Any] = json.loads(text.getvalue())
    tables = {table: TableSum(rows, checksum) for table, (rows, checksum) in found["tables"].items()}
    return Backup(name, datetime.fromisoformat(found["point_in_time"]), found["size_bytes"], tables)


def complete_backups(store: BackupStore) -> list[str]:
    """Return the names of the complete backups, the oldest first."""
    files = set(store.names())
    return sorted(name for file in files if (name := file.removesuffix(".json")) != file and f"{name}.dump" in files)


def prune(store: BackupStore, now: datetime, keep_days: int = KEEP_DAYS) -> list[str]:
    """Delete backups that are older than ``keep_days``, but never the newest; return the names of deleted backups.

    A dump without its ``.json`` is deleted after a day.

    Raises:
        UserError: ``keep_days`` is below 1.
    """
    if keep_days < 1:
        raise UserError("backups cannot be kept for less than a day", "keep 1 or more days")
    complete, deleted = complete_backups(store), list[str]()
    for file in store.names():
        name, _, ending = file.rpartition(".")
        if ending != "dump" or not name.startswith("streamflow-"):
            continue
        age = now - datetime.strptime(name, _NAME).replace(tzinfo=UTC)
        is_old = age > timedelta(days=keep_days if name in complete else 1)
        if is_old and name not in complete[-1:]:
            store.delete(f"{name}.json")  # first: a backup without it is not complete
            store.delete(f"{name}.dump")
            deleted.append(name)
    return deleted


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
