"""Login of people at a real OIDC server: the code flow, roles of groups, accounts, refusals, logout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api.console.accounts import add_account, create_token, disable_account
from api.console.roles import Role
from api.identity.settings import OidcSettings
from api.settings import ApiSettings
from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from tests.integration.api_server import LIMIT_S, client, serving
from tests.integration.console_data import console_database
from tests.integration.oidc_server import oidc_server, put_person

pytestmark = pytest.mark.stack
CSRF: Final = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
OWN: Final = ApiSettings(secure_cookie=False, case_work=False)


@pytest.fixture(scope="module")
def settings(database: Stack) -> Iterator[Settings]:
    with console_database(database.settings()) as own:
        add_account(own.postgres_dsn, "grace", [Role.VIEWER], by="test")
        yield own


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with oidc_server() as address:
        yield address


@pytest.fixture(scope="module")
def console(provider: str) -> Callable[..., tuple[OidcSettings, int]]:
    """Return a function that returns the settings of a login at the OIDC server, and the port for its console."""

    def made(**changes: object) -> tuple[OidcSettings, int]:
        (port,) = free_ports(1)
        values: dict[str, Any] = {
            "issuer": provider, "client_id": "console", "client_secret": SecretStr("not used by the server"),
            "public_url": f"http://{HOST}:{port}", "provider_name": "Test <Bank>",
            "roles": {"desk": Role.ANALYST, "leads": Role.SENIOR},
        }  # fmt: skip
        return OidcSettings(**(values | changes)), port

    return made


@pytest.fixture(scope="module")
def url(settings: Settings, console: Callable[..., tuple[OidcSettings, int]]) -> Iterator[str]:
    oidc, port = console()
    with serving(settings, OWN, oidc, port=port) as address:
        yield address


@pytest.fixture
def browser(url: str) -> Iterator[httpx.Client]:
    with client(url) as http:
        yield http


def at_provider(browser: httpx.Client, subject: str, target: str = "/console/") -> str:
    """Begin a login and authorize it at the OIDC server; return the address to which it sends the browser back."""
    begun = browser.get("/console/login/oidc", params={"next": target})
    assert begun.status_code == 303, begun.text
    answer = httpx.post(begun.headers["location"], data={"sub": subject}, timeout=LIMIT_S)
    assert answer.status_code == 302, answer.text
    return str(answer.headers["location"])


def log_in(browser: httpx.Client, subject: str, target: str = "/console/") -> httpx.Response:
    return browser.get(at_provider(browser, subject, target))


def account(settings: Settings, name: str) -> dict[str, Any]:
    with psycopg.connect(settings.postgres_dsn, row_factory=psycopg.rows.dict_row) as connection:
        found = connection.execute("SELECT * FROM api.accounts WHERE name = %s", (name,)).fetchone()
    assert found is not None
    return found


def test_a_person_gets_an_account_with_the_roles_of_the_groups_and_loses_them_with_the_groups(
    settings: Settings, provider: str, browser: httpx.Client
) -> None:
    page = browser.get("/console/", follow_redirects=True)
    assert "Log in with Test &lt;Bank&gt;" in page.text
    put_person(provider, "00u1", preferred_username="Ada.L@bank.example", name="Ada <L>", groups=["desk", "other"])
    answer = log_in(browser, "00u1", "/console/feed")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/feed")
    assert "Ada &lt;L&gt;" in browser.get("/console/").text
    made = account(settings, "ada.l")
    assert (made["roles"], made["oidc_issuer"], made["oidc_subject"]) == (["analyst"], provider, "00u1")

    put_person(provider, "00u1", preferred_username="other.name", name="Ada", groups=["leads"])
    log_in(browser, "00u1")
    assert account(settings, "ada.l")["roles"] == ["senior"], "the subject names the person, not the name"

    put_person(provider, "00u1", preferred_username="ada.l", groups=["other"])
    with client(str(browser.base_url)) as another:
        refused = log_in(another, "00u1")
        assert (refused.status_code, "None of your groups" in refused.text) == (403, True)
    assert browser.get("/console/").status_code == 303, "open sessions of the person ended"


def test_a_login_belongs_to_one_browser_and_is_finished_once(provider: str, browser: httpx.Client, url: str) -> None:
    put_person(provider, "00u2", preferred_username="joan", groups=["desk"])
    back = at_provider(browser, "00u2")
    with client(url) as another:
        assert another.get(back).status_code == 403, "the answer was sent to another browser"
    assert browser.get(back).status_code == 303
    assert browser.get(back).status_code == 403, "the answer was used before"
    wrong = at_provider(browser, "00u2").replace("state=", "state=x")
    assert browser.get(wrong).status_code == 403
    denied = browser.get("/console/login/oidc").headers["location"]
    state = httpx.URL(denied).params["state"]
    answer = browser.get("/console/login/callback", params={"error": "access_denied", "state": state})
    assert (answer.status_code, "was not completed" in answer.text) == (403, True)


def test_an_answer_for_another_login_is_refused(provider: str, browser: httpx.Client) -> None:
    """A code of one login in the answer to another: PKCE and the nonce do not fit."""
    put_person(provider, "00u3", preferred_username="eve", groups=["desk"])
    stolen = httpx.URL(at_provider(browser, "00u3")).params["code"]
    mine = httpx.URL(at_provider(browser, "00u3"))
    answer = browser.get(str(mine.copy_set_param("code", stolen)))
    assert (answer.status_code, "did not confirm" in answer.text) == (403, True)
    foreign = httpx.URL(at_provider(browser, "00u3")).copy_set_param("iss", "https://evil.example")
    assert browser.get(str(foreign)).status_code == 403


def test_an_existing_account_is_linked_only_where_the_settings_say_so(
    settings: Settings, provider: str, browser: httpx.Client, console: Callable[..., tuple[OidcSettings, int]]
) -> None:
    put_person(provider, "00u4", preferred_username="grace", groups=["desk"])
    refused = log_in(browser, "00u4")
    assert (refused.status_code, "belongs to someone else" in refused.text) == (403, True)
    oidc, port = console(link_accounts=True, password_login=False)
    with serving(settings, OWN, oidc, port=port) as url, client(url) as http:
        assert log_in(http, "00u4").status_code == 303
        assert account(settings, "grace")["roles"] == ["analyst"]
        assert 'type="password"' not in http.get("/console/login").text
        assert http.post("/console/login", data={"name": "grace", "password": "x"}).status_code == 403
        token = create_token(settings.postgres_dsn, "grace", by="test")
        assert http.post("/console/login", data={"token": token}).status_code == 303, "the way in without the server"
    with psycopg.connect(settings.postgres_dsn) as connection:
        rows = connection.execute(
            "SELECT actor, action FROM api.reads WHERE action LIKE 'console.account.%'"
        ).fetchall()
    assert ("user:grace", "console.account.linked") in rows
    disable_account(settings.postgres_dsn, "grace", by="test")
    disabled = log_in(browser, "00u4")
    assert (disabled.status_code, "disabled" in disabled.text) == (403, True)


def test_the_api_cannot_write_accounts_itself(settings: Settings) -> None:
    with psycopg.connect(settings.postgres_dsn_as("api"), autocommit=True) as api:
        for query in (
            "UPDATE api.accounts SET roles = ARRAY['admin']",
            "INSERT INTO api.accounts (name, display_name, roles, created_by) VALUES ('x', 'x', ARRAY['admin'], 'x')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                api.execute(query)


def test_the_logout_ends_the_session_here_and_leads_to_the_logout_of_the_server(
    provider: str, browser: httpx.Client, url: str
) -> None:
    put_person(provider, "00u5", preferred_username="mary", groups=["desk"])
    log_in(browser, "00u5")
    page = browser.get("/console/")
    assert f"form-action 'self' {provider}" in page.headers["content-security-policy"]
    token = CSRF.search(page.text)
    assert token is not None
    left = browser.post("/console/logout", data={"csrf": token[1]})
    address = httpx.URL(left.headers["location"])
    assert str(address).startswith(f"{provider}/")
    assert address.params["post_logout_redirect_uri"] == f"{url}/console/login"
    assert httpx.get(str(address), timeout=LIMIT_S).status_code == 200
    assert browser.get("/console/").status_code == 303


def test_without_the_server_the_login_page_answers_and_the_login_is_503(
    settings: Settings, console: Callable[..., tuple[OidcSettings, int]]
) -> None:
    (nothing,) = free_ports(1)
    oidc, port = console(issuer=f"http://{HOST}:{nothing}")
    with serving(settings, OWN, oidc, port=port) as url, client(url) as http:
        assert http.get("/console/login").status_code == 200
        assert http.get("/console/login/oidc").status_code == 503
