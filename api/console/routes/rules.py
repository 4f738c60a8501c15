"""The rules in force with their precision, and the models; both are read-only."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from api.console.guard import requires
from api.console.pages import page
from api.console.roles import Permission
from api.console.sessions import Session
from api.services import services_of
from flink_jobs.core.rules import RULES

router = APIRouter()
Reader = Annotated[Session, Depends(requires(Permission.RULES_READ))]
CONSIDERED: Final = 2_000
_PRECISION: Final = """
    SELECT reason ->> 'code' AS code, count(*) AS labelled, count(*) FILTER (WHERE label = 'fraud') AS frauds
    FROM (
        SELECT a.reasons, l.label FROM raw.alerts a CROSS JOIN LATERAL (
            SELECT label FROM raw.labels
            WHERE customer_id = a.customer_id AND transaction_id = a.transaction_id
            ORDER BY labelled_at_ms DESC, label_id DESC LIMIT 1) AS l
        ORDER BY a.event_time DESC LIMIT %(limit)s) AS labelled
    CROSS JOIN LATERAL jsonb_array_elements(labelled.reasons) AS reason
    GROUP BY 1
"""
_CHANGES: Final = """
    SELECT applied_at, revision, outcome, issued_by, reason, detail FROM ops.control_audit
    ORDER BY applied_at_ms DESC, revision DESC LIMIT 20
"""
_VERSIONS: Final = """
    SELECT version, kind, stage, created_at, registered_at, metrics FROM ml.model_versions
    ORDER BY registered_at DESC LIMIT 50
"""
_EVENTS: Final = """
    SELECT version, event, from_stage, to_stage, actor, reason, happened_at FROM ml.model_events
    ORDER BY event_id DESC LIMIT 50
"""


@router.get("/rules")
async def rules(request: Request, session: Reader) -> Response:
    """Return the rules in force, their precision on labelled alerts, and the latest changes."""
    services = services_of(request)
    config = services.watch.now.config
    rows = await services.database.rows(_PRECISION, {"limit": CONSIDERED})
    precision = {row["code"]: (row["frauds"], row["labelled"]) for row in rows}
    shown = [
        {
            "rule": rule,
            "setting": config.rules[rule.id],
            "frauds": precision.get(rule.code.value, (0, 0))[0],
            "labelled": precision.get(rule.code.value, (0, 0))[1],
        }
        for rule in RULES
    ]
    changes = await services.database.rows(_CHANGES, {})
    return page(
        request, "rules", session, rules=shown, config=config, changes=changes, considered=CONSIDERED,
        is_read=services.watch.is_read,
    )  # fmt: skip


@router.get("/models")
async def models(request: Request, session: Reader) -> Response:
    """Return the model versions with their stage, and what happened to them."""
    services = services_of(request)
    return page(
        request, "models", session, config=services.watch.now.config,
        versions=await services.database.rows(_VERSIONS, {}), events=await services.database.rows(_EVENTS, {}),
    )  # fmt: skip
