"""``/v1/decisions``: stored decisions. Every read is in the audit before it is answered."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request

from api.access import requires
from api.decisions import Place
from api.documents import DecisionList, DecisionStatus
from api.errors import ApiError, responses
from api.keys import Key, Scope
from api.reads import Read, record_read
from api.routes.identifiers import CustomerQuery, Identifier, OptionalCustomer, TransactionId
from api.services import request_id_of, services_of

router = APIRouter(tags=["decisions"])
Reader = Annotated[Key, Depends(requires(Scope.DECISIONS_READ))]
MOST_LISTED: Final = 200
_BIGINT: Final = 2**63 - 1


@router.get("/v1/decisions", responses=responses())
async def list_decisions(
    request: Request,
    key: Reader,
    customer_id: CustomerQuery,
    cursor: Annotated[Identifier | None, Query(max_length=100, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
) -> DecisionList:
    """Return the decisions of a customer, newest event first."""
    services = services_of(request)
    after = None if cursor is None else _place(cursor)
    detail = f"limit={limit}" + (f" cursor={cursor}" if cursor else "")
    await record_read(services.database, Read(key.actor, "decisions.list", customer_id, request_id_of(request), detail))
    found = await services.decisions.page(customer_id, after, limit)
    more = f"{found[-1].event_time_ms}~{found[-1].transaction_id}" if len(found) == limit else None
    return DecisionList(decisions=found, next_cursor=more)


def _place(cursor: str) -> Place:
    """Return the place that a cursor names."""
    time_ms, separator, transaction = cursor.partition("~")
    if not separator or not time_ms.isascii() or not time_ms.isdigit() or int(time_ms) > _BIGINT:
        raise ApiError(422, "invalid_request", "cursor: not a cursor of this list", "use next_cursor of the last page")
    return Place(int(time_ms), transaction)


@router.get("/v1/decisions/{transaction_id:path}", responses=responses(404, 409))
async def get_decision(
    request: Request, key: Reader, transaction_id: TransactionId, customer_id: OptionalCustomer = None
) -> DecisionStatus:
    """Return the job's decision on a transaction, and the first answer if it was sent through the API."""
    services = services_of(request)
    sent = await services.decisions.sent(transaction_id, customer_id)
    if len(sent) > 1:
        raise ApiError(
            409, "several_customers", "several customers have a transaction with this id", "add ?customer_id="
        )
    customer = customer_id or (sent[0].customer_id if sent else None)
    read = Read(key.actor, "decisions.get", customer, request_id_of(request), transaction_id)
    await record_read(services.database, read)
    decision = None if customer is None else await services.decisions.one(customer, transaction_id)
    first = sent[0].answer if sent else None
    if decision is None and first is None:
        raise ApiError(
            404,
            "decision_not_found",
            "there is no stored decision on this transaction",
            "add ?customer_id=: without it, only transactions that were sent through the API are found; "
            "a new decision is stored after the next checkpoint",
        )
    return DecisionStatus(status="pending" if decision is None else "decided", decision=decision, first_answer=first)
