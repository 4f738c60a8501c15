"""Actions on the account of a case's customer, by the API and by the console, on a real Postgres."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import psycopg
import pytest
from psycopg.rows import dict_row

from api.cases.account_documents import ActionRequest
from api.cases.outbox import Message
from api.cases.relay import Relay
from api.cases.viewer import Viewer
from api.cases.webhooks import WebhookSender
from api.console.accounts import add_account, create_token
from api.console.roles import Role
from api.errors import ApiError
from api.keys import Scope, create_key
from api.reads import verify_reads
from api.settings import ApiSettings
from flink_jobs.core.accounts.action import UserAction, parse_action
from flink_jobs.core.accounts.document import AccountAction
from flink_jobs.job.archiver.rows import write_messages
from flink_jobs.job.archiver.tables import ARCHIVE_OF
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from tests.integration.api_server import client, serving
from tests.integration.case_database import with_services
from tests.integration.console_data import add_customer, console_database

pytestmark = pytest.mark.stack
OWN = ApiSettings(case_work=False, secure_cookie=False)
SENIOR = Viewer("user:senior", "request-1", sees_customers=True)
BLOCK = {"action": "block", "days": 30, "reason": "card data found on a market"}


class Topic:
    """Stands in for Kafka: keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def send(self, messages: Sequence[Message]) -> dict[str, str | None]:
        self.sent += [message.payload for message in messages]
        return {message.outbox_id: None for message in messages}


@pytest.fixture(scope="module")
def settings(database: Stack) -> Iterator[Settings]:
    with console_database(database.settings()) as own:
        with psycopg.connect(own.postgres_dsn) as rows:
            for number in range(3):
                add_customer(rows, f"customer-{number:04}", 1_000.0 - number)
        for role in (Role.ANALYST, Role.SENIOR):
            add_account(own.postgres_dsn, role.value, [role], by="test")
        yield own


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with serving(settings, OWN) as address:
        yield address


def rows(settings: Settings, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(settings.postgres_dsn, row_factory=dict_row) as connection:
        return connection.execute(query.encode()).fetchall()


def test_an_action_is_sent_by_the_relay_as_a_valid_message_and_comes_back_from_the_archive(settings: Settings) -> None:
    topic = Topic()

    async def call(services: Any, _: Any) -> None:  # noqa: ANN401 - the services of a process
        request = ActionRequest.model_validate(BLOCK)
        with pytest.raises(ApiError) as error:
            await services.accounts.act(SENIOR, 1, request, may_only_watch=True)
        assert error.value.status == 403
        account = await services.accounts.act(SENIOR, 1, request, may_only_watch=False)
        assert (account.risk, account.why) == ("blocked", BLOCK["reason"])
        assert [(item.is_sent, item.is_in_force) for item in account.actions] == [(False, True)]
        relay = Relay(services.database, Topic(), WebhookSender(), actions=topic)
        assert (await relay.send_labels(), await relay.send_actions(), await relay.send_actions()) == (0, 1, 0)
        with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
            messages = [row["payload"] for row in rows(settings, "SELECT payload::text FROM cases.outbox")]
            assert write_messages(connection, ARCHIVE_OF["user-actions"], messages) == []
        archived = await services.accounts.of_case(SENIOR, 1)
        assert [(item.is_sent, item.case_id) for item in archived.actions] == [(True, "1")]
        clear = ActionRequest(action=AccountAction.CLEAR, reason="the cardholder called")
        cleared = await services.accounts.act(SENIOR, 1, clear, may_only_watch=False)
        assert (cleared.risk, [item.is_in_force for item in cleared.actions]) == ("none", [False, False])
        with pytest.raises(ApiError) as missing:
            await services.accounts.act(SENIOR, 999, clear, may_only_watch=False)
        assert missing.value.status == 404

    with_services(settings, OWN, call)
    [payload] = topic.sent
    action = parse_action(orjson.dumps(payload), payload["issued_at_ms"])
    assert isinstance(action, UserAction)
    assert (action.customer_id, action.actor, action.case_id) == ("customer-0000", "user:senior", "1")
    events = rows(settings, "SELECT action, after FROM cases.events WHERE case_id = 1 ORDER BY event_id")
    assert [item["action"] for item in events] == ["account_block", "account_clear"]
    assert "customer_id" not in events[0]["after"]
    report = verify_reads(settings.postgres_dsn)
    assert (report.problem, report.rows > 0) == (None, True)


def test_a_key_needs_its_own_scope_for_more_than_watching(settings: Settings, url: str) -> None:
    reads = [Scope.CASES_READ, Scope.CASES_WRITE]
    keys = [
        create_key(settings.postgres_dsn, f"key-{number}", scopes, created_by="test")
        for number, scopes in enumerate((reads, [*reads, Scope.ACCOUNTS_WRITE]))
    ]
    analyst, senior = [client(url, {"Authorization": f"Bearer {key}"}) for key in keys]
    with analyst, senior:
        watch = analyst.post("/v1/cases/2/account", json={"action": "watch", "days": 7, "reason": "phishing"})
        assert (watch.status_code, watch.json()["risk"]) == (201, "watch")
        assert analyst.post("/v1/cases/2/account", json=BLOCK).status_code == 403
        assert senior.post("/v1/cases/2/account", json=BLOCK).json()["risk"] == "blocked"
        assert analyst.get("/v1/cases/2/account").json()["risk"] == "blocked"
        for wrong in (
            {**BLOCK, "days": 171}, {**BLOCK, "rule": "velocity"}, {**BLOCK, "action": "suppress"},
            {**BLOCK, "reason": "card 4111 1111 1111 1111"}, {"action": "allow", "reason": "no end"},
            {**BLOCK, "scope": "card"},
        ):  # fmt: skip
            assert senior.post("/v1/cases/2/account", json=wrong).status_code == 422
        one_card = {"action": "allow", "days": 7, "reason": "new card", "card": "4111 1111 1111 1111"}
        assert senior.post("/v1/cases/2/account", json={**one_card, "merchant": "Shop"}).status_code == 422
        allowed = senior.post("/v1/cases/2/account", json=one_card).json()
        assert allowed["risk"] == "blocked"
        assert [allowed["actions"][0][name] for name in ("scope", "card", "is_in_force")] == ["card", "*****11", True]
    (sent,) = rows(settings, "SELECT payload FROM cases.outbox WHERE payload ->> 'scope' = 'card'")
    assert isinstance(parse_action(orjson.dumps(sent["payload"]), sent["payload"]["issued_at_ms"]), UserAction)
    assert sent["payload"]["card"] == "****1111"


def test_the_case_page_offers_what_the_role_may_do(settings: Settings, url: str) -> None:
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute("UPDATE raw.decisions SET terminal = 'term-0017', card = 'tok_5c0f1e9a', ip = '192.0.2.17'")
    for name, text in (("analyst", "watch"), ("senior", "suppress")):
        with client(url, follow_redirects=True) as http:
            http.post("/console/login", data={"token": create_token(settings.postgres_dsn, name, by="test")})
            page = http.get("/console/cases/3").text
            assert ("<option>block</option>" in page) == (name == "senior")
            shown = ("tok_5c0f1e9a" in page, "192.0.2.17" in page, "to***9a" in page, "term-0017" in page)
            assert shown == ((True, True, False, True) if name == "senior" else (False, False, True, True))
            csrf = re.search(r'name="csrf" value="([^"]+)"', page)
            assert csrf is not None
            form = {"csrf": csrf[1], "action": text, "reason": f"by {name}", "days": "14", "merchant": ""}
            done = http.post("/console/cases/3/account", data={**form, "rule": "velocity"})
            assert done.status_code == 200
            assert f"by {name}" in done.text
            if name == "analyst":
                assert http.post("/console/cases/3/account", data={**form, "action": "block"}).status_code == 403
    assert "on its way" in done.text
    assert "Watched" in done.text
