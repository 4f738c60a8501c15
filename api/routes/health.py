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
    """Return whether Postgres answers: without it, no new key can be verified.

    ``replies`` does not make the API unready: without replies it answers by the fallback policy.
    """
    services = services_of(request)
    postgres = await services.database.answers()
    replies = services.lane is not None and services.lane.is_ready
    health = Health(status="ok" if postgres else "unavailable", postgres=postgres, replies=replies)
    return JSONResponse(health.model_dump(exclude_none=True), 200 if postgres else 503)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Return the metrics for Prometheus."""
    return Response(services_of(request).metrics.text(), media_type="text/plain; version=0.0.4")
