"""The console in a real Chromium: the login at an OIDC server, a day's work by keyboard, and axe-core on every page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urljoin, urlsplit

import psycopg
import pytest
from playwright.sync_api import Browser, Page, Request, Route, expect, sync_playwright
from pydantic import SecretStr

from api.console.accounts import add_account, create_token
from api.console.roles import Role
from api.identity.settings import OidcSettings
from api.settings import ApiSettings
from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.local.stack import Stack
from flink_jobs.reports.charts import Series, line_chart, trend_chart
from flink_jobs.reports.pages import Section, answers_page, chart
from flink_jobs.settings import REPO_ROOT, Settings
from tests.integration.api_server import serving
from tests.integration.console_data import add_customer, console_database
from tests.integration.oidc_server import oidc_server, put_person

CHROMIUM: Final = shutil.which("chromium")
AXE: Final = REPO_ROOT / ".tools" / "axe" / "package" / "axe.min.js"
PAGES: Final = (
    "", "cases/1", "customers?id=customer-0001", "search?q=customer-0001", "feed", "dead-letters", "health", "rules",
    "models", "rules/propose", "rules/proposals/1",
)  # fmt: skip
pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: run `tests/lab/bootstrap.sh browser` as root"),
]


@pytest.fixture(scope="module")
def settings(database: Stack) -> Iterator[Settings]:
    """Yield the settings of a database with twelve open cases and one account."""
    with console_database(database.settings()) as own:
        with psycopg.connect(own.postgres_dsn) as rows:
            for number in range(12):
                add_customer(rows, f"customer-{number:04}", 1_000.0 + number, hop=("JP", 450.0))
        add_account(own.postgres_dsn, "ada", [Role.SENIOR, Role.RULES_EDITOR], by="test")
        add_account(own.postgres_dsn, "bob", [Role.APPROVER], by="test")
        yield own


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=90_000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with oidc_server() as address:
        yield address


@pytest.fixture(scope="module")
def login(settings: Settings, provider: str) -> Iterator[str]:
    """Yield an address that logs in once; the API serves until the end of the module."""
    (port,) = free_ports(1)
    oidc = OidcSettings(
        issuer=provider, client_id="console", client_secret=SecretStr("not used by the server"),
        public_url=f"http://{HOST}:{port}", provider_name="Test Bank", roles={"desk": Role.ANALYST},
    )  # fmt: skip
    own = ApiSettings(secure_cookie=False)
    with serving(settings, own, oidc, port=port) as url:
        yield f"{url}/console/login?token={create_token(settings.postgres_dsn, 'ada', by='test')}"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a report with charts and a wide table, which has the style of the console."""
    columns, days = [f"column {number}" for number in range(20)], [f"{day} Sep" for day in range(1, 29)]
    curve = line_chart("Recall", ("x", "y"), [Series("a", [0.0, 1.0], [0.0, 1.0]), Series("b", [0.0, 1.0], [1.0, 0.0])])
    charts = [chart("Alerts by day", trend_chart("Alerts by day", days, [1.0] * 28)), chart("Recall", curve)]
    sections = [Section("By day?", columns, [range(20)], charts), Section("By hour?", columns, [range(20)], (), "gold")]
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(answers_page("Card fraud", "A note.", sections), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def page(browser: Browser, login: str) -> Iterator[Page]:
    """Yield a page that is logged in; problems that the browser reports fail the test."""
    problems: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(90_000)
    opened = context.new_page()
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.goto(login)
    opened.keyboard.press("Enter")  # the button of the one-time login has the focus
    expect(opened.get_by_role("heading", name="Queue")).to_be_visible()
    yield opened
    context.close()
    assert problems == []


def press(page: Page, *keys: str) -> None:
    """Press keys, one after another, once the page has run its script: a key before that has no effect."""
    for key in keys:
        page.wait_for_load_state()
        page.keyboard.press(key)


def labels(settings: Settings) -> list[tuple[str, int]]:
    query = (
        "SELECT payload ->> 'label', count(*) FROM cases.outbox WHERE kind = 'label' AND cancelled_at IS NULL "
        "GROUP BY 1 ORDER BY 1"
    )
    with psycopg.connect(settings.postgres_dsn) as connection:
        return connection.execute(query).fetchall()


def test_ten_cases_are_decided_by_keyboard_and_their_labels_are_in_the_outbox(settings: Settings, page: Page) -> None:
    rows = page.locator("a.open")
    press(page, "j")
    expect(rows.nth(0)).to_be_focused()
    press(page, "j")
    press(page, "k")
    expect(rows.nth(0)).to_be_focused()
    press(page, "n")
    for number in range(10):
        expect(page.get_by_role("heading", level=1)).to_have_text(f"Case {12 - number}")
        if number == 0:
            press(page, "e")
            expect(page.locator("#features")).to_have_attribute("open", "")
            distance = page.get_by_role("img", name="Map: from Germany to Japan, about 9,050 km in 20.0 hours")
            expect(distance).to_be_visible()
            _keep_screenshot(page)
        press(page, "fgu"[number % 3])
        press(page, "n")
    expect(page.get_by_role("heading", level=1)).to_have_text("Case 2")
    assert labels(settings) == [("fraud", 4), ("genuine", 3)]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Case 3")
    assert labels(settings) == [("fraud", 3), ("genuine", 3)]


def _keep_screenshot(page: Page) -> None:
    """Write the picture of ``docs/analyst.md`` where the environment names a folder."""
    folder = os.environ.get("STREAMFLOW_SCREENSHOTS")
    if folder:
        press(page, "e")
        page.screenshot(
            path=Path(folder) / "console.png", clip={"x": 0, "y": 0, "width": 1280, "height": 1080}, full_page=True
        )
        page.locator("section", has=page.locator("#hop")).screenshot(path=Path(folder) / "console-hop.png")


def test_notes_are_added_without_leaving_the_page_and_the_keys_stay_out_of_texts(page: Page, login: str) -> None:
    page.goto(login.replace("login", "cases/1"))
    page.get_by_role("button", name="Claim this case").click()
    page.get_by_label("New note").fill("")
    page.get_by_label("New note").press_sequentially("n/?fgj")
    page.get_by_role("button", name="Add the note").click()
    expect(page.locator("#notes .body")).to_have_text("n/?fgj")
    press(page, "Escape")
    page.locator("h1").click()
    press(page, "?")
    expect(page.get_by_role("dialog")).to_be_visible()
    press(page, "Escape")
    press(page, "/")
    page.keyboard.type("customer-0004")
    press(page, "Enter")
    expect(page.locator("main")).to_contain_text("customer-0004")


def test_new_alerts_appear_in_the_feed_without_a_reload(settings: Settings, page: Page, login: str) -> None:
    page.goto(login.replace("login", "feed"))
    expect(page.get_by_role("status")).to_contain_text("Connected")
    with psycopg.connect(settings.postgres_dsn) as connection:
        add_customer(connection, "live-1", 1.0)
    expect(page.locator("#feed")).to_contain_text("live-1")


def test_a_rule_is_proposed_by_keyboard_and_approved_by_another_person(
    settings: Settings, browser: Browser, page: Page, login: str
) -> None:
    console = login.partition("login")[0]
    page.goto(f"{console}rules")
    page.get_by_role("link", name="Propose a change").press("Enter")
    page.get_by_label("Rule", exact=True).select_option("velocity")
    page.get_by_label("Fires from").press_sequentially("8")
    press(page, "Tab")
    press(page, "Tab")
    page.keyboard.type("holiday season")
    press(page, "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Proposal 1")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)  # it is one's own
    with browser.new_context() as context:
        context.set_default_timeout(90_000)
        other = context.new_page()
        token = create_token(settings.postgres_dsn, "bob", by="test")
        other.goto(f"{console}login?token={token}&next=%2Fconsole%2Frules")
        press(other, "Enter")
        expect(other.get_by_role("heading", level=1)).to_have_text("Rules")
        other.goto(f"{console}rules/propose")
        expect(other.get_by_role("heading", level=1)).not_to_contain_text("Propose")
        expect(other.locator("main")).to_contain_text("your roles do not allow this page")
        other.goto(f"{console}rules/proposals/1")
        other.get_by_label("Reason of the decision").fill("seen on history")
        other.get_by_role("button", name="Approve").press("Enter")
        expect(other.locator("main")).to_contain_text("approved by me: seen on history")


def test_a_person_logs_in_at_the_oidc_server_sees_the_page_that_was_asked_for_and_logs_out(
    browser: Browser, provider: str, login: str
) -> None:
    """Chromium also checks that the content security policy lets the logout lead to the OIDC server."""
    console, problems = login.partition("login")[0], list[str]()
    put_person(provider, "00u1", preferred_username="grace", name="Grace H.", groups=["desk"])
    with browser.new_context() as context:
        context.set_default_timeout(90_000)
        context.route(lambda url: urlsplit(url).hostname != HOST, _refused)  # the server's pages load a style of a CDN
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text) if console in str(message.location) else None)
        page.goto(f"{console}cases/2")
        page.get_by_role("link", name="Log in with Test Bank").press("Enter")
        page.get_by_placeholder("sub").fill("00u1")
        page.get_by_role("button", name="Authorize").press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("Case 2")
        assert {cookie["httpOnly"] for cookie in context.cookies(console)} == {True}
        page.get_by_role("button", name="Log out Grace H.").press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("End Session")
        page.get_by_role("button", name="End session").press("Enter")
        expect(page.get_by_role("link", name="Log in with Test Bank")).to_be_visible()
        page.goto(f"{console}cases/2")
        expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
        put_person(provider, "00u1", preferred_username="grace", name="Grace H.", groups=["other"])
        page.get_by_role("link", name="Log in with Test Bank").press("Enter")
        page.get_by_placeholder("sub").fill("00u1")
        press(page, "Enter")
        expect(page.locator("main")).to_contain_text("None of your groups")
    assert [text for text in problems if "403" not in text] == []


def _refused(route: Route, _: Request) -> None:
    route.abort()


@pytest.mark.skipif(not AXE.exists(), reason="no axe-core: run `tests/lab/bootstrap.sh browser`")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_problem_on_any_page(page: Page, login: str, report: str, scheme: str) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 1280 if scheme == "light" else 390, "height": 844})
    axe = AXE.read_text(encoding="utf-8")
    found = []
    for path in (*PAGES, report):
        page.goto(urljoin(login.partition("login")[0], path))
        result = page.evaluate(f"{axe}; axe.run(document, {{resultTypes: ['violations']}})")
        found += [(path, item["id"], item["nodes"][0]["html"]) for item in result["violations"]]
        width = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1], f"{path} scrolls sideways"
    assert found == []
