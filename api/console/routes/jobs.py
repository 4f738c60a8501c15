"""Jobs that people start: the backtest of a proposal, and redrives of dead letters."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import RedirectResponse

from api.cases.card_numbers import has_card_number
from api.console.guard import form_of, requires
from api.console.pages import page
from api.console.roles import Permission
from api.console.routes.operations import DAYS
from api.console.sessions import Session
from api.errors import ApiError
from api.jobs import store
from api.jobs.store import Kind
from api.reads import Read, add_read
from api.reasons import LONGEST_REASON
from api.rules.service import Proposals
from api.services import request_id_of, services_of
from flink_jobs.core.reasons import DeadLetterReason

router = APIRouter()
RuleReader = Annotated[Session, Depends(requires(Permission.RULES_TEST))]
Redriver = Annotated[Session, Depends(requires(Permission.DEAD_LETTERS_REDRIVE))]
Id = Annotated[int, Path(ge=1, le=2**63 - 1)]
DAY_MS: Final = 86_400_000


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


@router.post("/dead-letters/redrives")
async def plan(request: Request, session: Redriver) -> Response:
    """Start the dry run of a redrive: dead letters of one reason that were rejected in the last days."""
    form = await form_of(request)
    reason, now_ms = form.get("reason", ""), time.time_ns() // 1_000_000
    if reason not in {item.value for item in DeadLetterReason}:
        raise ApiError(422, "invalid_request", "the reason is unknown", "choose a reason of the table")
    since_ms = now_ms - _days(form.get("days", "")) * DAY_MS
    job = {"reason": reason, "since_ms": since_ms, "until_ms": now_ms}
    return _to(await _add(request, session, Kind.REDRIVE_PLAN, job))


@router.get("/dead-letters/redrives/{job_id}")
async def show(request: Request, session: Redriver, job_id: Id) -> Response:
    """Return a dry run or a redrive, with its progress and result."""
    return page(request, "redrive", session, job=await _job(request, job_id))


@router.post("/dead-letters/redrives/{job_id}/send")
async def send(request: Request, session: Redriver, job_id: Id) -> Response:
    """Send the records of a dry run; records that were redriven since are left out."""
    why = " ".join((await form_of(request)).get("why", "").split())
    if not 0 < len(why) <= LONGEST_REASON or has_card_number(why):
        raise ApiError(
            422,
            "invalid_request",
            "the reason is missing, too long or has a card number",
            "give a reason for the audit",
        )
    planned = await _job(request, job_id)
    if planned["kind"] != Kind.REDRIVE_PLAN or planned["state"] != "done" or not planned["result"]["records"]:
        raise ApiError(409, "nothing_to_send", "this is no dry run with records to send", "start a dry run")
    job = {**planned["request"], "why": why, "plan": job_id}
    return _to(await _add(request, session, Kind.REDRIVE, job))


async def _job(request: Request, job_id: int) -> dict[str, Any]:
    job = await store.get(services_of(request).database, job_id)
    if job is None or job["kind"] == Kind.WHAT_IF:
        raise ApiError(404, "not_found", "there is no such redrive", "see the page of the dead letters")
    return job


async def _add(
    request: Request, session: Session, kind: Kind, job: dict[str, Any], proposal_id: int | None = None
) -> int:
    actor = session.identity.actor
    async with services_of(request).database.connection() as connection, connection.transaction():
        number = await store.add(connection, kind, job, actor, proposal_id)
        detail = f"{number} {job.get('reason') or proposal_id}"
        await add_read(connection, Read(actor, f"jobs.{kind.value}", None, request_id_of(request), detail))
    return number


def _days(text: str) -> int:
    if text not in {str(days) for days in DAYS}:
        raise ApiError(422, "invalid_request", "the number of days is missing", "choose a number of days")
    return int(text)


def _to(job_id: int) -> Response:
    return RedirectResponse(f"/console/dead-letters/redrives/{job_id}", 303)
