"""Builds the FastAPI application from its services."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI

from api import errors
from api.access import RateLimits
from api.database import Database
from api.decisions import Decisions
from api.in_force import Watch
from api.keys import KeyRing
from api.measures import ApiMetrics
from api.middleware import RequestLimits
from api.routes import decisions, health, score
from api.services import Services
from api.settings import ApiSettings
from flink_jobs.settings import Settings


def build_services(settings: Settings, own: ApiSettings) -> Services:
    """Return the services of a process; nothing connects before the application starts."""
    database = Database(settings.postgres_dsn_as("api"), own)
    return Services(
        settings=own,
        database=database,
        decisions=Decisions(database, own),
        keys=KeyRing(database, own),
        rates=RateLimits(own.rate_per_s),
        watch=Watch(database, settings, own.refresh_s),
        metrics=ApiMetrics(),
    )


def create_app(services: Services) -> FastAPI:
    """Return the application; its lifespan opens and closes the services."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.database.open()
        watching = asyncio.create_task(services.watch.run())
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
            await services.database.close()

    app = FastAPI(
        title="StreamFlow",
        version="1",
        description="Decisions on card transactions while the customer waits. Pages for people are in docs/api.md.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.services = services
    errors.install(app)
    for router in (health.router, decisions.router, score.router):
        app.include_router(router)
    app.add_middleware(RequestLimits, settings=services.settings, metrics=services.metrics)
    return app
