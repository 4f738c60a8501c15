"""The connection of commands that change the stored dead letters or their records."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from flink_jobs.errors import ErrorCode, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def connected(dsn: str, lock: int | None, busy: str, *, what: str, fix: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect with autocommit, and exclude every other holder of a lock meanwhile.

    Args:
        dsn: connection string.
        lock: number of the advisory lock; None: exclude nobody.
        busy: the error if another session holds the lock.
        what: the database, for the error if it does not answer.
        fix: what the user then does.

    Raises:
        UserError: the database does not answer, before or in the block, or another session holds the lock.
    """
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=10) as connection:
            if lock is not None:
                row = connection.execute("SELECT pg_try_advisory_lock(%s)", (lock,)).fetchone()
                if row is None or not row[0]:
                    raise UserError(busy, "wait until it has ended")
            yield connection
    except psycopg.OperationalError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{what} does not answer ({reason})", fix, ErrorCode.POSTGRES_UNREACHABLE) from None
