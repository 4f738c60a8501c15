"""The API's connections to Postgres: a pool with limits, and a circuit breaker for the time in which it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from api.errors import unavailable
from api.settings import ApiSettings

LOOK_UP_S: Final = 0.25
"""Longest wait of a look-up in the path of a decision: the customer waits for it."""
_PROBE_EVERY_S: Final = 0.25
_GRACE_S: Final = 0.5
"""Postgres ends a query at its own limit; this much later the server itself does not answer."""

Connection = AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]


class Database:
    """Runs the API's queries; a database that does not answer is a 503 of its own.

    The first query that fails or reaches its limit opens a circuit breaker: all queries fail at once, until a probe in
    the background gets an answer.
    """

    def __init__(self, dsn: str, settings: ApiSettings) -> None:
        """Prepare a pool; nothing connects before ``open``."""
        self._timeout_s = settings.query_timeout_ms / 1_000
        self._probe: asyncio.Task[None] | None = None
        self._answered_at = float("-inf")
        self._pool: Pool = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=settings.pool_size,
            open=False,
            timeout=self._timeout_s,
            reconnect_timeout=2 * self._timeout_s,  # the probe asks again; a long back-off would outlast the outage
            kwargs={
                "row_factory": dict_row,
                "autocommit": True,
                "connect_timeout": 3,
                "application_name": "streamflow-api",
                "options": f"-c statement_timeout={settings.query_timeout_ms} -c timezone=UTC",
            },
        )

    async def open(self) -> None:
        """Start connecting in the background: the API starts without its database, too."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close all connections."""
        if self._probe is not None:
            self._probe.cancel()
        await self._pool.close(timeout=2)

    @property
    def is_away(self) -> bool:
        """Whether the last query got no answer, and no probe after it did."""
        return self._probe is not None and not self._probe.done()

    @property
    def silent_s(self) -> float:
        """Seconds since the last answer; infinite before the first."""
        return time.monotonic() - self._answered_at

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Yield a connection in autocommit mode.

        Raises:
            ApiError: the database does not answer (503).
        """
        if self.is_away:
            raise unavailable("Postgres")
        try:
            async with self._pool.connection(timeout=self._timeout_s) as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            self._opened()
            raise unavailable("Postgres") from error

    async def rows(self, query: str, parameters: Mapping[str, Any], limit_s: float = float("inf")) -> list[DictRow]:
        """Return the rows of a query.

        Args:
            query: the SQL.
            parameters: its named parameters.
            limit_s: longest wait in seconds; a longer one than that of all queries changes nothing.

        Raises:
            ApiError: the database does not answer in this time (503).
        """
        task = asyncio.create_task(self._rows(query, parameters))
        try:
            done, _ = await asyncio.wait({task}, timeout=min(limit_s, self._timeout_s + _GRACE_S))
        finally:
            _leave(task)
        if not done:
            self._opened()
            raise unavailable("Postgres")
        return task.result()

    async def answers(self) -> bool:
        """Return whether the database answers."""
        try:
            return await self.rows("SELECT 1 AS one", {}) == [{"one": 1}]
        except Exception:  # noqa: BLE001 - any failure means not ready
            return False

    async def _rows(self, query: str, parameters: Mapping[str, Any]) -> list[DictRow]:
        async with self.connection() as connection:
            cursor = await connection.execute(query.encode(), parameters)
            found = await cursor.fetchall() if cursor.description else []
        self._answered_at = time.monotonic()
        return found

    def _opened(self) -> None:
        """Open the circuit breaker, unless it is open."""
        if not self.is_away:
            self._probe = asyncio.create_task(self._ask_until_it_answers())

    async def _ask_until_it_answers(self) -> None:
        while True:
            task = asyncio.create_task(self._ask())
            done, _ = await asyncio.wait({task}, timeout=2 * LOOK_UP_S)
            if done and task.exception() is None:
                return
            _leave(task)
            await asyncio.sleep(_PROBE_EVERY_S)

    async def _ask(self) -> None:
        async with self._pool.connection(timeout=LOOK_UP_S) as connection:
            await connection.execute("SELECT 1")
        self._answered_at = time.monotonic()


def _leave(task: asyncio.Task[Any]) -> None:
    """Cancel a task without waiting for its end.

    A query that psycopg is asked to cancel ends when the server answers, or seconds later.
    """
    if not task.done():
        task.add_done_callback(lambda left: left.cancelled() or left.exception())
        task.cancel()
