"""The rules in force with their precision, the proposed changes, and the models."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from api.console.guard import requires
from api.console.pages import page
from api.console.roles import Permission
from api.console.routes.proposals import lines_for
from api.console.sessions import Session
from api.rules import store
from api.rules.precision import CONSIDERED, rule_rows
from api.rules.service import state_of
from api.services import services_of

router = APIRouter()
Reader = Annotated[Session, Depends(requires(Permission.RULES_READ))]
_CHANGES: Final = """
    SELECT applied_at, revision, outcome, issued_by, reason, detail FROM ops.control_audit
    ORDER BY applied_at_ms DESC, revision DESC LIMIT 20
"""
_VERSIONS: Final = """
    SELECT version, kind, stage, created_at, registered_at, metrics FROM ml.model_versions
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


@router.get("/rules")
async def rules(request: Request, session: Reader) -> Response:
    """Return the rules in force, their precision on labelled alerts, proposals and the latest changes."""
    services = services_of(request)
    config = services.watch.now.config
    shown = await rule_rows(services.database, config)
    proposals = [
        {**row, "state": state_of(row, config.revision), "lines": lines_for(session, row)}
        for row in await store.latest(services.database)
    ]
    changes = await services.database.rows(_CHANGES, {})
    return page(
        request, "rules", session, rules=shown, config=config, changes=changes, considered=CONSIDERED,
        is_read=services.watch.is_read, proposals=proposals,
    )  # fmt: skip


@router.get("/models")
async def models(request: Request, session: Reader) -> Response:
    """Return the model versions with their stage, the newest check of drift, and what happened to the versions."""
    services = services_of(request)
    versions, drift, events = [await services.database.rows(query, {}) for query in (_VERSIONS, _DRIFT, _EVENTS)]
    return page(
        request, "models", session, config=services.watch.now.config, versions=versions, drift=drift, events=events
    )  # fmt: skip
