"""Rate limits in a real Redis: replicas count together, and what happens while Redis is away."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import httpx
import pytest
from limits import RateLimitItemPerHour
from pydantic import SecretStr
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from api import rates
from api.console.accounts import add_account
from api.console.roles import Role
from api.errors import ApiError
from api.keys import Scope, create_key
from api.measures import ApiMetrics
from api.rates import RETRY_S, Counters
from api.settings import ApiSettings, load_api_settings
from flink_jobs.local import redis
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.waiting import wait_for
from tests.integration.api_server import client, serving
from tests.integration.console_data import console_database
from tests.stack_folder import stack_folder

pytestmark = pytest.mark.stack
PASSWORD = "correct horse battery"
FAILURES = "streamflow_api_rate_store_failures_total"


@dataclass(frozen=True)
class Site:
    """A database with an account, and the settings of API processes that count in the stack's Redis."""

    settings: Settings
    own: ApiSettings
    key: str


@pytest.fixture(scope="module")
def site(database: Stack) -> Iterator[Site]:
    assert redis.find() is not None, "`make setup` as root installs Redis; else install redis-server"
    database.up(["postgres", "redis"])
    shared = load_api_settings(database.home.root)
    assert shared.redis_url is not None
    with console_database(database.settings()) as settings:
        add_account(settings.postgres_dsn, "ada", [Role.ANALYST], by="test", password=PASSWORD)
        key = create_key(settings.postgres_dsn, "test", list(Scope), created_by="test")
        own = ApiSettings(secure_cookie=False, case_work=False, redis_url=shared.redis_url)
        yield Site(settings, own, key)
    database.stop("redis")


@pytest.fixture(scope="module", autouse=True)
def _a_busy_redis_is_not_away() -> Iterator[None]:
    with patch.object(rates, "TIMEOUT_S", 20.0):
        yield


@contextmanager
def replica(site: Site) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {site.key}"}
    with serving(site.settings, site.own) as url, client(url, headers) as http:
        yield http


def log_in(http: httpx.Client, name: str, password: str) -> int:
    return http.post("/console/login", data={"name": name, "password": password}).status_code


def failures(http: httpx.Client, use: str) -> float:
    lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith(f'{FAILURES}{{use="{use}"}}')]
    return float(lines[0].split()[1])


def kill(database: Stack) -> None:
    """End Redis with SIGKILL."""
    os.kill(database.record.processes["redis"].pid, signal.SIGKILL)
    wait_for(lambda: not database.record.alive("redis"), limit_s=120, what="the end of Redis")


def test_replicas_count_failed_logins_together(site: Site) -> None:
    with replica(site) as one, replica(site) as two:
        assert [log_in(http, "target", "wrong") for http in (one, two, one, two, one)] == [401] * 5
        assert [log_in(http, "target", "wrong") for http in (one, two)] == [429, 429]


def test_replicas_count_the_calls_of_a_key_together(site: Site) -> None:
    url = (site.own.redis_url or SecretStr("")).get_secret_value()
    rate = RateLimitItemPerHour(5)

    async def within() -> list[bool]:
        replicas = Counters(ApiMetrics(), url), Counters(ApiMetrics(), url)
        found = [await replicas[number % 2].hit_open(rate, "key", "a-test") for number in range(7)]
        for counters in replicas:
            await counters.close()
        return found

    assert asyncio.run(within()) == [True] * 5 + [False] * 2


def test_while_redis_is_away_calls_are_answered_logins_are_refused_and_a_metric_says_so(
    database: Stack, site: Site
) -> None:
    with replica(site) as http:
        assert http.get("/v1/decisions", params={"customer_id": "c"}).status_code == 200
        assert log_in(http, "ada", PASSWORD) == 303
        assert (failures(http, "call"), failures(http, "login")) == (0, 0)
        kill(database)
        assert http.get("/v1/decisions", params={"customer_id": "c"}).status_code == 200
        assert log_in(http, "ada", PASSWORD) == 503
        assert failures(http, "call") >= 1
        assert failures(http, "login") >= 1
        database.up(["postgres", "redis"])
        wait_for(lambda: log_in(http, "ada", PASSWORD) == 303, limit_s=120 + RETRY_S, what="a login")


def test_redis_needs_the_password_and_speaks_tls_in_a_secured_stack() -> None:
    with stack_folder("test") as folder:
        stack = Stack(folder / "home")
        try:
            stack.up(["redis"], secure=True)
            own = load_api_settings(stack.home.root)
            assert own.redis_url is not None
            assert own.redis_url.get_secret_value().startswith("rediss://")
            address = own.redis_url.get_secret_value()
            without = address.replace("://:", "://:wrong")
            trusting = Redis.from_url(without, ssl_ca_certs=str(own.redis_ca_file))
            with closing(trusting) as stranger, pytest.raises(AuthenticationError):
                stranger.ping()
            with closing(Redis.from_url(address.replace("rediss", "redis"))) as plain, pytest.raises(RedisError):
                plain.ping()
            rate = RateLimitItemPerHour(1)

            async def within(counters: Counters) -> list[bool]:
                try:
                    return [await counters.hit_closed(rate, "a") for _ in range(2)]
                finally:
                    await counters.close()

            assert asyncio.run(within(Counters(ApiMetrics(), address, own.redis_ca_file))) == [True, False]
            with pytest.raises(ApiError, match="503"):
                asyncio.run(within(Counters(ApiMetrics(), address)))  # the authority is not trusted
        finally:
            stack.down(wipe=True)
