"""``POST /v1/score``: what would the detector say? Nothing is written, apart from the audit of a read."""

from __future__ import annotations

import time
from typing import Annotated

import orjson
from fastapi import APIRouter, Depends, Request

from api import what_if
from api.access import requires
from api.deciding import rejected
from api.decisions import reasons_of
from api.documents import ScoreAnswer, ScoreRequest
from api.errors import ApiError, responses
from api.keys import Key, Scope
from api.policy import action_of
from api.reads import Read, record_read
from api.services import Services, request_id_of, services_of
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.transaction import Rejection, Transaction
from flink_jobs.metrics import catalogue

router = APIRouter(tags=["score"])
Scorer = Annotated[Key, Depends(requires(Scope.SCORE))]


@router.post("/v1/score", responses=responses())
async def score(request: Request, key: Scorer, body: ScoreRequest) -> ScoreAnswer:
    """Score a transaction without effect, under the configuration and the champion in force.

    Stored decisions as history need the scope ``decisions:read`` too. Shadow models and experiments are left out.
    """
    services = services_of(request)
    payload, now_ms = _encoded(body), time.time_ns() // 1_000_000
    transaction = parse_transaction(payload, now_ms)
    if isinstance(transaction, Rejection):
        raise rejected(transaction.reason, transaction.detail)
    try:
        history = what_if.parse_history(body.history or [], transaction.customer_id, now_ms)
    except (what_if.InvalidHistoryError, TypeError) as error:
        raise ApiError(422, "history_invalid", str(error), "correct the history") from None
    if body.stored_history:
        history = await _stored(services, key, transaction, request_id_of(request), is_given=body.history is not None)
    result = what_if.score(payload, transaction, history, services.watch.now)
    if isinstance(result, str):
        raise ApiError(422, "not_scored", result, "a transaction of the history must not have the same id")
    decision = result.decision
    if result.model_problem is not None:
        services.metrics.count(catalogue.API_MODEL_PROBLEMS, result.model_problem)
    return ScoreAnswer(
        action=action_of(
            decision["score"],
            is_alert=decision["is_alert"],
            settings=services.settings,
            probability=decision.get("fraud_probability"),
        ),
        decision=dict(decision),
        reasons=reasons_of(decision["reasons"]),
        contributions=result.contributions,
        history_transactions=len(history),
        history_source="stored" if body.stored_history else "given" if body.history else "none",
        model_problem=result.model_problem,
    )


def _encoded(body: ScoreRequest) -> bytes:
    try:
        return orjson.dumps(body.transaction)
    except TypeError as error:  # an integer beyond 64 bits
        raise ApiError(422, "invalid_request", f"transaction: {error}", "correct the transaction") from None


async def _stored(
    services: Services, key: Key, transaction: Transaction, request_id: str, *, is_given: bool
) -> list[Transaction]:
    if is_given:
        raise ApiError(422, "invalid_request", "history and stored_history exclude each other", "send one of them")
    if Scope.DECISIONS_READ not in key.scopes:
        raise ApiError(
            403, "scope_missing", f"stored_history needs the scope {Scope.DECISIONS_READ.value}", "send a history"
        )
    await record_read(
        services.database,
        Read(key.actor, "score.history", transaction.customer_id, request_id, transaction.transaction_id),
    )
    return await services.decisions.history(transaction)
