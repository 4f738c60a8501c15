"""``/v1/cases``: the queue, one case, its changes, notes and verdict. A change names the version that it changes."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from api.access import requires
from api.cases.documents import (
    Case,
    CaseChange,
    CaseDetail,
    CaseList,
    CaseNote,
    NoteRequest,
    Order,
    Status,
    VerdictRequest,
)
from api.cases.store import QueueFilter
from api.cases.viewer import Viewer
from api.errors import ApiError, responses
from api.keys import Key, Scope
from api.routes.identifiers import Identifier, OptionalCustomer
from api.services import request_id_of, services_of

router = APIRouter(tags=["cases"])
MOST_LISTED: Final = 200
_BIGINT: Final = 2**63 - 1
_VERSION: Final = re.compile(r'"?([0-9]{1,18})"?')
Reader = Annotated[Key, Depends(requires(Scope.CASES_READ))]
Writer = Annotated[Key, Depends(requires(Scope.CASES_WRITE))]
CaseId = Annotated[int, Path(ge=1, le=_BIGINT)]
IfMatch = Annotated[str | None, Header(description='version of the case that you read, such as "3"; required')]
Text = Annotated[Identifier | None, Query(min_length=1, max_length=128)]
_TAGGED: Final[dict[str, Any]] = {"headers": {"ETag": {"schema": {"type": "string"}, "description": "the version"}}}


def viewer_of(request: Request, key: Key) -> Viewer:
    """Return the viewer that a key stands for; a key that reads decisions sees customer ids."""
    return Viewer(key.actor, request_id_of(request), key.teams, Scope.DECISIONS_READ in key.scopes)


def version_of(if_match: str | None) -> int:
    """Return the version that ``If-Match`` names.

    Raises:
        ApiError: the header is missing (428), or is no version of a case (412).
    """
    if if_match is None:
        raise ApiError(428, "version_required", "the header If-Match is missing", "send the version that you read")
    found = _VERSION.fullmatch(if_match.strip())
    if found is None:
        raise ApiError(412, "version_stale", "If-Match is no version of a case", 'send the version, such as "3"')
    return int(found[1])


@router.get("/v1/cases", responses=responses())
async def list_cases(  # noqa: PLR0913 - one parameter per filter
    request: Request,
    key: Reader,
    *,
    status: Annotated[Status | None, Query(description="default: every case that is not closed")] = None,
    team: Text = None,
    assignee: Annotated[Identifier | None, Query(max_length=128, description="`me` is the caller")] = None,
    unassigned: bool = False,
    customer_id: OptionalCustomer = None,
    min_priority: Annotated[float | None, Query(ge=0, le=1e15)] = None,
    overdue: bool = False,
    order: Order = Order.PRIORITY,
    cursor: Annotated[Identifier | None, Query(max_length=100, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
) -> CaseList:
    """Return the cases of the caller's teams, highest expected loss first."""
    viewer = viewer_of(request, key)
    chosen = QueueFilter(
        status=status,
        team=team,
        assignee=viewer.actor if assignee == "me" else assignee,
        is_unassigned=unassigned,
        customer_id=customer_id,
        min_priority=min_priority,
        is_overdue=overdue,
        order=order,
    )
    return await services_of(request).cases.queue(viewer, chosen, cursor, limit)


@router.post("/v1/cases/next", responses={204: {"description": "the queue is empty"}, **responses()})
async def claim_next(request: Request, response: Response, key: Writer) -> Case:
    """Claim the open case with the highest expected loss; two callers never get the same case."""
    case = await services_of(request).cases.claim_next(viewer_of(request, key))
    if case is None:
        return Response(status_code=204)  # type: ignore[return-value]
    return _tagged(response, case)


@router.get("/v1/cases/{case_id}", responses={200: _TAGGED, **responses(404)})
async def get_case(request: Request, response: Response, key: Reader, case_id: CaseId) -> CaseDetail:
    """Return a case with its alerts, their decisions, its events and its notes."""
    detail = await services_of(request).cases.get(viewer_of(request, key), case_id)
    _tagged(response, detail.case)
    return detail


@router.patch("/v1/cases/{case_id}", responses={200: _TAGGED, **responses(404, 409, 412, 428)})
async def change_case(
    request: Request, response: Response, key: Writer, case_id: CaseId, change: CaseChange, if_match: IfMatch = None
) -> Case:
    """Assign, release, snooze, reopen or hand over a case."""
    cases, version = services_of(request).cases, version_of(if_match)
    return _tagged(response, await cases.change(viewer_of(request, key), case_id, version, change))


@router.post("/v1/cases/{case_id}/notes", status_code=201, responses=responses(404))
async def add_note(request: Request, key: Writer, case_id: CaseId, note: NoteRequest) -> CaseNote:
    """Add a note; a text with a card number is refused."""
    return await services_of(request).cases.add_note(viewer_of(request, key), case_id, note.body)


@router.post("/v1/cases/{case_id}/verdict", responses={200: _TAGGED, **responses(404, 409, 412, 428)})
async def give_verdict(
    request: Request,
    response: Response,
    key: Writer,
    case_id: CaseId,
    verdict: VerdictRequest,
    if_match: IfMatch = None,
) -> Case:
    """Close a case; its transactions are labelled after the time to undo."""
    cases, version = services_of(request).cases, version_of(if_match)
    return _tagged(response, await cases.give_verdict(viewer_of(request, key), case_id, version, verdict))


@router.delete("/v1/cases/{case_id}/verdict", responses={200: _TAGGED, **responses(404, 409, 412, 428)})
async def undo_verdict(
    request: Request, response: Response, key: Writer, case_id: CaseId, if_match: IfMatch = None
) -> Case:
    """Take the verdict back while that is possible; the caller has the case again."""
    cases, version = services_of(request).cases, version_of(if_match)
    return _tagged(response, await cases.undo_verdict(viewer_of(request, key), case_id, version))


def _tagged(response: Response, case: Case) -> Case:
    response.headers["ETag"] = f'"{case.version}"'
    return case
