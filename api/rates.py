"""Counts requests and failed logins: in Redis for all replicas, or in the memory of this process.

While Redis does not answer, calls of programs are counted in memory (fail open), and logins are refused (fail closed):
a decision must not wait for a counter, and guessing passwords must not become cheaper.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter, RateLimiter
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

from api.errors import unavailable
from api.windows import MovingWindows
from flink_jobs.metrics import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable

    from limits import RateLimitItem

    from api.measures import ApiMetrics

TIMEOUT_S: Final = 0.25
RETRY_S: Final = 1.0
"""After a failure Redis is left alone for this time, so that requests do not wait for it one after another."""


class Counters:
    """The counters of one process. Windows move, so a burst at the edge of two windows counts whole."""

    def __init__(
        self,
        metrics: ApiMetrics,
        redis_url: str | None = None,
        ca_file: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use a Redis server, or the memory of this process; nothing connects before the first request."""
        self._metrics = metrics
        self._clock = clock
        self._memory = MovingWindows(clock)
        self._shared: RateLimiter | None = None
        self._pool: ConnectionPool | None = None
        self._away_until = float("-inf")
        if redis_url is not None:
            options: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
            if ca_file is not None:
                options["ssl_ca_certs"] = str(ca_file)
            self._pool = ConnectionPool.from_url(redis_url, **options)
            pool: Any = self._pool  # limits declares its options as plain values
            storage = RedisStorage(redis_url, implementation="redispy", key_prefix="streamflow", connection_pool=pool)
            self._shared = MovingWindowRateLimiter(storage)

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._pool is not None:
            await self._pool.disconnect()

    async def hit_open(self, rate: RateLimitItem, *name: str) -> bool:
        """Count a call; return whether it is within the rate. Without Redis it is counted in memory."""
        return await self._open("hit", rate, name)

    async def test_open(self, rate: RateLimitItem, *name: str) -> bool:
        """Return whether a further call would be within the rate. Without Redis the memory answers."""
        return await self._open("test", rate, name)

    async def hit_closed(self, rate: RateLimitItem, *name: str) -> bool:
        """Count a login.

        Raises:
            ApiError: Redis does not answer (503).
        """
        return await self._closed("hit", rate, name)

    async def test_closed(self, rate: RateLimitItem, *name: str) -> bool:
        """Return whether a further login would be within the rate.

        Raises:
            ApiError: Redis does not answer (503).
        """
        return await self._closed("test", rate, name)

    async def _open(self, action: str, rate: RateLimitItem, name: tuple[str, ...]) -> bool:
        found = await self._ask(action, rate, name, "call")
        return self._in_memory(action, rate, name) if found is None else found

    async def _closed(self, action: str, rate: RateLimitItem, name: tuple[str, ...]) -> bool:
        if self._shared is None:
            return self._in_memory(action, rate, name)
        found = await self._ask(action, rate, name, "login")
        if found is None:
            raise unavailable("the store of rate limits")
        return found

    def _in_memory(self, action: str, rate: RateLimitItem, name: tuple[str, ...]) -> bool:
        count = self._memory.hit if action == "hit" else self._memory.test
        return count(rate, *name)

    async def _ask(self, action: str, rate: RateLimitItem, name: tuple[str, ...], use: str) -> bool | None:
        """Return the answer of Redis; ``None`` without Redis, or while it does not answer."""
        if self._shared is None:
            return None
        if self._clock() >= self._away_until:
            try:
                async with asyncio.timeout(2 * TIMEOUT_S):
                    return await _run(self._shared, action, rate, name)
            except (RedisError, OSError, TimeoutError):
                self._away_until = self._clock() + RETRY_S
        self._metrics.count(catalogue.API_RATE_STORE_FAILURES, use)
        return None


async def _run(limiter: RateLimiter, action: str, rate: RateLimitItem, name: tuple[str, ...]) -> bool:
    call = limiter.hit if action == "hit" else limiter.test
    return await call(rate, *name)
