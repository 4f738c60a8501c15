"""Probes and metrics; these routes need no key and show no customer data."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.documents import Health
from api.services import services_of

router = APIRouter(tags=["operations"])


@router.get("/health/live")
async def live() -> Health:
    """Return that the process serves requests; it checks no other part."""
    return Health(status="ok")


@router.get("/health/ready", responses={503: {"model": Health}})
async def ready(request: Request) -> Response:
    """Return whether the API can decide transactions.

    Without Postgres it decides for the keys that it verified before, until their grace ends. Without replies of the job
    it answers by the fallback policy. Without histories only scores without effect miss the model. Unready replicas
    would leave the balancer together, so none of these makes one unready.
    """
    services = services_of(request)
    postgres = await services.database.answers()
    replies = services.lane is not None and services.lane.is_ready
    histories = services.watch.now.histories
    is_able = postgres or services.database.silent_s <= services.settings.key_grace_s
    health = Health(
        status="ok" if postgres else "degraded" if is_able else "unavailable",
        postgres=postgres,
        replies=replies,
        histories=None if histories is None else histories.is_read,
    )
    return JSONResponse(health.model_dump(exclude_none=True), 200 if is_able else 503)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return the metrics for Prometheus."""
    return Response(services_of(request).metrics.text(), media_type="text/plain; version=0.0.4")
