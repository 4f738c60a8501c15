"""The models, and requests to promote one or to roll back: made by one person, approved by another."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import RedirectResponse

from api.console.declared import own_inputs
from api.console.guard import form_of, requires
from api.console.pages import page
from api.console.roles import Permission
from api.console.routes.operations import DAYS
from api.console.sessions import Session
from api.errors import ApiError
from api.model_requests import store
from api.model_requests.service import STAGES, ModelRequests, state_of
from api.services import request_id_of, services_of

router = APIRouter()
Reader = Annotated[Session, Depends(requires(Permission.RULES_READ))]
Requester = Annotated[Session, Depends(requires(Permission.MODELS_REQUEST))]
RollBacker = Annotated[Session, Depends(requires(Permission.MODELS_ROLL_BACK))]
Approver = Annotated[Session, Depends(requires(Permission.MODELS_APPROVE))]
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
_VERSIONS: Final = """
    SELECT version, kind, stage, created_at, registered_at, metrics, manifest -> 'own_features' AS modules
    FROM ml.model_versions
    ORDER BY registered_at DESC LIMIT 50
"""
_EVENTS: Final = """
    SELECT version, event, from_stage, to_stage, actor, reason, happened_at, details -> 'checks' AS checks
    FROM ml.model_events
    ORDER BY event_id DESC LIMIT 50
"""
_DRIFT: Final = """
    SELECT model_version, checked_at, verdict, rows_seen, window_from, window_until, subject, measure, value, watch_at,
        act_at, level, detail
    FROM ops.model_drift
    WHERE (checked_at, model_version) = (
        SELECT checked_at, model_version FROM ops.model_drift ORDER BY checked_at DESC, model_version LIMIT 1)
    ORDER BY array_position(ARRAY['act', 'watch', 'unknown', 'ok'], level), subject, measure
"""


@router.get("/models")
async def models(request: Request, session: Reader) -> Response:
    """Return the model versions with their stage, requests, the newest check of drift, and what happened."""
    services = services_of(request)
    versions, drift, events = [await services.database.rows(query, {}) for query in (_VERSIONS, _DRIFT, _EVENTS)]
    requests = [{**row, "state": state_of(row)} for row in await store.latest(services.database)]
    return page(
        request, "models", session, config=services.watch.now.config, versions=versions, drift=drift, events=events,
        requests=requests, actor=session.identity.actor, stages=STAGES, days=DAYS,
        own_inputs=own_inputs(versions),
        previous=await store.previous_champion(services.database),
    )  # fmt: skip


@router.post("/models/promotions")
async def promotion(request: Request, session: Requester) -> Response:
    """Request a promotion and go to its page."""
    form = await form_of(request)
    days = form.get("days", "")
    if days not in {str(choice) for choice in DAYS}:
        raise ApiError(422, "invalid_request", "the number of days is missing", "choose a number of days")
    number = await _requests(request).promotion(
        session.identity.actor,
        request_id_of(request),
        form.get("version", ""),
        form.get("stage", ""),
        int(days),
        form.get("reason", ""),
    )
    return _to(number)


@router.post("/models/rollbacks")
async def rollback(request: Request, session: RollBacker) -> Response:
    """Request a rollback, or roll back alone, and go to the page of the request."""
    form = await form_of(request)
    is_urgent = form.get("urgent") == "yes"
    if is_urgent and not session.identity.may(Permission.MODELS_APPROVE):
        raise ApiError(403, "not_allowed", "your roles do not allow a rollback alone", "ask an approver")
    number = await _requests(request).rollback(
        session.identity.actor,
        request_id_of(request),
        form.get("version", ""),
        form.get("reason", ""),
        is_urgent=is_urgent,
    )
    return _to(number)


@router.get("/models/requests/{number}")
async def show(request: Request, session: Reader, number: Id) -> Response:
    """Return a request with the checks of its gate and its steps."""
    row, identity = await _requests(request).get(number), session.identity
    is_own = row["requested_by"] == identity.actor
    may_approve = identity.may(Permission.MODELS_APPROVE) and not is_own
    is_open = row["status"] == "requested"
    return page(
        request, "model_request", session, request_row=row, actor=identity.actor,
        may_decide=is_open and may_approve,
        may_withdraw=is_open and is_own and identity.may(Permission.MODELS_ROLL_BACK),
        may_review=row["is_urgent"] and row["reviewed_by"] is None and may_approve,
    )  # fmt: skip


@router.post("/models/requests/{number}/approve")
async def approve(request: Request, session: Approver, number: Id) -> Response:
    """Approve a request of another person."""
    reason = (await form_of(request)).get("reason", "")
    await _requests(request).approve(session.identity.actor, request_id_of(request), number, reason)
    return _to(number)


@router.post("/models/requests/{number}/refuse")
async def refuse(request: Request, session: Approver, number: Id) -> Response:
    """Refuse a request of another person."""
    reason = (await form_of(request)).get("reason", "")
    await _requests(request).refuse(session.identity.actor, request_id_of(request), number, reason)
    return _to(number)


@router.post("/models/requests/{number}/review")
async def review(request: Request, session: Approver, number: Id) -> Response:
    """Review an urgent rollback of another approver."""
    reason = (await form_of(request)).get("reason", "")
    await _requests(request).review(session.identity.actor, request_id_of(request), number, reason)
    return _to(number)


@router.post("/models/requests/{number}/withdraw")
async def withdraw(request: Request, session: RollBacker, number: Id) -> Response:
    """Take one's own request back."""
    await _requests(request).withdraw(session.identity.actor, request_id_of(request), number)
    return _to(number)


def _requests(request: Request) -> ModelRequests:
    return ModelRequests(services_of(request).database)


def _to(number: int) -> Response:
    return RedirectResponse(f"/console/models/requests/{number}", 303)
