"""The rules in force with their precision, and the proposed changes."""

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
