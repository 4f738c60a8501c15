"""Builds the FastAPI application from its services."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI

from api import errors
from api.access import RateLimits
from api.answers import Answers
from api.background import repeat
from api.cases.accounts import Accounts
from api.cases.opening import Opener
from api.cases.outbox_watch import OutboxWatch
from api.cases.relay import KafkaTopic, Relay
from api.cases.service import Cases
from api.cases.webhooks import WebhookSender
from api.console.application import install as install_console
from api.database import Database
from api.deciding import Decider
from api.decisions import Decisions
from api.histories import Histories
from api.identity.oidc import OidcProvider
from api.identity.settings import JwtSettings, OidcSettings
from api.identity.tokens import ServiceTokens
from api.in_force import Watch
from api.jobs.worker import JobWorker
from api.keys import KeyRing
from api.lane import Lane
from api.measures import ApiMetrics
from api.middleware import RequestLimits
from api.model_requests.worker import ModelWorker
from api.rates import Counters
from api.routes import case_accounts, health, reference, score, transactions
from api.routes import cases as case_routes
from api.routes import decisions as decision_routes
from api.rules.sender import ProposalSender, control_topic
from api.services import Services, Worker
from api.settings import ApiSettings
from api.standing import StandingActions
from flink_jobs.metrics import catalogue
from flink_jobs.settings import Settings

if TYPE_CHECKING:
    from api.tracing import Tracing

_LOG: Final = logging.getLogger(__name__)
DELETE_EVERY_S: Final = 3_600.0


def build_services(
    settings: Settings, own: ApiSettings, oidc: OidcSettings | None = None, jwt: JwtSettings | None = None
) -> Services:
    """Return the services of a process; nothing connects before the application starts.

    Raises:
        UserError: a module of own features cannot be used.
    """
    database = Database(settings.postgres_dsn_as("api"), own)
    answers, decisions, metrics = Answers(database), Decisions(database, own), ApiMetrics()
    broker = settings.broker("api")
    histories = Histories(broker, settings.topic_prefix, settings.entities, metrics) if settings.entities else None
    watch = Watch(database, settings, own.refresh_s, own=settings.own_values(), histories=histories)
    tracing = _tracing(settings, metrics)
    lane = Lane(broker, settings.topic_prefix, own.acknowledge_ms, own.reply_partition, tracing)
    url = None if own.redis_url is None else own.redis_url.get_secret_value()
    counters = Counters(metrics, url, own.redis_ca_file)
    labels, actions = [KafkaTopic(broker, settings.topic_prefix, suffix) for suffix in ("labels", "user-actions")]
    workers: tuple[Worker, ...] = (OutboxWatch(database, metrics),)
    if histories is not None:
        workers += (histories,)
    if own.case_work:
        note_round = partial(metrics.note_time, catalogue.CASE_WORK_TIME)
        relay = Relay(database, labels, WebhookSender(), note_round, actions=actions)
        control = control_topic(broker, settings.topic_prefix)
        workers += (Opener(database, own, note_round), relay, ProposalSender(database, control), JobWorker(database))
    if own.model_work:
        workers += (ModelWorker(database),)
    return Services(
        settings=own,
        database=database,
        decisions=decisions,
        answers=answers,
        cases=Cases(database, decisions, own),
        accounts=Accounts(database),
        decider=Decider(
            lane, answers, decisions, watch, standing=StandingActions(database), metrics=metrics, settings=own
        ),
        lane=lane,
        keys=KeyRing(database, own),
        rates=RateLimits(counters, own.rate_per_s, own.address_rate_per_s),
        counters=counters,
        watch=watch,
        metrics=metrics,
        tokens=ServiceTokens(jwt) if jwt is not None and jwt.issuer else None,
        oidc=OidcProvider(database, oidc) if oidc is not None and oidc.issuer else None,
        tracing=tracing,
        workers=workers,
    )


def _tracing(settings: Settings, metrics: ApiMetrics) -> Tracing | None:
    """Return what makes spans, ``None`` where none are exported: OpenTelemetry's packages are then not loaded."""
    target = settings.trace_target()
    if target is None:
        return None
    from api.tracing import Tracing  # noqa: PLC0415 - as above

    return Tracing(target, settings.traces_sample, metrics)


async def _delete_old_answers(services: Services) -> None:
    step = partial(services.answers.delete_old, services.settings.answer_days)
    await repeat(step, DELETE_EVERY_S, _LOG, "old answers were not deleted; the next round tries again")


def create_app(services: Services) -> FastAPI:
    """Return the application; its lifespan opens and closes the services."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.database.open()
        if services.lane is not None:
            services.lane.start()
        running = [asyncio.create_task(services.watch.run()), asyncio.create_task(_delete_old_answers(services))]
        running += [asyncio.create_task(worker.run()) for worker in services.workers]
        try:
            yield
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            if services.lane is not None:
                await asyncio.to_thread(services.lane.stop)
            if services.tracing is not None:
                await asyncio.to_thread(services.tracing.stop)
            await services.counters.close()
            await services.database.close()

    app = FastAPI(
        title="StreamFlow",
        version="1",
        description="Decisions on card transactions while the customer waits. Pages for people are in docs/api.md.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own page loads its scripts from another server
        redoc_url=None,
    )
    app.state.services = services
    errors.install(app)
    for routes in (health, reference, transactions, decision_routes, score, case_routes, case_accounts):
        app.include_router(routes.router)
    install_console(app, services)
    app.add_middleware(RequestLimits, settings=services.settings, metrics=services.metrics, tracing=services.tracing)
    return app
