"""The audit of reads of customer data and of changes by people: append-only, each row with the hash of the one before.

``streamflow audit verify`` recomputes the chain. A changed, inserted or deleted row breaks it. Rows deleted at its end
leave a valid shorter chain, so compare the printed head with one that was noted before.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row, tuple_row

from api.database import Database

START: Final = "0" * 64
"""The hash before the first row."""
_LOCK: Final = 0x5F30
"""Key of the advisory lock that gives the rows one order."""
_LAST: Final = "SELECT read_id, row_sha256 FROM api.reads ORDER BY read_id DESC LIMIT 1"
_INSERT: Final = """
    INSERT INTO api.reads (read_id, happened_at_ms, actor, action, customer_id, request_id, detail, previous_sha256,
                           row_sha256)
    VALUES (%(read_id)s, %(happened_at_ms)s, %(actor)s, %(action)s, %(customer_id)s, %(request_id)s, %(detail)s,
            %(previous_sha256)s, %(row_sha256)s)
"""
COMMAND_LINE: Final = "cli"
"""Stands for the request id where a command made a change."""
_HASHED: Final = ("read_id", "happened_at_ms", "actor", "action", "customer_id", "request_id", "detail")


@dataclass(frozen=True, slots=True)
class Read:
    """One read of customer data, or one change by a person."""

    actor: str
    action: str
    customer_id: str | None
    request_id: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ChainReport:
    """The result of a verification."""

    rows: int
    head: str
    """Hash of the last row."""
    problem: str | None = None
    """The first row that does not fit, and why."""


def row_sha256(row: Mapping[str, Any], previous: str) -> str:
    """Return the hash of a row: SHA-256 of the previous hash and the row's fields as JSON."""
    fields = orjson.dumps([row[name] for name in _HASHED])
    return hashlib.sha256(previous.encode() + fields).hexdigest()


async def record_read(database: Database, read: Read) -> None:
    """Add a read to the chain; the caller answers only afterwards.

    Raises:
        ApiError: the database does not answer (503): without its record there is no read.
    """
    async with database.connection() as connection, connection.transaction():
        await add_read(connection, read)


async def add_read(connection: AsyncConnection[DictRow], read: Read) -> None:
    """Add a read, or a change of customer data, to the chain in the caller's transaction.

    Make it the last statement of the transaction: every other one that adds to the chain waits for its commit.
    """
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    last = await (await connection.execute(_LAST)).fetchone()
    await connection.execute(_INSERT, _next_row(read, None if last is None else (last["read_id"], last["row_sha256"])))


def add_change(connection: psycopg.Connection[Any], actor: str, action: str, detail: str) -> None:
    """Add a change that a command makes to the chain, in the transaction of the change.

    Make it the last statement of the transaction, see ``add_read``.

    Args:
        connection: of the owner, or of a role that may add to the chain.
        actor: the user who runs the command; the row has ``cli:`` and this name.
        action: such as ``console.account.disabled``.
        detail: what changed; never a secret.
    """
    append(connection, Read(f"{COMMAND_LINE}:{actor}", action, None, COMMAND_LINE, detail))


def append(connection: psycopg.Connection[Any], read: Read) -> None:
    """Add a row to the chain like ``add_read``, over a connection that waits."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    with connection.cursor(row_factory=tuple_row) as cursor:
        last = cursor.execute(_LAST).fetchone()
    connection.execute(_INSERT, _next_row(read, last))


def _next_row(read: Read, last: tuple[Any, ...] | None) -> dict[str, Any]:
    """Return the row after ``last``, which is the number and the hash of the newest row."""
    number, previous = (0, START) if last is None else last
    row = {
        "read_id": number + 1,
        "happened_at_ms": time.time_ns() // 1_000_000,
        "actor": read.actor,
        "action": read.action,
        "customer_id": read.customer_id,
        "request_id": read.request_id,
        "detail": read.detail,
        "previous_sha256": previous,
    }
    return {**row, "row_sha256": row_sha256(row, previous)}


def verify_chain(rows: Iterable[Mapping[str, Any]], expect: str | None = None) -> ChainReport:
    """Return whether rows, in the order of ``read_id``, form an unbroken chain.

    Args:
        rows: all rows of ``api.reads``.
        expect: the head of an earlier verification, which must be the hash of one of the rows.
    """
    previous, count = START, 0
    is_met = expect in {None, START}
    for row in rows:
        count += 1
        if row["read_id"] != count:
            return ChainReport(count - 1, previous, f"row {count} is missing; the next one is {row['read_id']}")
        if row["previous_sha256"] != previous:
            return ChainReport(count - 1, previous, f"row {count} does not continue row {count - 1}")
        if row["row_sha256"] != row_sha256(row, previous):
            return ChainReport(count - 1, previous, f"row {count} was changed")
        previous = row["row_sha256"]
        is_met = is_met or previous == expect
    if not is_met:
        return ChainReport(count, previous, f"the expected head {expect} is missing: rows at the end were deleted")
    return ChainReport(count, previous)


def verify_reads(dsn: str, expect: str | None = None) -> ChainReport:
    """Verify ``api.reads``; see ``verify_chain``."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection, connection.cursor("reads") as cursor:
        cursor.itersize = 5_000
        cursor.execute("SELECT * FROM api.reads ORDER BY read_id")
        return verify_chain(cursor, expect)
