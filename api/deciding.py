"""Answers a transaction while the customer waits: by the job, or by the fallback policy after the deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from api import policy
from api.answers import Answers, Kept, content_of
from api.database import LOOK_UP_S
from api.documents import Answer, Reason
from api.errors import ApiError
from api.lane import LostError, Pending, Sender
from flink_jobs.core.decision import transaction_digest
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.reply_document import ReplyOutcome
from flink_jobs.core.transaction import Rejection, Transaction
from flink_jobs.metrics import catalogue

if TYPE_CHECKING:
    from api.decisions import Decisions
    from api.documents import Decision
    from api.in_force import Watch
    from api.keys import Key
    from api.measures import ApiMetrics
    from api.settings import ApiSettings
    from api.standing import StandingActions
    from flink_jobs.core.reply_document import ReplyDocument

OUR_FAULT: Final = frozenset({DeadLetterReason.PROCESSING_ERROR, DeadLetterReason.STATE_VERSION_UNSUPPORTED})
"""Rejections by the job that the caller cannot correct; the caller still needs an action."""


class Request(NamedTuple):
    """One request to decide a transaction."""

    payload: bytes
    key: Key
    deadline_ms: int
    request_id: str
    retry_token: str | None = None

    @property
    def look_up_s(self) -> float:
        """Longest wait for Postgres at each step in seconds: the caller's own wait, but not less than a look-up."""
        return max(LOOK_UP_S, self.deadline_ms / 1_000)


class Answered(NamedTuple):
    """An answer, and whether it was given before."""

    answer: Answer
    is_repeated: bool


class Decider:
    """Answers transactions; each is sent once, however many requests for it arrive at the same time."""

    def __init__(
        self,
        sender: Sender,
        answers: Answers,
        decisions: Decisions,
        watch: Watch,
        *,
        standing: StandingActions,
        metrics: ApiMetrics,
        settings: ApiSettings,
    ) -> None:
        """Use the parts of a process."""
        self._sender = sender
        self._answers = answers
        self._decisions = decisions
        self._standing = standing
        self._watch = watch
        self._metrics = metrics
        self._settings = settings
        self._running: dict[tuple[str, str], asyncio.Task[tuple[Kept, bool]]] = {}

    async def answer(self, request: Request) -> Answered:
        """Return the answer on a transaction.

        Raises:
            ApiError: the bytes are no valid transaction (422), the id is that of another transaction (409), or Kafka
                did not acknowledge it (503, with a retry token).
        """
        transaction = parse_transaction(request.payload, time.time_ns() // 1_000_000)
        if isinstance(transaction, Rejection):
            raise rejected(transaction.reason, transaction.detail)
        if request.retry_token not in {None, ticket_of(transaction)}:
            raise ApiError(
                422, "invalid_request", "Retry-Token: of another transaction", "send it with its own transaction"
            )
        identity = transaction.customer_id, transaction.transaction_id
        task = self._running.get(identity)
        is_first = task is None
        if task is None:
            task = asyncio.create_task(self._first(request, transaction))
            self._running[identity] = task
            task.add_done_callback(lambda _: self._running.pop(identity, None))
        # A caller that goes away does not stop the task: the answer is kept for the next attempt.
        kept, is_repeated = await asyncio.shield(task)
        if kept.content_sha256 != content_of(transaction):
            raise ApiError(
                409, "transaction_id_reused", "the customer has another transaction with this id", "use a new id"
            )
        repeated = is_repeated or not is_first
        self._metrics.count(catalogue.API_ANSWERS, "repeated" if repeated else kept.answer.decided_by)
        return Answered(kept.answer, repeated)

    async def _first(self, request: Request, transaction: Transaction) -> tuple[Kept, bool]:
        """Return the first answer on a transaction, and whether it was given before."""
        started = time.monotonic()
        try:
            known = await self._answers.find(transaction, request.look_up_s)
        except ApiError:
            known = None  # the job recognises a transaction that was sent before
        if known is not None:
            return known, True
        ticket = ticket_of(transaction)
        payload = without_card_number(request.payload, transaction)
        pending = self._sender.send(payload, transaction.customer_id, ticket)
        try:
            reply = await self._reply(pending, started, request.deadline_ms, ticket)
        finally:
            self._sender.forget(ticket)
        answer = await self._of_reply(reply, transaction, request)
        return await self._answers.keep(transaction, answer, request.key.prefix, request.look_up_s), False

    async def _reply(self, pending: Pending, started: float, deadline_ms: int, ticket: str) -> ReplyDocument | None:
        """Return the job's reply, ``None`` after the deadline if Kafka has the transaction.

        Raises:
            ApiError: Kafka did not acknowledge the transaction in time.
        """
        await _within(started, deadline_ms, pending.reply)
        if not pending.reply.done():
            # After the deadline only the acknowledgement counts; a reply that comes first implies it.
            await _within(pending.sent_at, self._settings.acknowledge_ms, pending.acknowledged, pending.reply)
        if pending.reply.done():
            self._metrics.observe(catalogue.API_REPLY_TIME_MS, (time.monotonic() - pending.sent_at) * 1_000)
            return pending.reply.result()
        try:
            if pending.acknowledged.done():
                pending.acknowledged.result()
                return None
        except LostError:
            pass
        self._metrics.count(catalogue.API_ANSWERS, "unknown")
        raise ApiError(
            503,
            "acknowledgement_lost",
            "Kafka did not acknowledge the transaction: it may be stored or not",
            "send the same transaction again with the header Retry-Token; a second copy is not decided twice",
            headers={"Retry-After": "1"},
            retry_token=ticket,
        )

    async def _of_reply(self, reply: ReplyDocument | None, transaction: Transaction, request: Request) -> Answer:
        if reply is None:
            return await self._fallback(transaction, request.request_id)
        if reply["outcome"] == ReplyOutcome.DECIDED:
            return self._of_job(reply, transaction, request.request_id)
        if reply["outcome"] == ReplyOutcome.DUPLICATE:
            return await self._decided_before(transaction, request)
        reason = DeadLetterReason(reply["rejection"] or "")
        if reason not in OUR_FAULT:
            raise rejected(reason, reply["detail"] or "the job rejects the transaction")
        return await self._fallback(transaction, request.request_id)

    async def _decided_before(self, transaction: Transaction, request: Request) -> Answer:
        """Return the stored decision of a transaction that the job knows; the fallback if it is not stored yet."""
        identity = transaction.customer_id, transaction.transaction_id
        try:
            stored = await self._decisions.one(*identity, request.look_up_s)
        except ApiError:
            stored = None
        if stored is None:
            return await self._fallback(transaction, request.request_id)
        return _answer(transaction, request.request_id, stored.action, stored.reasons, stored)

    def _of_job(self, reply: ReplyDocument, transaction: Transaction, request_id: str) -> Answer:
        score, is_alert, probability = reply["score"] or 0.0, bool(reply["is_alert"]), reply.get("fraud_probability")
        action = policy.action_of(
            score, is_alert=is_alert, settings=self._settings, codes=reply["reasons"], probability=probability
        )
        return Answer.model_validate(
            {
                **reply,
                "transaction_id": transaction.transaction_id,
                "customer_id": transaction.customer_id,
                "action": action,
                "fraud_probability": probability,
                "decided_by": "job",
                "reasons": _reasons(reply),
                "request_id": request_id,
                "is_kept": True,
            }
        )

    async def _fallback(self, transaction: Transaction, request_id: str) -> Answer:
        code = await self._standing.code_for(transaction)
        chosen = policy.fallback(transaction, self._watch.now.config, self._settings, code)
        reasons = [Reason(code=code.value, text=policy.in_words(code)) for code in chosen.reasons]
        return _answer(transaction, request_id, chosen.action, reasons, None)


def ticket_of(transaction: Transaction) -> str:
    """Return the request id of a transaction on Kafka: always the same one.

    So a retry is answered by the reply to the first attempt, too, and a reply never meets another transaction.
    """
    return transaction_digest(transaction.customer_id, transaction.transaction_id)


def without_card_number(payload: bytes, transaction: Transaction) -> bytes:
    """Return a payload in which the token of the card stands for a card number in the clear; else the same bytes."""
    if transaction.card is None or not transaction.card.startswith("****"):
        return payload
    return orjson.dumps({**orjson.loads(payload), "card": transaction.card})


def rejected(reason: DeadLetterReason, detail: str) -> ApiError:
    """Return the error of a transaction that the detector rejects; the code is that of dead letters."""
    return ApiError(422, reason.value, detail, "correct the transaction; docs/api.md lists the fields")


def _reasons(reply: ReplyDocument) -> list[Reason]:
    """Return the reasons of a reply in words; only that of a detector of this release has contributions."""
    codes = reply["reasons"]
    adds: Sequence[float | None] = reply.get("reason_contributions") or [None] * len(codes)
    return [
        Reason(code=code, text=policy.in_words(code), contribution=share)
        for code, share in zip(codes, adds, strict=True)
    ]


def _answer(
    transaction: Transaction,
    request_id: str,
    action: policy.Action,
    reasons: Sequence[Reason],
    decision: Decision | None,
) -> Answer:
    return Answer(
        transaction_id=transaction.transaction_id,
        customer_id=transaction.customer_id,
        action=action,
        decided_by="fallback" if decision is None else "job",
        score=decision.score if decision else None,
        threshold=decision.threshold if decision else None,
        is_alert=decision.is_alert if decision else None,
        fraud_probability=decision.fraud_probability if decision else None,
        reasons=list(reasons),
        contributions=decision.contributions if decision else None,
        model="ok" if decision and decision.model_version else "degraded" if decision else None,
        model_version=decision.model_version if decision else None,
        ruleset_version=decision.ruleset_version if decision else None,
        config_revision=decision.config_revision if decision else None,
        request_id=request_id,
        is_kept=True,
    )


async def _within(started: float, limit_ms: float, *futures: asyncio.Future[Any]) -> None:
    """Wait until one of the futures is done or the time since ``started`` is over; cancel none."""
    left = limit_ms / 1_000 - (time.monotonic() - started)
    await asyncio.wait(futures, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
