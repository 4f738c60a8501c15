"""The API's connections to Postgres: a pool with limits, and the clock-free helpers that all queries share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from api.errors import unavailable
from api.settings import ApiSettings

Connection = AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]


class Database:
    """Runs the API's queries; a database that does not answer is a 503 of its own."""

    def __init__(self, dsn: str, settings: ApiSettings) -> None:
        """Prepare a pool; nothing connects before ``open``."""
        self._timeout_s = settings.query_timeout_ms / 1_000
        self._pool: Pool = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=settings.pool_size,
            open=False,
            timeout=self._timeout_s,
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
        await self._pool.close(timeout=2)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Yield a connection in autocommit mode.

        Raises:
            ApiError: the database does not answer (503).
        """
        try:
            async with self._pool.connection(timeout=self._timeout_s) as connection:
                yield connection
        except (psycopg.OperationalError, PoolTimeout) as error:
            raise unavailable("Postgres") from error

    async def rows(self, query: str, parameters: Mapping[str, Any]) -> list[DictRow]:
        """Return the rows of a query.

        Raises:
            ApiError: the database does not answer (503).
        """
        async with self.connection() as connection:
            cursor = await connection.execute(query.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []

    async def answers(self) -> bool:
        """Return whether the database answers."""
        try:
            return await self.rows("SELECT 1 AS one", {}) == [{"one": 1}]
        except Exception:  # noqa: BLE001 - any failure means not ready
            return False
