"""An API without a network: services on a database that is a list of answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx
from fastapi import FastAPI
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from api.access import RateLimits
from api.answers import Answers
from api.application import create_app
from api.cases.accounts import Accounts
from api.cases.service import Cases
from api.database import Database
from api.deciding import Decider
from api.decisions import Decisions
from api.errors import unavailable
from api.in_force import InForce, Watch
from api.keys import KeyRing, Scope, digest_of
from api.lane import LostError, Pending
from api.measures import ApiMetrics
from api.rates import Counters
from api.services import Services
from api.settings import ApiSettings
from api.standing import StandingActions
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.models.model import ModelError, ModelFault, TreeModel
from flink_jobs.core.reply_document import ReplyDocument
from flink_jobs.settings import Settings

Setting = float | str | None
KEY = "sfk_0123456789_secret"
TRANSACTION = {
    "transaction_id": "t-1",
    "customer_id": "c-1",
    "amount_minor": 1999,
    "currency": "USD",
    "event_time_ms": 1_700_000_000_000,
    "merchant": "Corner Shop",
}


class Kafka:
    """Keeps what is sent; ``reply`` and ``is_acknowledged`` say what comes back."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, str, str]] = []
        self.reply: dict[str, Any] | None = None
        self.is_acknowledged: bool | None = True
        """``None``: neither acknowledged nor refused."""

    def send(self, payload: bytes, customer_id: str, request_id: str) -> Pending:
        self.sent.append((payload, customer_id, request_id))
        loop = asyncio.get_running_loop()
        pending = Pending(loop.create_future(), loop.create_future())
        if self.is_acknowledged is not None:
            if self.is_acknowledged:
                pending.acknowledged.set_result(None)
            else:
                pending.acknowledged.set_exception(LostError("_MSG_TIMED_OUT"))
        if self.reply is not None:
            loop.call_later(0.01, pending.reply.set_result, cast("ReplyDocument", self.reply))
        self._pending = pending
        return pending

    def forget(self, request_id: str) -> None:
        assert request_id == self.sent[-1][2]
        if self._pending.acknowledged.done():
            self._pending.acknowledged.exception()


class Memory(Database):
    """Answers queries with functions, chosen by a word of the query."""

    def __init__(self) -> None:
        self.is_down = False
        self.kafka = Kafka()
        self.silence_s = float("inf")
        """Seconds since the last answer, while it is down."""
        self.asked: list[tuple[str, Any]] = []
        self.limits: list[float] = []
        """The limit of each query in seconds."""
        self.now = 0.0
        """The time for rate limits in seconds; a test moves it, however long its requests take."""
        self.key: dict[str, Any] = {
            "key_sha256": digest_of(KEY),
            "name": "gateway",
            "scopes": [scope.value for scope in Scope],
            "rate_per_s": None,
            "teams": None,
            "expires_at": None,
            "revoked_at": None,
        }
        self.tables: dict[str, Callable[[Mapping[str, Any]], list[dict[str, Any]]]] = {
            "api.keys WHERE": lambda _: [self.key],
            "INSERT INTO api.answers": lambda new: [
                {"customer_id": customer, "transaction_id": transaction}
                for customer, transaction in zip(new["customers"], new["transactions"], strict=True)
            ],
        }

    @property
    def silent_s(self) -> float:
        return self.silence_s if self.is_down else 0.0

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def rows(self, query: str, parameters: Mapping[str, Any], limit_s: float = float("inf")) -> list[DictRow]:
        self.limits.append(limit_s)
        if self.is_down:
            raise unavailable("Postgres")
        self.asked.append((query, parameters))
        for word, answer in self.tables.items():
            if word in query:
                return answer(parameters)
        return [{"one": 1}] if "AS one" in query else []

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        if self.is_down:
            raise unavailable("Postgres")
        yield cast("AsyncConnection[DictRow]", _Connection(self))


class _Connection:
    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield

    async def execute(self, query: str, parameters: object = None) -> _Connection:
        self._memory.asked.append((query, parameters))
        return self

    async def fetchone(self) -> dict[str, Any] | None:
        return None


def no_model(_settings: Settings, _config: DetectionConfig, _own: object, _histories: object) -> TreeModel:
    """Stand for an installation without a model."""
    raise ModelError(ModelFault.MISSING, "no model in this test")


def services(memory: Memory, **changes: Setting) -> Services:
    settings = ApiSettings.model_validate(changes)
    watch = Watch(memory, cast("Settings", None), 60, no_model)
    watch.now = InForce(DetectionConfig(), None)
    answers, decisions, metrics = Answers(memory), Decisions(memory, settings), ApiMetrics()
    counters = Counters(metrics, clock=lambda: memory.now)
    return Services(
        settings=settings,
        database=memory,
        decisions=decisions,
        answers=answers,
        cases=Cases(memory, decisions, settings),
        accounts=Accounts(memory),
        decider=Decider(
            memory.kafka,
            answers,
            decisions,
            watch,
            standing=StandingActions(memory),
            metrics=metrics,
            settings=settings,
        ),
        lane=None,
        keys=KeyRing(memory, settings),
        rates=RateLimits(counters, settings.rate_per_s, settings.address_rate_per_s),
        counters=counters,
        watch=watch,
        metrics=metrics,
    )


def client(app: FastAPI, key: str | None = KEY) -> httpx.AsyncClient:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers)


def app_of(memory: Memory, **changes: Setting) -> FastAPI:
    return create_app(services(memory, **changes))
