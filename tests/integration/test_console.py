"""The console on a real server and a real Postgres: login, sessions, forms, roles, headers, cases, privacy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import httpx
import psycopg
import pytest

from api.console.accounts import add_account, create_token, disable_account, revoke_sessions
from api.console.roles import Role
from api.settings import ApiSettings
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from tests.integration.api_server import LIMIT_S, client, serving
from tests.integration.console_data import add_customer, console_database

pytestmark = pytest.mark.stack
PASSWORD: Final = "correct horse battery"
CSRF: Final = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
VERSION: Final = re.compile(r'name="version" value="(\d+)"')


@pytest.fixture(scope="module")
def settings(database: Stack) -> Iterator[Settings]:
    """Yield the settings of a database of this module, with four cases and one account per role."""
    with console_database(database.settings()) as own:
        with psycopg.connect(own.postgres_dsn) as rows:
            for number in range(4):
                add_customer(rows, f"customer-{number:04}", 1_000.0 + number, "<script>Shop</script>")
        for role in Role:
            add_account(own.postgres_dsn, role.value, [role], by="test")
        add_account(own.postgres_dsn, "ada", [Role.ANALYST], by="test", password=PASSWORD, display_name="Ada <L>")
        yield own


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with serving(settings, ApiSettings(secure_cookie=False)) as address:
        yield address


@pytest.fixture
def visitor(url: str) -> Iterator[httpx.Client]:
    with client(url, follow_redirects=True) as http:
        yield http


@pytest.fixture
def person(settings: Settings, url: str) -> Iterator[Callable[[str], httpx.Client]]:
    """Yield a function that returns a browser in which an account is logged in."""
    open_clients: list[httpx.Client] = []

    def logged_in(name: str) -> httpx.Client:
        http = client(url, follow_redirects=True)
        open_clients.append(http)
        token = create_token(settings.postgres_dsn, name, by="test")
        http.post("/console/login", data={"token": token})
        assert "streamflow" in http.cookies
        return http

    yield logged_in
    for http in open_clients:
        http.close()


def fields(page: httpx.Response) -> dict[str, str]:
    """Return the hidden fields of a page's forms."""
    found = {"csrf": CSRF.search(page.text), "version": VERSION.search(page.text)}
    return {name: match[1] for name, match in found.items() if match}


def test_without_a_session_every_page_leads_to_the_login_and_back(visitor: httpx.Client) -> None:
    for path in ("/console/", "/console/cases/1?alert=x", "/"):
        page = visitor.get(path)
        assert page.url.path == "/console/login"
    assert visitor.get("/console/cases/1?alert=x").url.params["next"] == "/console/cases/1?alert=x"
    answer = visitor.get("/console/", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (401, "/console/login")


def test_a_password_logs_in_and_no_answer_says_which_names_exist(visitor: httpx.Client) -> None:
    wrong = [
        visitor.post("/console/login", data={"name": name, "password": password})
        for name, password in (
            ("ada", "wrong"),
            ("nobody", "wrong"),
            ("analyst", PASSWORD),
            ("", ""),
            ("ada", "x" * 500),
        )
    ]
    assert {answer.status_code for answer in wrong} == {401}
    assert len({answer.text for answer in wrong}) == 1
    page = visitor.post("/console/login", data={"name": "ada", "password": PASSWORD, "next": "//evil.example/"})
    assert page.url.path == "/console/"
    assert "Ada &lt;L&gt;" in page.text


def test_many_wrong_passwords_block_the_account_for_this_address_only(visitor: httpx.Client) -> None:
    for _ in range(5):
        visitor.post("/console/login", data={"name": "target", "password": "wrong"})
    answer = visitor.post("/console/login", data={"name": "target", "password": "wrong"})
    assert (answer.status_code, "Wait one minute" in answer.text) == (429, True)


def test_a_one_time_login_works_once_and_only_by_its_button(settings: Settings, visitor: httpx.Client) -> None:
    token = create_token(settings.postgres_dsn, "analyst", by="test")
    for _ in range(2):  # a preview of the link uses nothing up
        assert token in visitor.get("/console/login", params={"token": token}).text
    assert visitor.post("/console/login", data={"token": token}).url.path == "/console/"
    visitor.cookies.clear()
    assert visitor.post("/console/login", data={"token": token}).status_code == 401
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute("UPDATE api.login_tokens SET used_at = NULL, expires_at = now()")
    assert visitor.post("/console/login", data={"token": token}).status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(settings: Settings, url: str) -> None:
    token = create_token(settings.postgres_dsn, "analyst", by="test")
    cookie = httpx.post(f"{url}/console/login", data={"token": token}, timeout=LIMIT_S).headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    with serving(settings, ApiSettings()) as secure:
        token = create_token(settings.postgres_dsn, "analyst", by="test")
        answer = httpx.post(f"{secure}/console/login", data={"token": token}, timeout=LIMIT_S)
        assert answer.headers["set-cookie"].startswith("__Host-streamflow=")
        assert "Secure" in answer.headers["set-cookie"].split("; ")
        assert "max-age" in answer.headers["strict-transport-security"]


def test_a_session_ends_by_logout_by_revocation_by_age_and_when_the_account_is_disabled(
    settings: Settings, person: Callable[[str], httpx.Client]
) -> None:
    def is_open(http: httpx.Client) -> bool:
        return http.get("/console/").url.path == "/console/"

    http = person("analyst")
    copy = dict(http.cookies)
    assert http.post("/console/logout", data={"csrf": "0" * 64}).status_code == 403
    http.post("/console/logout", data=fields(http.get("/console/")))
    http.cookies.update(copy)  # a stolen copy of the cookie
    assert not is_open(http)

    http = person("analyst")
    assert revoke_sessions(settings.postgres_dsn, "analyst", by="test") >= 1
    assert not is_open(http)

    for change in ("expires_at = now()", "last_seen_at = now() - interval '61 minutes'"):
        http = person("analyst")
        with psycopg.connect(settings.postgres_dsn) as connection:
            connection.execute(f"UPDATE api.sessions SET {change}".encode())  # noqa: S608
        assert not is_open(http)

    add_account(settings.postgres_dsn, "leaver", [Role.ANALYST], by="test")
    http = person("leaver")
    disable_account(settings.postgres_dsn, "leaver", by="test")
    assert not is_open(http)


def test_a_form_needs_the_token_of_its_session_and_its_own_site(person: Callable[[str], httpx.Client]) -> None:
    http = person("analyst")
    csrf = fields(http.get("/console/"))
    other = fields(person("analyst").get("/console/"))
    for data, headers in (
        ({}, {}),
        (other, {}),
        (csrf, {"Origin": "https://evil.example"}),
        (csrf, {"Sec-Fetch-Site": "cross-site"}),
    ):
        answer = http.post("/console/cases/next", data=data or {"x": "1"}, headers=headers)
        assert answer.status_code == 403
    answer = http.post("/console/login", data={"token": "x"}, headers={"Sec-Fetch-Site": "same-site"})
    assert answer.status_code == 403
    assert http.post("/console/cases/next", json=csrf).status_code == 422


def test_every_answer_forbids_inline_code_frames_and_caching(visitor: httpx.Client) -> None:
    for path in ("/console/login", "/console/missing", "/console/assets/console.js", "/console/"):
        headers = visitor.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
    address = re.search(r'src="(/console/assets/console.js\?v=\w+)"', visitor.get("/console/login").text)
    assert address is not None
    assert "immutable" in visitor.get(address[1]).headers["cache-control"]


@pytest.mark.parametrize(
    ("role", "queue", "claim"),
    [("viewer", 403, 403), ("analyst", 200, 200), ("senior", 200, 200), ("auditor", 200, 403), ("admin", 403, 403)],
)
def test_a_role_opens_its_pages_only(person: Callable[[str], httpx.Client], role: str, queue: int, claim: int) -> None:
    http = person(role)
    page = http.get("/console/")
    assert page.status_code == queue
    assert http.get("/console/health").status_code == 200
    assert http.post("/console/cases/next", data=fields(page)).status_code == claim


def test_an_analyst_sees_customers_of_own_cases_only_and_all_text_is_escaped(
    person: Callable[[str], httpx.Client], settings: Settings
) -> None:
    with psycopg.connect(settings.postgres_dsn) as connection:
        number = add_customer(connection, "customer-4711", 9_000.0, "<script>Shop</script>")
    http = person("analyst")
    page = http.get(f"/console/cases/{number}")
    assert "customer-4711" not in http.get("/console/").text
    assert "customer-4711" not in page.text.replace("customer-4711-alert", "")
    page = http.post(f"/console/cases/{number}/claim", data=fields(page))
    assert "customer-4711" in page.text
    assert "usual: 18.00 EUR (median)" in page.text
    assert "&lt;script&gt;Shop" in page.text
    assert "<script>Shop" not in page.text
    assert "customer-4711" in person("auditor").get(f"/console/cases/{number}").text


def test_a_verdict_becomes_labels_in_the_outbox_and_can_be_undone(
    person: Callable[[str], httpx.Client], settings: Settings
) -> None:
    with psycopg.connect(settings.postgres_dsn) as connection:
        number = add_customer(connection, "customer-0815", 50_000.0)
    http = person("senior")
    page = http.post("/console/cases/next", data=fields(http.get("/console/")))
    assert page.url.path == f"/console/cases/{number}"
    stale = fields(page) | {"verdict": "fraud", "reason": "customer denies"}
    assert http.post(f"/console/cases/{number}/verdict", data=stale | {"version": "1"}).status_code == 412
    page = http.post(f"/console/cases/{number}/verdict", data=stale)
    assert "is closed as fraud" in page.text
    query = (
        "SELECT payload ->> 'label', payload ->> 'labelled_by', cancelled_at IS NULL FROM cases.outbox "
        "WHERE case_id = %s AND kind = 'label'"
    )
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        assert connection.execute(query, (number,)).fetchall() == [("fraud", "user:senior", True)]
        undo = fields(page) | {"version": page.url.params["version"]}
        page = http.post(f"/console/cases/{number}/undo", data=undo)
        assert "claimed" in page.text
        assert connection.execute(query, (number,)).fetchall() == [("fraud", "user:senior", False)]
    assert http.post(f"/console/cases/{number}/undo", data=undo).status_code == 412


def test_a_case_takes_notes_and_can_be_snoozed_and_returned(person: Callable[[str], httpx.Client]) -> None:
    http = person("senior")
    page = http.get("/console/cases/1")
    page = http.post("/console/cases/1/claim", data=fields(page))
    page = http.post("/console/cases/1/notes", data=fields(page) | {"body": "Called <b>twice</b>."})
    assert "Called &lt;b&gt;twice&lt;/b&gt;." in page.text
    refused = http.post("/console/cases/1/notes", data=fields(page) | {"body": "card 4111 1111 1111 1111"})
    assert (refused.status_code, "contains a card number" in refused.text) == (422, True)
    assert http.post("/console/cases/1/snooze", data=fields(page) | {"hours": "9"}).status_code == 422
    page = http.post("/console/cases/1/snooze", data=fields(page) | {"hours": "4"})
    assert "Snoozed until" in page.text
    page = http.post("/console/cases/1/claim", data=fields(page))
    page = http.post("/console/cases/1/release", data=fields(page))
    assert ">open<" in page.text
    assert http.get("/console/cases/999").status_code == 404


def test_reads_of_cases_are_in_the_audit_under_the_name_of_the_person(
    person: Callable[[str], httpx.Client], settings: Settings
) -> None:
    answer = person("auditor").get("/console/cases/2")
    with psycopg.connect(settings.postgres_dsn) as connection:
        found = connection.execute(
            "SELECT actor, customer_id, action FROM api.reads WHERE request_id = %s", (answer.headers["x-request-id"],)
        ).fetchall()
    reads = ("cases.account", "cases.get", "cases.links")
    assert sorted(found) == [("user:auditor", "customer-0001", read) for read in reads]
