"""Partitions by day of the raw tables, and their retention.

``create_partitions`` prepares the days to come and deletes nothing. ``expire_rows`` deletes rows that were loaded more
than ``ops.partition_policy.keep_days`` ago, by the clock of the database, and records each deletion in
``ops.retention_log``. The rules are functions in the database: see ``0009_retention_by_load_time.sql`` and
``0012_expired_partitions.sql`` in ``sql/migrations``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.rows import dict_row

from flink_jobs.errors import UserError

BATCH: Final = 10_000
"""Rows deleted from a DEFAULT partition in one transaction."""
ATTEMPTS: Final = 5
PAUSE_S: Final = 3.0
_DAYS: Final = """
    SELECT table_name, to_char(day, 'YYYYMMDD'), day::date
    FROM ops.partition_policy,
        generate_series((now() AT TIME ZONE 'UTC')::date - 1,
            (now() AT TIME ZONE 'UTC')::date + ahead_days, interval '1 day') AS day
    ORDER BY 1, 2"""
_TABLES: Final = "SELECT table_name, keep_days, ops.retention_cutoff(table_name) FROM ops.partition_policy ORDER BY 1"
_DUE: Final = "SELECT ops.count_expired_rows(%s, %s)"
MAX_CLOCK_DIFFERENCE_S: Final = 3_600.0
"""Difference of two clocks from which one of them is wrong, and nothing is deleted."""


_WITNESS: Final = """
    SELECT EXISTS (SELECT FROM {table} WHERE loaded_at >= %s AND loaded_at < now() - interval '1 day')"""
_IS_DUE: Final = "SELECT EXISTS (SELECT FROM {table} WHERE loaded_at < now() - make_interval(days => %s))"


class PartitionChange(NamedTuple):
    """One change of a raw table's partitions.

    Attributes:
        table: with its schema.
        partition: name of the partition.
        action: ``created``, ``dropped`` (a whole day), ``emptied`` (old rows of a DEFAULT partition), or ``kept``
            (rows are due, but no other row shows that the clock is right; nothing is deleted from the table).
        rows: number of rows deleted.
    """

    table: str
    partition: str
    action: str
    rows: int


def create_partitions(dsn: str) -> list[PartitionChange]:
    """Create the partitions of yesterday, today and the days to come; delete nothing.

    Args:
        dsn: connection string of the transformer or the owner.

    Raises:
        UserError: a table stayed locked by another session.
    """
    created = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for table, day, date in connection.execute(_DAYS).fetchall():
            if _retried(connection, "SELECT ops.create_partition(%s, %s)", table, date):
                created.append(PartitionChange(table, f"{table.partition('.')[2]}_{day}", "created", 0))
    return created


def expire_rows(dsn: str, *, is_trial: bool = False, clock: Callable[[], float] = time.time) -> list[PartitionChange]:
    """Delete the rows that were loaded longer ago than the policy keeps them.

    A table is left alone and reported as ``kept`` unless it has a row younger than its retention that was loaded at
    least a day ago: its feed had stopped, or the clock of the database is wrong. Rows of the last day prove nothing,
    because a wrong clock wrote their load times too.

    Args:
        dsn: connection string of the transformer or the owner.
        is_trial: report what would be deleted, and delete nothing.
        clock: the caller's clock, seconds since the epoch.

    Raises:
        UserError: a table stayed locked by another session, or the clocks of caller and database differ by more than
            an hour; then nothing was deleted.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        difference_s = float(_value(connection, "SELECT extract(epoch FROM clock_timestamp())")) - clock()
        if abs(difference_s) > MAX_CLOCK_DIFFERENCE_S:
            raise UserError(
                f"the clock of the database is {difference_s / 3_600:+,.1f} h from the clock of this machine; nothing "
                "was deleted",
                "correct the wrong clock",
            )
        return list(_expire(connection, is_trial=is_trial))


def read_policies(dsn: str) -> list[dict[str, Any]]:
    """Return for each partitioned table how many days after loading its rows are kept; None: without limit."""
    return _rows(dsn, "SELECT table_name AS table, keep_days FROM ops.partition_policy ORDER BY 1")


def read_retention_log(dsn: str, most: int) -> list[dict[str, Any]]:
    """Return the latest deletions, newest first."""
    statement = """
        SELECT to_char(deleted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS deleted_at, table_name AS table,
            partition_name AS partition, action, row_count AS rows, deleted_by
        FROM ops.retention_log ORDER BY entry_id DESC LIMIT %s"""
    return _rows(dsn, statement, most)


def _rows(dsn: str, statement: str, *parameters: object) -> list[dict[str, Any]]:
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement.encode(), parameters).fetchall()


def _expire(connection: psycopg.Connection[Any], *, is_trial: bool) -> Iterator[PartitionChange]:
    for table, keep_days, cutoff in connection.execute(_TABLES).fetchall():
        default = f"{table.partition('.')[2]}_default"
        if cutoff is None or not _value(connection, _WITNESS.format(table=table), cutoff):
            if keep_days is not None and _value(connection, _IS_DUE.format(table=table), keep_days):
                yield PartitionChange(table, default, "kept", 0)
            continue
        expired = connection.execute("SELECT * FROM ops.expired_partitions(%s)", (table,)).fetchall()
        for (partition,) in expired:
            if is_trial:
                rows = _value(connection, _DUE, table, partition)
            else:
                rows = _retried(connection, "SELECT ops.drop_expired_partition(%s, %s)", table, partition)
            if rows is not None:
                yield PartitionChange(table, partition, "dropped", rows)
        rows = _expire_default(connection, table, default, is_trial=is_trial)
        if rows:
            yield PartitionChange(table, default, "emptied", rows)


def _expire_default(connection: psycopg.Connection[Any], table: str, default: str, *, is_trial: bool) -> int:
    if is_trial:
        return int(_value(connection, _DUE, table, default))
    total = 0
    while deleted := int(_value(connection, "SELECT ops.delete_expired_rows(%s, %s)", table, BATCH)):
        total += deleted
    return total


def _value(connection: psycopg.Connection[Any], statement: str, *parameters: object) -> Any:  # noqa: ANN401
    row = connection.execute(statement.encode(), parameters).fetchone()
    return None if row is None else row[0]


def _retried(connection: psycopg.Connection[Any], statement: str, table: str, detail: object) -> Any:  # noqa: ANN401
    """Return the result of a call that needs a short lock, tried again while another session holds the table."""
    for attempt in range(ATTEMPTS):
        try:
            return _value(connection, statement, table, detail)
        except psycopg.errors.LockNotAvailable:
            if attempt + 1 < ATTEMPTS:
                time.sleep(PAUSE_S)
    raise UserError(
        f"another session holds {table}; its partitions were not changed",
        "try again after the long query has ended (pg_stat_activity lists it)",
    )
