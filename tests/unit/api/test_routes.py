"""The routes, without a network and without servers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import httpx
import pytest

from api.keys import Scope
from flink_jobs.core.reasons import DeadLetterReason
from tests.unit.api.service import KEY, TRANSACTION, Memory, Setting, app_of, client

T = TypeVar("T")
JSON = {"Content-Type": "application/json"}
STORED = {
    **TRANSACTION,
    "processing_time_ms": 1_700_000_000_500,
    "category": None,
    "channel": None,
    "country": None,
    "score": 0.8,
    "threshold": 0.4,
    "is_alert": True,
    "reasons": [{"code": "HIGH_AMOUNT", "contribution": 0.5}, {"code": "OF_A_NEWER_RELEASE", "contribution": 0.1}],
    "contributions": None,
    "model_version": "v1",
    "ruleset_version": "2",
    "config_revision": 0,
}


def ask(
    memory: Memory,
    call: Callable[[httpx.AsyncClient], Awaitable[T]],
    *,
    key: str | None = KEY,
    **changes: Setting,
) -> T:
    async def run() -> T:
        async with client(app_of(memory, **changes), key) as http:
            return await call(http)

    return asyncio.run(run())


def code(answer: httpx.Response) -> str:
    error: dict[str, str] = answer.json()["error"]
    assert error["message"]
    assert error["hint"]
    return error["code"]


@pytest.mark.parametrize("key", [None, "", "sfk_", "sfk_0123456789_wrong", "sfk_x_y_z", "secret", "sfk_ü_x"])
def test_without_a_valid_key_no_route_answers(key: str | None) -> None:
    async def run() -> None:
        async with client(app_of(Memory()), None) as http:
            header = {} if key is None else {b"Authorization": f"Bearer {key}".encode()}
            for path in ("/v1/decisions/t-1", "/v1/decisions?customer_id=c-1"):
                answer = await http.get(path, headers=header)
                assert (answer.status_code, code(answer)) == (401, "key_invalid")
            answer = await http.post("/v1/score", headers=header, json={"transaction": TRANSACTION})
            assert (answer.status_code, code(answer)) == (401, "key_invalid")

    asyncio.run(run())


@pytest.mark.parametrize(
    "change",
    [{"revoked_at": datetime(2024, 1, 1, tzinfo=UTC)}, {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}],
)
def test_a_revoked_or_expired_key_is_refused(change: dict[str, Any]) -> None:
    memory = Memory()
    memory.key |= change
    answer = ask(memory, lambda http: http.post("/v1/score", json={"transaction": TRANSACTION}))
    assert (answer.status_code, code(answer)) == (401, "key_invalid")


def test_a_key_without_the_scope_is_refused() -> None:
    memory = Memory()
    memory.key["scopes"] = [Scope.SCORE.value]
    answer = ask(memory, lambda http: http.get("/v1/decisions/t-1"))
    assert (answer.status_code, code(answer)) == (403, "scope_missing")


def test_a_key_over_its_rate_gets_429() -> None:
    memory = Memory()
    memory.key["rate_per_s"] = 1

    async def call(http: httpx.AsyncClient) -> httpx.Response:
        await http.get("/v1/decisions/t-1")
        await http.get("/v1/decisions/t-1")
        return await http.get("/v1/decisions/t-1")

    answer = ask(memory, call)
    assert (answer.status_code, code(answer), answer.headers["retry-after"]) == (429, "rate_limited", "1")


def test_a_rate_counts_for_each_route() -> None:
    memory = Memory()
    memory.key["rate_per_s"] = 1

    async def call(http: httpx.AsyncClient) -> list[int]:
        paths = ("/v1/decisions/t-1", "/v1/decisions/t-2", "/v1/decisions?customer_id=c", "/v1/decisions?customer_id=c")
        return [(await http.get(path)).status_code for path in paths]

    assert ask(memory, call) == [404, 429, 200, 429]


def test_an_address_over_its_rate_gets_429_with_any_key() -> None:
    async def call(http: httpx.AsyncClient) -> list[int]:
        keys = (KEY, "sfk_9876543210_x", KEY)
        asked = [http.get("/v1/decisions/t-1", headers={"Authorization": f"Bearer {key}"}) for key in keys]
        return [(await one).status_code for one in asked]

    assert ask(Memory(), call, address_rate_per_s=2) == [404, 401, 429]


def test_a_verified_key_works_beside_many_wrong_keys_from_its_address() -> None:
    async def call(http: httpx.AsyncClient) -> list[int]:
        first = await http.get("/v1/decisions/t-1")
        wrong = {"Authorization": "Bearer sfk_0123456789_wrong"}
        others = [(await http.get("/v1/decisions/t-1", headers=wrong)).status_code for _ in range(11)]
        return [first.status_code, others[0], others[-1], (await http.get("/v1/decisions/t-1")).status_code]

    assert ask(Memory(), call) == [404, 401, 429, 404]


def test_many_wrong_keys_from_one_address_are_slowed_down() -> None:
    async def call(http: httpx.AsyncClient) -> httpx.Response:
        for _ in range(10):
            await http.get("/v1/decisions/t-1")
        return await http.get("/v1/decisions/t-1")

    answer = ask(Memory(), call, key="sfk_0123456789_wrong")
    assert (answer.status_code, code(answer)) == (429, "rate_limited")


def test_a_known_key_stays_valid_while_postgres_is_down_and_a_new_one_does_not() -> None:
    memory = Memory()

    async def call(http: httpx.AsyncClient) -> httpx.Response:
        body = {"transaction": TRANSACTION}
        assert (await http.post("/v1/score", json=body)).status_code == 200
        memory.is_down = True
        assert (await http.post("/v1/score", json=body)).status_code == 200
        return await http.post("/v1/score", json=body, headers={"Authorization": "Bearer sfk_9876543210_x"})

    answer = ask(memory, call, key_cache_s=0)
    assert (answer.status_code, code(answer)) == (503, "unavailable")


def test_a_stored_decision_is_returned_in_words_and_its_read_is_recorded() -> None:
    memory = Memory()
    memory.tables["raw.decisions"] = lambda _: [STORED]
    answer = ask(memory, lambda http: http.get("/v1/decisions/t-1?customer_id=c-1"))
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["first_answer"], body["decision"]["action"]) == ("decided", None, "decline")
    assert [reason["text"] for reason in body["decision"]["reasons"]] == [
        "the amount is far above the customer's usual amounts",
        "OF_A_NEWER_RELEASE",
    ]
    (read,) = [parameters for query, parameters in memory.asked if "INSERT INTO api.reads" in query]
    assert (read["actor"], read["action"], read["customer_id"], read["detail"], read["request_id"]) == (
        "key:0123456789", "decisions.get", "c-1", "t-1", answer.headers["x-request-id"],
    )  # fmt: skip


def test_a_sent_transaction_without_a_stored_decision_is_pending() -> None:
    memory = Memory()
    memory.tables["api.answers"] = lambda _: [{"customer_id": "c-1", "answer": {"action": "review"}}]
    answer = ask(memory, lambda http: http.get("/v1/decisions/t-1"))
    assert answer.json() == {"status": "pending", "decision": None, "first_answer": {"action": "review"}}


def test_an_id_of_two_customers_needs_the_customer() -> None:
    memory = Memory()
    memory.tables["api.answers"] = lambda _: [{"customer_id": name, "answer": {}} for name in ("c-1", "c-2")]
    answer = ask(memory, lambda http: http.get("/v1/decisions/t-1"))
    assert (answer.status_code, code(answer)) == (409, "several_customers")


def test_an_unknown_transaction_is_404_and_the_read_is_recorded() -> None:
    memory = Memory()
    answer = ask(memory, lambda http: http.get("/v1/decisions/a%2Fb?customer_id=c-1"))
    assert (answer.status_code, code(answer)) == (404, "decision_not_found")
    assert [parameters["detail"] for query, parameters in memory.asked if "INSERT" in query] == ["a/b"]


def test_the_list_names_the_next_page() -> None:
    memory = Memory()
    memory.tables["raw.decisions"] = lambda asked: [STORED] * min(2, asked["limit"])
    full = ask(memory, lambda http: http.get("/v1/decisions?customer_id=c-1&limit=2")).json()
    assert (len(full["decisions"]), full["next_cursor"]) == (2, f"{STORED['event_time_ms']}~t-1")
    last = ask(memory, lambda http: http.get("/v1/decisions?customer_id=c-1&limit=3")).json()
    assert (len(last["decisions"]), last["next_cursor"]) == (2, None)


@pytest.mark.parametrize(
    "path",
    ["/v1/decisions", "/v1/decisions?customer_id=", "/v1/decisions?customer_id=a%00b",
     "/v1/decisions/t?customer_id=%20", f"/v1/decisions?customer_id={'x' * 65}", f"/v1/decisions/{'x' * 65}",
     "/v1/decisions?customer_id=c&limit=0", "/v1/decisions?customer_id=c&cursor=9223372036854775808~t",
     "/v1/decisions?customer_id=c&cursor=1", "/v1/decisions?customer_id=c&cursor=1~%00"],
)  # fmt: skip
def test_invalid_parameters_are_422(path: str) -> None:
    answer = ask(Memory(), lambda http: http.get(path))
    assert (answer.status_code, code(answer)) == (422, "invalid_request")


@pytest.mark.parametrize(("silence_s", "status", "text"), [(600.0, 200, "degraded"), (600.1, 503, "unavailable")])
def test_without_postgres_the_api_is_ready_while_keys_have_grace(silence_s: float, status: int, text: str) -> None:
    memory = Memory()
    memory.is_down, memory.silence_s = True, silence_s
    answer = ask(memory, lambda http: http.get("/health/ready"))
    assert (answer.status_code, answer.json()["status"], answer.json()["postgres"]) == (status, text, False)


def test_without_postgres_reads_are_503() -> None:
    memory = Memory()

    async def call(http: httpx.AsyncClient) -> httpx.Response:
        await http.get("/v1/decisions/t-1")
        memory.is_down = True
        assert (await http.get("/health/ready")).json() == {
            "status": "unavailable",
            "postgres": False,
            "replies": False,
        }
        assert (await http.get("/health/live")).status_code == 200
        return await http.get("/v1/decisions/t-1")

    answer = ask(memory, call)
    assert (answer.status_code, code(answer), answer.headers["retry-after"]) == (503, "unavailable", "1")


def test_the_score_of_a_customer_without_history_comes_from_rules() -> None:
    memory = Memory()
    body = ask(memory, lambda http: http.post("/v1/score", json={"transaction": TRANSACTION})).json()
    assert (body["action"], body["history_transactions"], body["history_source"]) == ("approve", 0, "none")
    assert (body["decision"]["model"], body["decision"]["transaction_id"]) == ("degraded", "t-1")
    assert [query for query, _ in memory.asked if "INSERT" in query] == []


def test_a_given_history_changes_the_score() -> None:
    history = [
        {**TRANSACTION, "transaction_id": f"h-{i}", "event_time_ms": 1_699_999_000_000 + 60_000 * i} for i in range(8)
    ]
    body = ask(Memory(), lambda http: http.post("/v1/score", json={"transaction": TRANSACTION, "history": history}))
    answer = body.json()
    assert answer["history_transactions"] == 8
    assert "HIGH_VELOCITY" in [reason["code"] for reason in answer["reasons"]]


def test_a_stored_history_is_used_and_its_read_is_recorded() -> None:
    memory = Memory()
    fields = ("transaction_id", "customer_id", "amount_minor", "currency", "event_time_ms", "merchant")
    memory.tables["raw.decisions"] = lambda asked: (
        [{name: TRANSACTION[name] for name in fields} | {"transaction_id": "h"}] * min(1, asked["limit"])
    )
    answer = ask(memory, lambda http: http.post("/v1/score", json={"transaction": TRANSACTION, "stored_history": True}))
    assert (answer.json()["history_source"], answer.json()["history_transactions"]) == ("stored", 1)
    assert [parameters["action"] for query, parameters in memory.asked if "INSERT" in query] == ["score.history"]
    memory.key["scopes"] = [Scope.SCORE.value]
    answer = ask(memory, lambda http: http.post("/v1/score", json={"transaction": TRANSACTION, "stored_history": True}))
    assert (answer.status_code, code(answer)) == (403, "scope_missing")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"transaction": {**TRANSACTION, "amount_minor": -1}}, DeadLetterReason.NEGATIVE_AMOUNT.value),
        ({"transaction": {}}, DeadLetterReason.MISSING_FIELD.value),
        ({"transaction": TRANSACTION, "history": [{**TRANSACTION, "customer_id": "other"}]}, "history_invalid"),
        ({"transaction": TRANSACTION, "history": [{}]}, "history_invalid"),
        ({"transaction": TRANSACTION, "history": [TRANSACTION]}, "not_scored"),
        ({"transaction": TRANSACTION, "history": [], "stored_history": True}, "invalid_request"),
        ({"transaction": {**TRANSACTION, "amount_minor": 2**70}}, "invalid_request"),
        ({"transaction": TRANSACTION, "unknown": 1}, "invalid_request"),
        ([], "invalid_request"),
    ],
)
def test_an_invalid_score_request_is_422_with_its_reason(body: object, expected: str) -> None:
    answer = ask(Memory(), lambda http: http.post("/v1/score", content=json.dumps(body), headers=JSON))
    assert (answer.status_code, code(answer)) == (422, expected)


async def many_parts() -> AsyncIterator[bytes]:
    for _ in range(70):
        yield b"x" * 1_000


async def a_stalled_part() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


@pytest.mark.parametrize("parts", [lambda: b"x" * 70_000, many_parts])
def test_a_large_body_is_refused(parts: Callable[[], Any]) -> None:
    answer = ask(Memory(), lambda http: http.post("/v1/score", content=parts()), largest_body_bytes=65_536)
    assert (answer.status_code, code(answer)) == (413, "body_too_large")


def test_a_slow_request_ends() -> None:
    answer = ask(Memory(), lambda http: http.post("/v1/score", content=a_stalled_part()), request_timeout_s=0.01)
    assert (answer.status_code, code(answer)) == (504, "timeout")


def test_every_answer_has_a_request_id_and_unknown_paths_have_the_error_form() -> None:
    answer = ask(Memory(), lambda http: http.get("/nowhere", headers={"X-Request-Id": "abc-1"}))
    assert (answer.status_code, code(answer), answer.headers["x-request-id"]) == (404, "not_found", "abc-1")
    assert answer.json()["error"]["request_id"] == "abc-1"
    answer = ask(Memory(), lambda http: http.get("/v1/score", headers={"X-Request-Id": "a b"}))
    assert (answer.status_code, code(answer)) == (405, "method_not_allowed")
    assert answer.headers["x-request-id"] != "a b"


def test_the_metrics_count_requests() -> None:
    async def call(http: httpx.AsyncClient) -> httpx.Response:
        await http.get("/nowhere")
        return await http.get("/metrics")

    text = ask(Memory(), call).text
    assert 'streamflow_api_requests_total{status="404"} 1.0' in text
    assert 'streamflow_api_answers_total{decided_by="fallback"} 0.0' in text


def test_every_route_under_v1_needs_a_key() -> None:
    document = app_of(Memory()).openapi()
    routes = [(path, operation) for path, item in document["paths"].items() for operation in item.values()]
    ours = [(path, operation) for path, operation in routes if path.startswith("/v1")]
    assert len(ours) >= 4
    for path, operation in ours:
        assert operation["security"] == [{"HTTPBearer": []}], path
        assert {"401", "403", "429", "503", "504"} <= set(operation["responses"]), path


def test_the_page_of_the_calls_loads_nothing_from_other_servers() -> None:
    page = ask(Memory(), lambda http: http.get("/docs"), key=None)
    assert page.status_code == 200
    assert "POST /v1/transactions" in page.text
    assert "decided_by" in page.text
    assert not re.findall(r'(?:src|href)="(?![/#])', page.text)
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")


def test_no_call_and_no_page_works_without_a_key_or_a_session() -> None:
    """A new route is closed unless this list names it."""
    open_pages = {"/login", "/login/oidc", "/login/callback", "/logout", "/assets/{name}"}
    memory = Memory()
    app = app_of(memory)
    console = next(route for route in app.routes if getattr(route, "path", "") == "/console")
    calls = [(method, path) for path, methods in app.openapi()["paths"].items() for method in methods if "/v1" in path]
    pages = [
        (method, route.path)
        for route in console.app.routes  # type: ignore[attr-defined]
        for method in route.methods - {"HEAD"}
        if route.path not in open_pages
    ]
    assert len(calls) >= 10
    assert len(pages) >= 10

    async def run() -> None:
        async with client(app, None) as http:
            for method, path in calls:
                answer = await http.request(method, re.sub(r"{.*?}", "1", path), json={})
                if answer.status_code == 429:  # ten wrong keys within a second block this address
                    memory.now += 1.1
                    answer = await http.request(method, re.sub(r"{.*?}", "1", path), json={})
                assert answer.status_code == 401, (method, path)
            for method, path in pages:
                answer = await http.request(method, "/console" + re.sub(r"{.*?}", "1", path))
                assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/console/login"), (
                    path
                )

    asyncio.run(run())
