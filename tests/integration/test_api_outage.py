"""The API while Postgres does not answer: callers get an error at once, until it answers again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from api.database import Database
from api.errors import ApiError
from api.settings import ApiSettings
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from tests.integration.case_database import own_database
from tests.stalling_proxy import Proxy, Way, proxy_to

pytestmark = pytest.mark.stack
PATIENCE_S = 240
ONE = "SELECT 1 AS one"
OWN = ApiSettings(query_timeout_ms=500)


@pytest.fixture(scope="module")
def settings(database: Stack) -> Iterator[Settings]:
    with own_database(database.settings(), "outage") as own:
        yield own


@contextlib.asynccontextmanager
async def through(proxy: Proxy, settings: Settings) -> AsyncIterator[Database]:
    """Yield a database that is reached through a proxy, after its first answer."""
    reached = settings.model_copy(update={"postgres_host": "127.0.0.1", "postgres_port": proxy.port})
    found = Database(reached.postgres_dsn_as("api"), OWN)
    await found.open()
    try:
        await until_it_answers(found)
        yield found
    finally:
        await found.close()


async def until_it_answers(database: Database) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await database.answers():  # noqa: ASYNC110 - nothing sets an event
            await asyncio.sleep(0.05)


async def refused(database: Database, limit_s: float = float("inf")) -> None:
    """Ask, and check that the answer is the 503 of a database that does not answer."""
    with pytest.raises(ApiError) as caught:
        await database.rows(ONE, {}, limit_s)
    assert (caught.value.status, caught.value.code) == (503, "unavailable")


@pytest.mark.parametrize("limit_s", [0.25, float("inf")])
def test_a_server_that_hangs_is_left_behind_and_used_again_when_it_answers(settings: Settings, limit_s: float) -> None:
    async def outage(proxy: Proxy) -> None:
        async with through(proxy, settings) as database:
            proxy.way = Way.HANG
            async with asyncio.timeout(PATIENCE_S):
                await refused(database, limit_s)
            assert database.is_away
            # A thousand callers of a server that hangs: none of them waits.
            async with asyncio.timeout(PATIENCE_S):
                for _ in range(1_000):
                    await refused(database)
                    with pytest.raises(ApiError):
                        async with database.connection():
                            pass
            proxy.way = Way.PASS_ON
            await until_it_answers(database)
            assert not database.is_away

    with proxy_to(settings.postgres_host, settings.postgres_port) as proxy:
        asyncio.run(outage(proxy))


def test_a_server_that_closes_its_connections_is_used_again_when_it_comes_back(settings: Settings) -> None:
    async def outage(proxy: Proxy) -> None:
        async with through(proxy, settings) as database:
            proxy.way = Way.REFUSE
            async with asyncio.timeout(PATIENCE_S):
                while await database.answers():  # until the proxy has closed the connections
                    pass
            assert database.is_away
            await asyncio.sleep(1.5)  # some attempts to connect fail
            assert database.is_away
            proxy.way = Way.PASS_ON
            await until_it_answers(database)
            assert database.silent_s < PATIENCE_S

    with proxy_to(settings.postgres_host, settings.postgres_port) as proxy:
        asyncio.run(outage(proxy))
