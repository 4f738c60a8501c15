"""The queue and the case: list, claim, snooze, notes, verdict, undo."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ValidationError

from api.cases.documents import Case, CaseChange, NoteRequest, Order, Status, Verdict, VerdictRequest
from api.cases.store import QueueFilter
from api.cases.viewer import Viewer
from api.console.case_page import case_view
from api.console.guard import form_of, requires
from api.console.pages import page
from api.console.roles import Permission
from api.console.sessions import Session
from api.errors import ApiError
from api.services import request_id_of, services_of

router = APIRouter()
Document = TypeVar("Document", bound=BaseModel)
Reader = Annotated[Session, Depends(requires(Permission.CASES_READ))]
Writer = Annotated[Session, Depends(requires(Permission.CASES_WRITE))]
CaseId = Annotated[int, Path(ge=1, le=2**63 - 1)]
PAGE_ROWS: Final = 50
SNOOZES: Final = {"1": "1 hour", "4": "4 hours", "24": "1 day", "168": "1 week"}
"""Hours to snooze, with their names."""
_LISTS: Final = {"all": "Not closed", "mine": "Mine", "open": "Open", "snoozed": "Snoozed", "closed": "Closed"}


def viewer_of(request: Request, session: Session) -> Viewer:
    """Return the person for the service of the cases."""
    identity = session.identity
    return Viewer(identity.actor, request_id_of(request), sees_customers=identity.may(Permission.CUSTOMERS_READ))


@router.get("/")
async def queue(
    request: Request,
    session: Reader,
    shown: Annotated[str, Query(alias="list")] = "all",
    order: Order = Order.PRIORITY,
    cursor: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """Return the queue."""
    viewer = viewer_of(request, session)
    shown = shown if shown in _LISTS else "all"
    chosen = QueueFilter(
        status=Status(shown) if shown in set(Status) else None,
        assignee=viewer.actor if shown == "mine" else None,
        order=order,
    )
    cases = services_of(request).cases
    found = await cases.queue(viewer, chosen, cursor or None, PAGE_ROWS)
    return page(
        request, "queue", session,
        cases=found.cases, next_cursor=found.next_cursor, lists=_LISTS, shown=shown, order=order, cursor=cursor,
        now=datetime.now(UTC), actor=viewer.actor, is_empty="empty" in request.query_params,
        done=done_of(request), probabilities=await cases.probabilities(found.cases),
    )  # fmt: skip


@router.post("/cases/next")
async def claim_next(request: Request, session: Writer) -> Response:
    """Claim the case with the highest priority and go to it."""
    return await _next(request, session, {})


@router.get("/cases/{case_id}")
async def case(
    request: Request, session: Reader, case_id: CaseId, alert: Annotated[str | None, Query(max_length=200)] = None
) -> Response:
    """Return the page of a case; ``alert`` chooses the decision that it explains."""
    view = await case_view(services_of(request), viewer_of(request, session), case_id, alert)
    return page(request, "case", session, **view, snoozes=SNOOZES, verdicts=list(Verdict), done=done_of(request))


@router.post("/cases/{case_id}/claim")
async def claim(request: Request, session: Writer, case_id: CaseId) -> Response:
    """Claim a case for oneself."""
    change = CaseChange(status=Status.CLAIMED, assignee=session.identity.actor)
    return await _changed(request, session, case_id, change)


@router.post("/cases/{case_id}/release")
async def release(request: Request, session: Writer, case_id: CaseId) -> Response:
    """Return a case to the queue."""
    return await _changed(request, session, case_id, CaseChange(status=Status.OPEN))


@router.post("/cases/{case_id}/snooze")
async def snooze(request: Request, session: Writer, case_id: CaseId) -> Response:
    """Take a case out of the queue for some hours, or until its next alert."""
    hours = (await form_of(request)).get("hours", "")
    if hours not in SNOOZES:
        raise ApiError(422, "invalid_request", "the time to snooze is missing", "choose a time")
    until = datetime.now(UTC) + timedelta(hours=int(hours))
    return await _changed(request, session, case_id, CaseChange(status=Status.SNOOZED, snoozed_until=until))


@router.post("/cases/{case_id}/notes")
async def add_note(request: Request, session: Writer, case_id: CaseId) -> Response:
    """Add a note to a case."""
    note = valid(NoteRequest, {"body": (await form_of(request)).get("body", "")})
    await services_of(request).cases.add_note(viewer_of(request, session), case_id, note.body)
    return RedirectResponse(f"/console/cases/{case_id}#notes", 303)


@router.post("/cases/{case_id}/verdict")
async def give_verdict(request: Request, session: Writer, case_id: CaseId) -> Response:
    """Close a case with a verdict; then show the next case, or the queue. Both offer to undo the verdict."""
    form = await form_of(request)
    asked = valid(VerdictRequest, {"verdict": form.get("verdict", ""), "reason": form.get("reason", "")})
    closed = await services_of(request).cases.give_verdict(viewer_of(request, session), case_id, _version(form), asked)
    done = _done(closed)
    if form.get("then") == "next":
        return await _next(request, session, done)
    return RedirectResponse(f"/console/?{urlencode(done)}", 303)


@router.post("/cases/{case_id}/undo")
async def undo_verdict(request: Request, session: Writer, case_id: CaseId) -> Response:
    """Take a verdict back while its labels are not sent."""
    form = await form_of(request)
    await services_of(request).cases.undo_verdict(viewer_of(request, session), case_id, _version(form))
    return RedirectResponse(f"/console/cases/{case_id}", 303)


def done_of(request: Request) -> dict[str, str] | None:
    """Return the verdict that a person gave just now, from the address of the page; the undo itself is checked."""
    names = ("done", "verdict", "version", "seconds")
    given = {name: request.query_params.get(name, "") for name in names}
    is_complete = all(given[name].isdecimal() for name in ("done", "version", "seconds"))
    return given if is_complete and given["verdict"] in set(Verdict) else None


def _done(closed: Case) -> dict[str, str]:
    left = 0.0 if closed.undo_until is None else (closed.undo_until - datetime.now(UTC)).total_seconds()
    verdict = "" if closed.verdict is None else closed.verdict.value
    return {
        "done": str(closed.case_id),
        "verdict": verdict,
        "version": str(closed.version),
        "seconds": str(max(0, round(left))),
    }


async def _next(request: Request, session: Session, done: dict[str, str]) -> Response:
    found = await services_of(request).cases.claim_next(viewer_of(request, session))
    if found is None:
        return RedirectResponse(f"/console/?{urlencode({**done, 'empty': '1'})}", 303)
    query = f"?{urlencode(done)}" if done else ""
    return RedirectResponse(f"/console/cases/{found.case_id}{query}", 303)


async def _changed(request: Request, session: Session, case_id: int, change: CaseChange) -> Response:
    version = _version(await form_of(request))
    await services_of(request).cases.change(viewer_of(request, session), case_id, version, change)
    return RedirectResponse(f"/console/cases/{case_id}", 303)


def _version(form: dict[str, str]) -> int:
    text = form.get("version", "")
    if not text.isdecimal() or int(text) >= 2**63:
        raise ApiError(422, "invalid_request", "the version of the case is missing", "reload the page and try again")
    return int(text)


def valid(kind: type[Document], values: dict[str, str]) -> Document:
    """Return the document of a form.

    Raises:
        ApiError: a field is not valid (422).
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise ApiError(422, "invalid_request", problems, "go back and correct the form") from None
