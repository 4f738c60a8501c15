"""Jobs that people start: the backtest of a proposal."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import RedirectResponse

from api.console.guard import form_of, requires
from api.console.roles import Permission
from api.console.routes.operations import DAYS
from api.console.sessions import Session
from api.errors import ApiError
from api.jobs import store
from api.jobs.store import Kind
from api.reads import Read, add_read
from api.rules.service import Proposals
from api.services import request_id_of, services_of

router = APIRouter()
RuleReader = Annotated[Session, Depends(requires(Permission.RULES_TEST))]
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.post("/rules/proposals/{proposal_id}/what-if")
async def what_if(request: Request, session: RuleReader, proposal_id: Id) -> Response:
    """Start the backtest of a proposal."""
    days = _days((await form_of(request)).get("days", ""))
    database = services_of(request).database
    row = await Proposals(database).get(proposal_id, session.identity.actor, request_id_of(request))
    newest = await store.newest_what_if(database, proposal_id)
    if newest is None or newest["state"] not in {"waiting", "running"}:
        job = {"changes": row["changes"], "days": days}
        await _add(request, session, Kind.WHAT_IF, job, proposal_id)
    return RedirectResponse(f"/console/rules/proposals/{proposal_id}#what-if", 303)


async def _add(
    request: Request, session: Session, kind: Kind, job: dict[str, Any], proposal_id: int | None = None
) -> int:
    actor = session.identity.actor
    async with services_of(request).database.connection() as connection, connection.transaction():
        number = await store.add(connection, kind, job, actor, proposal_id)
        detail = f"{number} {proposal_id}"
        await add_read(connection, Read(actor, f"jobs.{kind.value}", None, request_id_of(request), detail))
    return number


def _days(text: str) -> int:
    if text not in {str(days) for days in DAYS}:
        raise ApiError(422, "invalid_request", "the number of days is missing", "choose a number of days")
    return int(text)
