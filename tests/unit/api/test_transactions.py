"""``POST /v1/transactions`` without servers: replies, deadlines, lost acknowledgements and repeated requests."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from typing import Any

import httpx
import orjson
import pytest

from api.answers import content_of
from api.database import LOOK_UP_S
from api.deciding import ticket_of
from api.errors import unavailable
from api.standing import COLUMNS
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.transaction import Transaction
from tests.account_samples import action
from tests.unit.api.service import TRANSACTION, Memory, Setting, app_of, client

BODY = json.dumps(TRANSACTION)
DECIDED = {
    "schema_version": 1, "request_id": "r", "route": "0", "outcome": "decided", "transaction_id": "t-1",
    "customer_id": "c-1", "score": 0.5, "threshold": 0.4, "is_alert": True, "reasons": ["HIGH_AMOUNT", "NEWER"],
    "rejection": None, "detail": None, "model": "ok", "model_version": "v1", "ruleset_version": "2",
    "config_revision": 3, "processing_time_ms": 1, "source": {"topic": "t", "partition": 0, "offset": 0},
}  # fmt: skip


def run(memory: Memory, call: Callable[[httpx.AsyncClient], Awaitable[Any]], **changes: Setting) -> Any:  # noqa: ANN401
    async def session() -> Any:  # noqa: ANN401
        async with client(app_of(memory, **{"acknowledge_ms": 100, "deadline_ms": 20, **changes})) as http:
            return await call(http)

    return asyncio.run(session())


def send(
    memory: Memory, body: str = BODY, headers: Mapping[str, str] | None = None, **changes: Setting
) -> httpx.Response:
    answer = run(memory, lambda http: http.post("/v1/transactions", content=body, headers=headers), **changes)
    assert isinstance(answer, httpx.Response)
    return answer


def test_the_reply_of_the_job_is_the_answer_and_the_bytes_are_sent_unchanged() -> None:
    memory = Memory()
    memory.kafka.reply = DECIDED
    spaced = json.dumps(TRANSACTION, indent=3)
    answer = send(memory, spaced, deadline_ms=5_000)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["decided_by"], body["action"], body["score"], body["config_revision"]) == ("job", "review", 0.5, 3)
    assert [reason["code"] for reason in body["reasons"]] == ["HIGH_AMOUNT", "NEWER"]
    ((payload, customer, ticket),) = memory.kafka.sent
    transaction = parse_transaction(payload, 2 * TRANSACTION["event_time_ms"])  # type: ignore[operator]
    assert isinstance(transaction, Transaction)
    assert (payload.decode(), customer, ticket) == (spaced, "c-1", ticket_of(transaction))
    (kept,) = [parameters for query, parameters in memory.asked if "INSERT INTO api.answers" in query]
    assert (kept["customers"], kept["transactions"], kept["keys"]) == (["c-1"], ["t-1"], ["0123456789"])


def test_a_card_number_in_the_clear_is_not_sent_to_kafka() -> None:
    memory = Memory()
    memory.kafka.reply = DECIDED
    assert send(memory, json.dumps({**TRANSACTION, "card": "4111 1111 1111 1111"}), deadline_ms=5_000).is_success
    ((payload, _, _),) = memory.kafka.sent
    assert json.loads(payload) == {**TRANSACTION, "card": "****1111"}


def test_an_answer_that_an_earlier_release_kept_is_found_again() -> None:
    plain = parse_transaction(BODY.encode(), 2 * TRANSACTION["event_time_ms"])  # type: ignore[operator]
    assert isinstance(plain, Transaction)
    of_version_1 = sha256(orjson.dumps(list(plain)[: Transaction._fields.index("terminal")])).hexdigest()
    assert content_of(plain) == of_version_1
    assert len({content_of(plain), content_of(plain._replace(card="a")), content_of(plain._replace(ip="a"))}) == 3


def row_of(kept: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of an answer that another process kept."""
    return {
        "customer_id": "c-1", "transaction_id": "t-1", "content_sha256": kept["contents"][0], "answer": answer,
    }  # fmt: skip


def test_the_answer_on_an_alert_has_its_contributions_and_so_has_the_answer_that_is_kept() -> None:
    memory, shares = Memory(), {"hour": -0.0, "velocity_count": -0.05, "amount_ratio": 0.3}
    memory.kafka.reply = {
        **DECIDED, "schema_version": 3, "reason_contributions": [0.4, 0.1], "contributions": shares,
    }  # fmt: skip
    first = send(memory, deadline_ms=5_000)
    body = first.json()
    assert [reason["contribution"] for reason in body["reasons"]] == [0.4, 0.1]
    assert list(body["contributions"].items()) == [("amount_ratio", 0.3), ("velocity_count", -0.05), ("hour", 0.0)]
    (kept,) = [parameters for query, parameters in memory.asked if "INSERT INTO api.answers" in query]
    assert json.loads(kept["answers"][0]) == body
    # Postgres orders the keys of an object by their length.
    assert str(body["contributions"]["hour"]) == "0.0"
    stored = {**body, "contributions": dict(sorted(shares.items(), key=lambda item: (len(item[0]), item[0])))}
    other = Memory()
    other.tables["FROM api.answers"] = lambda _: [row_of(kept, stored)]
    assert send(other).text == first.text


def test_the_reply_of_an_older_detector_and_the_answer_of_an_older_release_have_no_contributions() -> None:
    memory = Memory()
    memory.kafka.reply = DECIDED | {"schema_version": 2, "fraud_probability": 0.5}
    body = send(memory, deadline_ms=5_000).json()
    assert (body["is_alert"], body["contributions"]) == (True, None)
    assert [reason["contribution"] for reason in body["reasons"]] == [None, None]
    (kept,) = [parameters for query, parameters in memory.asked if "INSERT INTO api.answers" in query]
    before = {name: value for name, value in body.items() if name != "contributions"}
    other = Memory()
    other.tables["FROM api.answers"] = lambda _: [row_of(kept, before)]
    assert send(other).json() == body


def test_after_the_deadline_the_fallback_policy_answers() -> None:
    answer = send(Memory())
    body = answer.json()
    assert (answer.status_code, body["decided_by"], body["action"], body["score"]) == (200, "fallback", "review", None)
    assert send(Memory(), fallback_approve_below=20.0).json()["action"] == "approve"


def stored(kind: str, **fields: str) -> dict[str, Any]:
    """Return a row of the archive: an action that was issued before the transaction and has not ended."""
    now_ms = time.time_ns() // 1_000_000
    taken = action(kind, issued_at_ms=now_ms - 60_000, expires_at_ms=now_ms + 86_400_000, **fields)
    return {name: getattr(taken, "id" if name == "action_id" else name) for name in COLUMNS.split(", ")}


@pytest.mark.parametrize(
    ("rows", "expected", "codes"),
    [
        ([stored("watch"), stored("block")], "decline", ["ACCOUNT_BLOCKED"]),
        ([stored("block", merchant="Other Shop")], "review", []),
        ([stored("allow", merchant="Corner Shop")], "approve", ["ACCOUNT_ALLOWED"]),
        ([], "review", []),
    ],
)
def test_the_fallback_knows_the_account_of_the_customer(
    rows: list[dict[str, Any]], expected: str, codes: list[str]
) -> None:
    memory = Memory()
    memory.tables["raw.user_actions"] = lambda _: rows
    body = send(memory).json()
    assert (body["decided_by"], body["action"], [reason["code"] for reason in body["reasons"]]) == (
        "fallback", expected, codes,
    )  # fmt: skip


@pytest.mark.parametrize(("deadline_ms", "limit_s"), [(20, LOOK_UP_S), (400, 0.4)])
def test_no_look_up_waits_longer_than_the_caller(deadline_ms: int, limit_s: float) -> None:
    memory = Memory()
    memory.kafka.reply = {**DECIDED, "outcome": "duplicate"}

    async def twice(http: httpx.AsyncClient) -> httpx.Response:
        # The first request reads the key, with which no customer can wait less: nothing is known of it.
        await http.get("/v1/decisions/t-1")
        memory.limits.clear()
        return await http.post(f"/v1/transactions?deadline_ms={deadline_ms}", content=BODY)

    body = run(memory, twice, key_cache_s=0).json()
    assert (body["decided_by"], body["action"]) == ("fallback", "review")
    assert len(memory.limits) >= 5  # the key, the first answer, the decision, the account, the new answer
    assert max(memory.limits) == limit_s


def test_the_fallback_answers_without_postgres() -> None:
    memory = Memory()

    def gone(_: Mapping[str, Any]) -> list[dict[str, Any]]:
        raise unavailable("Postgres")

    memory.tables["raw.user_actions"] = gone
    assert send(memory).json()["action"] == "review"


@pytest.mark.parametrize("acknowledged", ["never", "refused"])
def test_a_lost_acknowledgement_is_503_with_a_token_for_the_retry(acknowledged: str) -> None:
    memory = Memory()
    memory.kafka.is_acknowledged = None if acknowledged == "never" else False
    answer = send(memory)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "acknowledgement_lost")
    memory.kafka.is_acknowledged = True
    memory.kafka.reply = DECIDED
    again = send(memory, headers={"Retry-Token": error["retry_token"]}, deadline_ms=5_000)
    assert (again.status_code, again.json()["decided_by"]) == (200, "job")
    assert memory.kafka.sent[0] == memory.kafka.sent[1]
    other = send(memory, json.dumps({**TRANSACTION, "transaction_id": "t-2"}), {"Retry-Token": error["retry_token"]})
    assert other.status_code == 422


def test_a_reply_while_waiting_for_the_acknowledgement_is_the_answer() -> None:
    memory = Memory()
    memory.kafka.is_acknowledged = None
    memory.kafka.reply = DECIDED
    assert send(memory, deadline_ms=1, acknowledge_ms=5_000).json()["decided_by"] == "job"


def test_the_same_transaction_gets_the_first_answer_and_is_sent_once() -> None:
    memory = Memory()

    async def call(http: httpx.AsyncClient) -> list[httpx.Response]:
        first = await asyncio.gather(*(http.post("/v1/transactions", content=BODY) for _ in range(5)))
        memory.kafka.reply = DECIDED
        return [*first, await http.post("/v1/transactions", content=json.dumps(TRANSACTION, indent=1))]

    answers = run(memory, call)
    assert len(memory.kafka.sent) == 1
    assert len({answer.text for answer in answers}) == 1
    assert sorted(answer.headers.get("idempotent-replayed", "") for answer in answers) == ["", *["true"] * 5]


def test_another_transaction_with_the_same_id_is_refused() -> None:
    memory = Memory()

    async def call(http: httpx.AsyncClient) -> httpx.Response:
        await http.post("/v1/transactions", content=BODY)
        return await http.post("/v1/transactions", content=json.dumps({**TRANSACTION, "amount_minor": 1}))

    answer = run(memory, call)
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "transaction_id_reused")
    assert len(memory.kafka.sent) == 1


def test_the_answer_of_another_process_that_was_first_is_returned() -> None:
    memory = Memory()
    first = send(memory).json()
    (kept,) = [parameters for query, parameters in memory.asked if "INSERT INTO api.answers" in query]
    other = Memory()
    other.tables["FROM api.answers"] = lambda _: [row_of(kept, {**first, "request_id": "first"})]
    answer = send(other)
    assert (answer.json()["request_id"], other.kafka.sent) == ("first", [])
    assert answer.headers["idempotent-replayed"] == "true"


def test_without_postgres_the_answer_says_that_it_is_not_kept() -> None:
    memory = Memory()

    async def call(http: httpx.AsyncClient) -> httpx.Response:
        await http.post("/v1/transactions", content=BODY)
        memory.is_down = True
        return await http.post("/v1/transactions", content=json.dumps({**TRANSACTION, "transaction_id": "t-2"}))

    answer = run(memory, call)
    assert (answer.status_code, answer.json()["is_kept"]) == (200, False)


def test_a_duplicate_gets_its_stored_decision_or_the_fallback() -> None:
    memory = Memory()
    memory.kafka.reply = {**DECIDED, "outcome": "duplicate", "rejection": "DUPLICATE_TRANSACTION"}
    assert send(memory, deadline_ms=5_000).json()["decided_by"] == "fallback"
    stored = {
        **TRANSACTION, "processing_time_ms": 1, "score": 0.9, "threshold": 0.4, "is_alert": True, "reasons": [],
        "contributions": {"amount_ratio": 0.2}, "model_version": None, "ruleset_version": "2", "config_revision": 0,
    }  # fmt: skip
    memory = Memory()
    memory.kafka.reply = {**DECIDED, "outcome": "duplicate", "rejection": "DUPLICATE_TRANSACTION"}
    memory.tables["raw.decisions"] = lambda _: [stored]
    body = send(memory, deadline_ms=5_000).json()
    assert (body["decided_by"], body["action"], body["model"]) == ("job", "decline", "degraded")
    assert body["contributions"] == {"amount_ratio": 0.2}


@pytest.mark.parametrize(
    ("rejection", "status"), [("KEY_MISMATCH", 422), ("PROCESSING_ERROR", 200), ("STATE_VERSION_UNSUPPORTED", 200)]
)
def test_a_rejection_by_the_job_is_an_error_only_if_the_caller_can_correct_it(rejection: str, status: int) -> None:
    memory = Memory()
    memory.kafka.reply = {**DECIDED, "outcome": "rejected", "rejection": rejection, "detail": "why"}
    answer = send(memory, deadline_ms=5_000)
    assert answer.status_code == status
    shown = answer.json()["error"]["code"] if status == 422 else answer.json()["decided_by"]
    assert shown == (rejection if status == 422 else "fallback")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", "EMPTY_PAYLOAD"),
        ("{", "MALFORMED_JSON"),
        ("[]", "NOT_AN_OBJECT"),
        (" " * 65_536 + BODY, "OVERSIZE"),
        (json.dumps({**TRANSACTION, "amount_minor": -1}), "NEGATIVE_AMOUNT"),
    ],
)
def test_an_invalid_transaction_is_422_with_the_reason_of_dead_letters_and_is_not_sent(body: str, code: str) -> None:
    memory = Memory()
    answer = send(memory, body)
    assert (answer.status_code, answer.json()["error"]["code"], memory.kafka.sent) == (422, code, [])


@pytest.mark.parametrize("deadline", ["0", "-1", "5001", "x"])
def test_the_deadline_has_limits(deadline: str) -> None:
    memory = Memory()
    answer = run(memory, lambda http: http.post(f"/v1/transactions?deadline_ms={deadline}", content=BODY))
    assert (answer.status_code, memory.kafka.sent) == (422, [])
