"""Changes of the rules by two persons, on a real Postgres: propose, approve, refuse, send, roles, stale proposals."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

import httpx
import psycopg
import pytest

from api.cases import outbox
from api.cases.outbox import Message
from api.console.accounts import add_account
from api.console.roles import Role
from api.database import Database
from api.jobs import store, worker
from api.jobs.worker import JobWorker
from api.rules.sender import ProposalSender
from api.settings import ApiSettings
from flink_jobs.core.control.messages import ControlMessage, parse_control
from flink_jobs.core.features.table import FEATURES
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from tests.integration.api_server import Person, patient, people
from tests.integration.console_data import add_customer, console_database

pytestmark = pytest.mark.stack
CSRF: Final = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
VELOCITY: Final = {"kind": "rule", "rule": "velocity", "threshold": "8", "reason": "holiday season"}
APPLIED: Final = """
    INSERT INTO ops.control_audit (control_id, schema_version, revision, outcome, detail, issued_by, issued_at_ms,
        reason, applied_at_ms, changes)
    SELECT %(id)s, 1, 1 + coalesce(max(revision), 0), 'applied', '', 'user:x', 1, 'r', 1000 + count(*), %(changes)s
    FROM ops.control_audit
"""


@pytest.fixture(scope="module")
def settings(database: Stack) -> Iterator[Settings]:
    with console_database(database.settings()) as own:
        for role in Role:
            add_account(own.postgres_dsn, role.value, [role], by="test")
        add_account(own.postgres_dsn, "both", [Role.RULES_EDITOR, Role.APPROVER], by="test")
        yield own


@pytest.fixture(scope="module")
def person(settings: Settings) -> Iterator[Person]:
    """Yield a function that returns a browser in which an account is logged in; the API sends nothing itself."""
    with people(settings, ApiSettings(secure_cookie=False, case_work=False)) as logged_in:
        yield logged_in


def send(http: httpx.Client, path: str, **values: str) -> httpx.Response:
    """Send a form with the token of the session."""
    csrf = CSRF.search(http.get("/console/rules").text)
    assert csrf is not None
    return http.post(f"/console/rules/{path}", data={"csrf": csrf[1], **values})


def proposed(http: httpx.Client, **values: str) -> int:
    answer = send(http, "proposals", **values)
    assert answer.status_code == 200, answer.text
    return int(answer.url.path.rpartition("/")[2])


def apply(settings: Settings, control_id: str, changes: dict[str, Any]) -> None:
    """Add the audit record of a control message, as the archive does."""
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute(APPLIED, {"id": control_id, "changes": json.dumps(changes)})


class Kafka:
    """Fails once, then accepts."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, messages: Sequence[Message]) -> dict[str, str | None]:
        self.sent += messages
        return {message.outbox_id: "_TRANSPORT" if len(self.sent) == 1 else None for message in messages}


T = TypeVar("T")


def with_database(settings: Settings, call: Callable[[Database], Awaitable[T]]) -> T:
    async def run() -> T:
        database = Database(settings.postgres_dsn_as("api"), patient(ApiSettings()))
        await database.open()
        try:
            return await call(database)
        finally:
            await database.close()

    return asyncio.run(run())


def relay(settings: Settings, kafka: Kafka) -> bool:
    return with_database(settings, lambda database: ProposalSender(database, kafka).send_next())


def is_waiting(settings: Settings) -> bool:
    """Return whether the gauge of the alert ``OutboxTooOld`` shows an approved proposal that is not sent."""
    ages, _ = with_database(settings, outbox.state)
    return ages[outbox.PROPOSAL] > 0


def test_an_approved_proposal_is_sent_with_one_id_until_kafka_has_it_and_the_page_shows_each_step(
    settings: Settings, person: Person
) -> None:
    number = proposed(person("rules-editor"), **VELOCITY)
    page = person("viewer").get(f"/console/rules/proposals/{number}").text
    assert '<span class="tag">proposed</span>' in page
    assert re.search(r"velocity: fires from</td><td>5</td><td>8<", page)
    kafka = Kafka()
    assert not relay(settings, kafka)
    assert kafka.sent == []
    assert not is_waiting(settings)
    answer = send(person("approver"), f"proposals/{number}/approve", reason="seen in the backtest")
    assert '<span class="tag">approved</span>' in answer.text
    assert answer.status_code == 200
    assert not relay(settings, kafka)
    assert is_waiting(settings)
    assert "1 attempts: _TRANSPORT" in person("viewer").get(f"/console/rules/proposals/{number}").text
    with psycopg.connect(settings.postgres_dsn) as connection:
        connection.execute("UPDATE api.proposals SET not_before = now() WHERE sent_at IS NULL AND status = 'approved'")
    assert relay(settings, kafka)
    assert not relay(settings, kafka)
    assert not is_waiting(settings)
    first, second = kafka.sent
    assert (first.outbox_id, first.payload) == (second.outbox_id, second.payload)
    message = parse_control(json.dumps(second.payload).encode())
    assert isinstance(message, ControlMessage)
    assert message.changes == {"rules": {"velocity": {"threshold": 8.0}}}
    assert (message.issued_by, message.expected_revision) == ("user:rules-editor, approved by user:approver", 0)
    assert '<span class="tag">sent</span>' in person("viewer").get(f"/console/rules/proposals/{number}").text

    other = proposed(person("rules-editor"), kind="score", alert_threshold="0.5", reason="fewer alerts")
    waits = send(person("approver"), f"proposals/{other}/approve", reason="yes")
    assert (waits.status_code, f"proposal {number} is approved" in waits.text) == (409, True)
    apply(settings, second.outbox_id, dict(message.changes))
    assert '<span class="tag">in force</span>' in person("viewer").get(f"/console/rules/proposals/{number}").text

    stale = send(person("approver"), f"proposals/{other}/approve", reason="yes")
    assert stale.status_code == 409
    assert "revision 1 is in force, the proposal is for revision 0" in stale.text
    assert '<span class="tag">stale</span>' in person("approver").get(f"/console/rules/proposals/{other}").text
    refused = send(person("approver"), f"proposals/{other}/refuse", reason="propose it again")
    assert '<span class="tag">refused</span>' in refused.text
    assert send(person("approver"), f"proposals/{other}/refuse", reason="again").status_code == 409
    with psycopg.connect(settings.postgres_dsn) as connection:
        rows = connection.execute(
            "SELECT actor, action, detail FROM api.reads WHERE action LIKE 'rules.%%' ORDER BY read_id"
        ).fetchall()
    assert [row[:2] for row in rows] == [
        ("user:rules-editor", "rules.proposed"), ("user:approver", "rules.approved"),
        ("user:rules-editor", "rules.proposed"), ("user:approver", "rules.refused"),
    ]  # fmt: skip
    assert second.outbox_id in rows[1][2]


def test_nobody_approves_an_own_proposal_and_other_roles_change_nothing(person: Person) -> None:
    number = proposed(person("both"), **VELOCITY | {"threshold": "9"})
    own = send(person("both"), f"proposals/{number}/approve", reason="mine")
    assert (own.status_code, "you proposed this change" in own.text) == (403, True)
    for name in ("viewer", "analyst", "senior", "auditor", "admin", "rules-editor"):
        assert send(person(name), f"proposals/{number}/approve", reason="x").status_code == 403
        assert send(person(name), f"proposals/{number}/refuse", reason="x").status_code == 403
    for name in ("viewer", "analyst", "senior", "auditor", "admin", "approver"):
        assert send(person(name), "proposals", **VELOCITY).status_code == 403
        assert person(name).get("/console/rules/propose").status_code == 403
    assert send(person("rules-editor"), f"proposals/{number}/withdraw").status_code == 403
    assert '<span class="tag">withdrawn</span>' in send(person("both"), f"proposals/{number}/withdraw").text
    assert person("viewer").get("/console/rules/proposals/999").status_code == 404


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            "status = 'approved', decided_by = 'user:both', control_id = 'c', message = '{}', not_before = now()",
            "person",
        ),
        ("status = 'refused', decided_by = 'user:admin'", "only an approver"),
        ("status = 'withdrawn', decided_by = 'user:approver'", "withdraws"),
        ("changes = '{}'", "final"),
    ],
)
def test_the_database_itself_refuses_a_wrong_decision(
    settings: Settings, person: Person, change: str, why: str
) -> None:
    number = proposed(person("both"), **VELOCITY | {"threshold": "9"})
    decided = f"UPDATE api.proposals SET {change}, decided_at = now(), decision_reason = 'r' WHERE proposal_id = %s"  # noqa: S608
    with (
        psycopg.connect(settings.postgres_dsn_as("api")) as connection,
        pytest.raises(
            (psycopg.errors.CheckViolation, psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)
        ) as found,
    ):
        connection.execute(decided.encode(), (number,))
    assert why in str(found.value)


def test_a_decision_is_final_and_no_proposal_is_deleted(settings: Settings, person: Person) -> None:
    number = proposed(person("both"), **VELOCITY | {"threshold": "9"})
    send(person("approver"), f"proposals/{number}/refuse", reason="no")
    for text in (
        "UPDATE api.proposals SET decision_reason = 'other' WHERE proposal_id = %s",
        "DELETE FROM api.proposals WHERE proposal_id = %s",
    ):
        with psycopg.connect(settings.postgres_dsn) as connection, pytest.raises(psycopg.errors.RaiseException):
            connection.execute(text.encode(), (number,))


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (VELOCITY | {"threshold": "x"}, "not a number"),
        (VELOCITY | {"threshold": ""}, "is empty"),
        (VELOCITY | {"rule": "nothing"}, "unknown fields"),
        (VELOCITY | {"weight": "2"}, "from 0 to 1"),
        (VELOCITY | {"reason": " "}, "reason"),
        (VELOCITY | {"reason": "card 4111 1111 1111 1111"}, "card number"),
        ({"kind": "rule", "rule": "velocity", "weight": "0.35", "reason": "r"}, "in force already"),
        ({"kind": "score", "reason": "r"}, "is empty"),
        ({"kind": "blacklist", "listed": "country", "action": "add", "entries": "UK", "reason": "r"}, "write GB"),
        ({"kind": "blacklist", "listed": "merchant", "action": "remove", "entries": "A", "reason": "r"}, "not listed"),
        ({"kind": "blacklist", "listed": "card", "action": "add", "entries": "A", "reason": "r"}, "kind of entry"),
        ({"kind": "model", "reason": "r"}, "no kind"),
    ],
)
def test_a_change_that_the_detector_would_reject_is_not_stored(person: Person, form: dict[str, str], why: str) -> None:
    answer = send(person("rules-editor"), "proposals", **form)
    assert (answer.status_code, why in answer.text) == (422, True), answer.text


def test_customers_on_a_blacklist_are_masked_for_others_and_the_read_is_recorded(
    settings: Settings, person: Person
) -> None:
    values = {"kind": "blacklist", "listed": "customer", "action": "add", "entries": "customer-0017\n", "reason": "r"}
    number = proposed(person("rules-editor"), **values)
    assert "customer-0017" in person("approver").get(f"/console/rules/proposals/{number}").text
    for path in (f"/console/rules/proposals/{number}", "/console/rules"):
        page = person("viewer").get(path).text
        assert ("customer-0017" in page, "cu***17" in page) == (False, True)
    with psycopg.connect(settings.postgres_dsn) as connection:
        found = connection.execute("SELECT DISTINCT actor FROM api.reads WHERE action = 'rules.read'").fetchall()
    assert ("user:approver",) in found


def run_job(settings: Settings, *, is_stopped: bool = False) -> None:
    """Run the job that waits; stop the worker as soon as the job reports progress, if ``is_stopped``."""

    async def run() -> None:
        database = Database(settings.postgres_dsn_as("api"), patient(ApiSettings()))
        await database.open()
        job = await store.take(database)
        assert job is not None
        assert await store.take(database) is None  # one at a time
        running = asyncio.create_task(JobWorker(database)._run(job))
        while is_stopped and not running.done():
            found = await store.get(database, job.job_id)
            if found is not None and found["done"]:
                running.cancel()
            await asyncio.sleep(0.05)
        await asyncio.gather(running, return_exceptions=is_stopped)
        await database.close()

    asyncio.run(run())


def test_a_what_if_scores_recorded_decisions_again_with_the_change(
    settings: Settings, database: Stack, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFLOW_HOME", str(database.home.root))
    monkeypatch.setenv("STREAMFLOW_POSTGRES_DATABASE", settings.postgres_database)
    with psycopg.connect(settings.postgres_dsn) as connection:
        add_customer(connection, "customer-0001", 1.0)
        features = json.dumps({spec.name: spec.neutral for spec in FEATURES} | {"velocity_count": 6.0})
        connection.execute("UPDATE raw.decisions SET features = %s", (features,))
    number = proposed(person("rules-editor"), kind="score", alert_threshold="0.95", reason="fewer alerts")
    assert send(person("viewer"), f"proposals/{number}/what-if", days="30").status_code == 403
    assert send(person("approver"), f"proposals/{number}/what-if", days="31").status_code == 422
    page = send(person("approver"), f"proposals/{number}/what-if", days="30").text
    assert "Waiting" in page
    assert 'hx-trigger="every 2s"' in page
    run_job(settings)
    page = person("viewer").get(f"/console/rules/proposals/{number}").text
    assert "31 decisions of 30 days" in page, page
    assert re.search(r'as recorded</td><td class="n">1</td>', page)
    assert re.search(r'lost</td><td class="n">1</td>', page)


@pytest.mark.parametrize(
    ("script", "is_stopped", "state"),
    [
        (
            'import time; print(\'{"done": 1, "total": 2}\', flush=True); time.sleep(600)',
            True,
            "Cancelled: the API was",
        ),
        ("raise SystemExit(1)", False, "Failed: its process ended"),
        ('print(\'{"error": "no decision"}\')', False, "Failed: no decision"),
    ],
)
def test_a_job_that_is_stopped_or_fails_says_so(
    settings: Settings,
    person: Person,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    is_stopped: bool,  # noqa: FBT001
    state: str,
) -> None:
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", script))
    number = proposed(person("rules-editor"), **VELOCITY | {"threshold": "9"})
    send(person("rules-editor"), f"proposals/{number}/what-if", days="1")
    run_job(settings, is_stopped=is_stopped)
    assert state in person("viewer").get(f"/console/rules/proposals/{number}").text
