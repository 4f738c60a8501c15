"""The database connection for all readers of history."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from flink_jobs.errors import ErrorCode, UserError

_FIX = "check Postgres with `streamflow status`, and read its log"
Connection = psycopg.Connection[dict[str, Any]]


@contextmanager
def warehouse(dsn: str) -> Iterator[Connection]:
    """Connect for a ``with`` block, which is one transaction: all reads see the same state of the database.

    Raises:
        UserError: the database does not answer, or lacks a table. The message never holds the connection string,
            because the string holds the password.
    """
    try:
        connection = psycopg.connect(dsn, row_factory=dict_row, connect_timeout=5)
    except psycopg.OperationalError:
        raise UserError("Postgres does not answer", _FIX, ErrorCode.POSTGRES_UNREACHABLE) from None
    try:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection:
            yield connection
    except psycopg.OperationalError:
        raise UserError("Postgres ended the connection", _FIX, ErrorCode.POSTGRES_UNREACHABLE) from None
    except psycopg.errors.UndefinedTable as error:
        what = f"the database lacks a table ({str(error).splitlines()[0]})"
        raise UserError(what, "run `streamflow up`: it applies the migrations") from error
