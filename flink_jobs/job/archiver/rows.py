"""Writes messages to a table in batches; a message that Postgres rejects does not affect the others.

This module uses Postgres and no Flink. The archive job writes with it, and a redrive of rows that the archive job
rejected does too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg.pq import TransactionStatus

from flink_jobs.errors import UserError
from flink_jobs.job.archiver.copying import copy_rows, rows_of
from flink_jobs.job.archiver.stored_form import stored_forms
from flink_jobs.job.archiver.tables import ARCHIVES, Archive, upsert_sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ENOUGH_TO_JUDGE: Final = 20
"""Number of rows: if the table rejects so many messages of our own jobs and accepts none, the table is wrong."""
_FEW: Final = 20
"""Number of messages up to which Postgres parses them itself: one statement then costs less than a ``COPY``."""
_LIMIT_OF_THE_PROGRAM: Final = "54"
"""SQLSTATE class of rows too large for an index and JSON nested too deep: row faults, despite OperationalError."""
_KEY_OF: Final = """
    SELECT array_agg(attname::text) FROM pg_index
    JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
    WHERE indisprimary AND indrelid = to_regclass(%s)"""
_MISSING: Final = """
    SELECT name FROM unnest(%s::text[]) AS name
    WHERE NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = name AND NOT attisdropped)"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that its table rejects."""

    index: int
    """Index of the message in the batch."""
    detail: str
    """Why, as text: conditions, columns and constraints, never a value."""


class TableUnfitError(RuntimeError):
    """A table rejects every row: it is not the table of this release, and no message becomes a dead letter."""


def write_messages(connection: psycopg.Connection[Any], archive: Archive, messages: Sequence[str]) -> list[Refusal]:
    """Upsert messages, and return those that the table rejects.

    A batch is one transaction: its rows, converted in Python, are copied and then upserted. A batch that fails because
    of its data, or that holds a message which Python cannot convert, is halved. Postgres parses the last few messages
    itself and decides on each rejected message alone: 1,000 rows with one bad row take about 20 transactions.

    Args:
        connection: in autocommit mode. In a transaction of the caller, Postgres parses all messages.
        archive: the table.
        messages: texts that should be JSON; any text is allowed. Card numbers in them are not stored.

    Raises:
        TableUnfitError: the table rejects all of many messages that only our own jobs write.
        psycopg.Error: a fault that is not about a row: no connection, no such column, no privilege.
    """
    statement, messages = upsert_sql(archive).encode(), stored_forms(archive.topic, messages)
    # A commit empties the temporary table, so the transaction must be our own.
    may_copy = len(messages) > _FEW and connection.info.transaction_status == TransactionStatus.IDLE
    rows = rows_of(archive, messages) if may_copy else []
    refused: list[Refusal] = []
    pending = [(0, len(messages))] if messages else []
    while pending:
        start, end = pending.pop()
        is_copied = may_copy and end - start > _FEW
        try:
            if not is_copied:
                with connection.transaction():
                    connection.execute(statement, (list(messages[start:end]),))
                continue
            if None not in rows[start:end]:
                copy_rows(connection, archive, rows[start:end])
                continue
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.OperationalError) as error:
            if not _is_about_a_row(error):
                raise
            if end - start == 1:
                refused.append(Refusal(start, _why(error)))
                continue
        middle = (start + end) // 2
        pending += [(middle, end), (start, middle)]
    if archive.written_by_us and len(refused) == len(messages) >= _ENOUGH_TO_JUDGE:
        raise TableUnfitError(f"{archive.table} rejects every row, the first as {refused[0].detail}")
    return refused


def _is_about_a_row(error: psycopg.Error) -> bool:
    return not isinstance(error, psycopg.OperationalError) or (error.sqlstate or "").startswith(_LIMIT_OF_THE_PROGRAM)


def _why(error: psycopg.Error) -> str:
    """Return the violated condition. The server's own message may quote the row, which is card data."""
    diagnosis = error.diag
    place = diagnosis.constraint_name or diagnosis.column_name
    condition = type(error).__name__ + (f" (SQLSTATE {error.sqlstate})" if error.sqlstate else "")
    return f"{condition}: {place}" if place else condition


def check_tables(dsn: str) -> None:
    """Check that the database is reachable and has every table as this release writes it.

    Raises:
        UserError: no connection, or a missing table, column, key or privilege.
    """
    try:
        with psycopg.connect(dsn, connect_timeout=10, autocommit=True) as connection:
            problem = next(_problems(connection), None)
            place = f"{connection.info.host}:{connection.info.port}/{connection.info.dbname}"
    except psycopg.OperationalError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise UserError(
            f"the archive job cannot connect to Postgres ({reason})",
            "run `streamflow up`, or set STREAMFLOW_POSTGRES_*",
        ) from None
    if problem is not None:
        raise UserError(
            f"the tables in {place} are not those of this release: {problem}",
            "run `streamflow up`, which applies sql/migrations; stop an archive of an older release first",
        )


def _problems(connection: psycopg.Connection[Any]) -> Iterator[str]:
    for archive in ARCHIVES:
        key = connection.execute(_KEY_OF, (archive.table,)).fetchone()
        if key is None or key[0] is None:
            yield f"there is no table {archive.table} with a primary key"
            continue
        missing = connection.execute(_MISSING, (list(archive.columns), archive.table)).fetchall()
        if missing:
            yield f"{archive.table} has no column {missing[0][0]}"
        if set(key[0]) != set(archive.primary_key):
            yield f"the key of {archive.table} is ({', '.join(key[0])}), not ({', '.join(archive.primary_key)})"
        granted = connection.execute("SELECT has_table_privilege(%s, 'INSERT')", (archive.table,)).fetchone()
        if granted is None or not granted[0]:
            yield f"{connection.info.user} has no INSERT privilege on {archive.table}"
    present = connection.execute("SELECT to_regclass('ops.superseded_decisions')").fetchone()
    if present is None or present[0] is None:
        yield "there is no table ops.superseded_decisions"
    granted = connection.execute("SELECT has_database_privilege(current_database(), 'TEMPORARY')").fetchone()
    if granted is None or not granted[0]:
        yield f"{connection.info.user} has no TEMPORARY privilege on the database"
