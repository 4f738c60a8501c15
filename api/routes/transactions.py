"""``POST /v1/transactions``: the job's decision while the customer waits."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from api.access import requires
from api.deciding import Request as Asked
from api.documents import Answer
from api.errors import ApiError, responses
from api.keys import Key, Scope
from api.middleware import NOTED
from api.services import request_id_of, services_of

router = APIRouter(tags=["transactions"])
Sender = Annotated[Key, Depends(requires(Scope.TRANSACTIONS_WRITE))]
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"type": "object", "title": "contract `transactions` v2"}}},
    }
}


@router.post("/v1/transactions", responses=responses(409), openapi_extra=_BODY)
async def decide(
    request: Request,
    response: Response,
    key: Sender,
    deadline_ms: Annotated[int | None, Query(ge=1, description="longest wait for the job; default: a setting")] = None,
    retry_token: Annotated[str | None, Header(description="from an answer 503 on the same transaction")] = None,
) -> Answer:
    """Send a transaction to the detector and return its decision.

    Without a decision at the deadline, the answer is ``"decided_by": "fallback"``: the transaction is in Kafka, and
    ``GET /v1/decisions/{transaction_id}`` has its decision later. The same transaction sent again gets the first
    answer, with the header ``Idempotent-Replayed``.
    """
    services = services_of(request)
    limit = services.settings.largest_deadline_ms
    if deadline_ms is not None and deadline_ms > limit:
        raise ApiError(422, "invalid_request", f"deadline_ms: must be at most {limit}", "ask for a shorter wait")
    asked = Asked(
        await request.body(),
        key,
        deadline_ms or services.settings.deadline_ms,
        request_id_of(request),
        retry_token,
    )
    answer, is_repeated = await services.decider.answer(asked)
    setattr(request.state, NOTED, {"streamflow.action": answer.action, "streamflow.decided_by": answer.decided_by})
    if is_repeated:
        response.headers["Idempotent-Replayed"] = "true"
    return answer
