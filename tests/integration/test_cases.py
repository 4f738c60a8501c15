"""Cases on a real Postgres: alerts that join, claims by two analysts, stale edits, verdicts, undo and the relay."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

from api.cases import outbox, store
from api.cases.documents import Case, CaseChange, Order, Status, Verdict, VerdictRequest
from api.cases.opening import Opener
from api.cases.outbox import MOST_ALERTS, Kind, Message
from api.cases.outbox_watch import OutboxWatch
from api.cases.relay import WEBHOOK_ATTEMPTS, Relay
from api.cases.store import QueueFilter
from api.cases.viewer import Viewer
from api.cases.webhook_admin import add_webhook, dead_messages, disable_webhook, list_webhooks, retry_dead
from api.cases.webhooks import WebhookSender, signature
from api.errors import ApiError
from api.keys import Scope, create_key
from api.reads import verify_reads
from api.services import Services
from api.settings import ApiSettings
from flink_jobs.core.label import label_problem
from flink_jobs.errors import UserError
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.integration.api_server import client, serving
from tests.integration.case_database import ADA, BOB, START_MS, add_alert, add_decision, own_database, with_services

pytestmark = pytest.mark.stack
OWN = ApiSettings(case_work=False)
NO_UNDO = ApiSettings(case_work=False, case_undo_s=0)
NOTHING = dict.fromkeys([*map(str, Kind), outbox.PROPOSAL], 0.0)
FRAUD = VerdictRequest(verdict=Verdict.FRAUD, reason="the cardholder denies it")


@pytest.fixture(scope="module")
def server(database: Stack) -> Iterator[Settings]:
    with own_database(database.settings(), "cases") as settings:
        yield settings


@pytest.fixture
def settings(server: Settings) -> Settings:
    """Return the settings of the module's database, without cases and alerts."""
    with psycopg.connect(server.postgres_dsn, autocommit=True) as connection:
        for name in ("events", "notes"):
            connection.execute(f"ALTER TABLE cases.{name} DISABLE TRIGGER USER")
        connection.execute("TRUNCATE cases.cases, cases.webhooks, raw.alerts, raw.decisions RESTART IDENTITY CASCADE")
        for name in ("events", "notes"):
            connection.execute(f"ALTER TABLE cases.{name} ENABLE TRIGGER USER")
    return server


def rows(settings: Settings, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(settings.postgres_dsn, row_factory=dict_row, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


async def opened(services: Services, opener: Opener, viewer: Viewer = ADA) -> list[Case]:
    await opener.round()
    return (await services.cases.queue(viewer)).cases


def refused(error: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return error.value.status, error.value.code


class Labels:
    """Accepts labels as Kafka does, or answers with an error."""

    def __init__(self, error: str | None = None) -> None:
        self.error = error
        self.sent: list[str] = []

    def send(self, messages: Sequence[Message]) -> dict[str, str | None]:
        if self.error is None:
            self.sent += [message.payload["label_id"] for message in messages]
            assert all(label_problem(orjson.dumps(message.payload)) is None for message in messages)
        return {message.outbox_id: self.error for message in messages}


def test_alerts_open_one_case_per_customer_and_two_processes_open_none_twice(settings: Settings) -> None:
    for number in range(3):
        add_alert(settings, "customer-1", number)
    add_alert(settings, "customer-2", 0, amount=500_000, score=0.9)
    add_alert(settings, "customer-3", 0, amount=5_000, currency="JPY")

    async def call(services: Services, opener: Opener) -> None:
        other = Opener(services.database, OWN)
        assert sum(await asyncio.gather(opener.round(), other.round())) == 5
        assert await opener.round() == 0
        first = (await services.cases.queue(ADA)).cases
        assert [(case.customer_id, case.priority, case.alert_count) for case in first] == [
            ("customer-2", 4_500.0, 1), ("customer-3", 2_500.0, 1), ("customer-1", 150.0, 3),
        ]  # fmt: skip
        sla = [(case.due_at - case.opened_at).total_seconds() / 60 for case in first]
        assert sla == [OWN.case_urgent_sla_minutes, OWN.case_urgent_sla_minutes, OWN.case_sla_minutes]
        add_alert(settings, "customer-1", 3, amount=1_000_000)
        assert await opener.round() == 1
        again = (await services.cases.queue(ADA)).cases
        assert (again[0].case_id, again[0].priority, again[0].alert_count) == (first[2].case_id, 5_150.0, 4)
        detail = await services.cases.get(ADA, first[2].case_id)
        assert [event.action for event in detail.events] == ["opened", "alerts_joined"]
        assert len(detail.alerts) == 4

    with_services(settings, OWN, call)


def test_an_alert_that_the_archive_wrote_again_changes_its_case(settings: Settings) -> None:
    add_alert(settings, "customer-1", 0)

    async def call(services: Services, opener: Opener) -> None:
        await opener.round()
        rows(settings, "UPDATE raw.alerts SET score = 0.8")
        assert await opener.round() == 1
        (case,) = (await services.cases.queue(ADA)).cases
        assert (case.priority, case.alert_count) == (80.0, 1)

    with_services(settings, OWN, call)


def test_the_expected_loss_of_an_alert_ranks_its_case(settings: Settings) -> None:
    add_alert(settings, "customer-1", 0)
    rows(settings, "UPDATE raw.alerts SET fraud_probability = 0.1234, expected_loss_minor = 1234")

    async def call(services: Services, opener: Opener) -> None:
        await opener.round()
        (case,) = (await services.cases.queue(ADA)).cases
        assert case.priority == 12.34
        assert await services.cases.probabilities([case]) == {case.case_id: 0.1234}
        rows(settings, "UPDATE raw.alerts SET fraud_probability = 0.5, expected_loss_minor = 5000")
        assert await opener.round() == 1
        (case,) = (await services.cases.queue(ADA)).cases
        assert (case.priority, await services.cases.probabilities([case])) == (50.0, {case.case_id: 0.5})
        assert (await services.cases.get(ADA, case.case_id)).alerts[0].fraud_probability == 0.5

    with_services(settings, OWN, call)


def test_two_analysts_get_two_cases_while_neither_has_committed(settings: Settings) -> None:
    for number in range(2):
        add_alert(settings, f"customer-{number}", 0, amount=1_000 * (number + 1))

    async def call(services: Services, opener: Opener) -> None:
        await opener.round()
        async with (
            services.database.connection() as one, one.transaction(),
            services.database.connection() as two, two.transaction(),
        ):  # fmt: skip
            first, second = await store.next_open(one, ADA), await store.next_open(two, BOB)
            assert first is not None
            assert second is not None
            assert (first["customer_id"], second["customer_id"]) == ("customer-1", "customer-0")
        claimed = await asyncio.gather(*(services.cases.claim_next(viewer) for viewer in (ADA, BOB, ADA)))
        assert sorted(case.case_id for case in claimed if case) == sorted([first["case_id"], second["case_id"]])
        assert await services.cases.claim_next(BOB) is None

    with_services(settings, OWN, call)


def test_of_two_edits_of_one_version_one_is_refused(settings: Settings) -> None:
    add_alert(settings, "customer-1", 0)

    async def call(services: Services, opener: Opener) -> None:
        (case,) = await opened(services, opener)
        edits = [
            services.cases.change(viewer, case.case_id, case.version, CaseChange(assignee=viewer.actor))
            for viewer in (ADA, BOB)
        ]
        done = await asyncio.gather(*edits, return_exceptions=True)
        (edited,) = (item for item in done if isinstance(item, Case))
        (error,) = (item for item in done if isinstance(item, ApiError))
        assert (error.status, error.code) == (412, "version_stale")
        detail = await services.cases.get(ADA, case.case_id)
        assert (detail.case.assignee, detail.case.version) == (edited.assignee, case.version + 1)
        assert detail.events[-1].before == {"status": "open", "assignee": None}

    with_services(settings, OWN, call)


def test_a_snoozed_case_returns_at_its_time_or_with_a_new_alert(settings: Settings) -> None:
    for customer in ("customer-1", "customer-2"):
        add_alert(settings, customer, 0)

    async def call(services: Services, opener: Opener) -> None:
        for case in await opened(services, opener):
            change = CaseChange.model_validate({"status": "snoozed", "snoozed_until": "2199-01-01T00:00:00Z"})
            await services.cases.change(ADA, case.case_id, case.version, change)
        assert await services.cases.claim_next(ADA) is None
        assert await opener.wake() == 0
        add_alert(settings, "customer-1", 1)
        assert await opener.round() == 1
        joined = await services.cases.claim_next(ADA)
        assert joined is not None
        assert (joined.customer_id, joined.snoozed_until) == ("customer-1", None)
        rows(settings, "UPDATE cases.cases SET snoozed_until = now() WHERE status = 'snoozed'")
        assert await opener.wake() == 1
        woken = await services.cases.claim_next(ADA)
        assert woken is not None
        assert woken.customer_id == "customer-2"

    with_services(settings, OWN, call)


def test_a_verdict_closes_the_case_and_its_labels_are_sent_after_the_time_to_undo(settings: Settings) -> None:
    sent = {add_alert(settings, "customer-1", number) for number in range(2)}
    labels = Labels()

    async def call(services: Services, opener: Opener) -> None:
        relay = Relay(services.database, labels, WebhookSender())
        (case,) = await opened(services, opener)
        closed = await services.cases.give_verdict(ADA, case.case_id, case.version, FRAUD)
        assert (closed.status, closed.verdict, closed.assignee) == (Status.CLOSED, Verdict.FRAUD, ADA.actor)
        assert await relay.send_labels() == 0
        rows(settings, "UPDATE cases.outbox SET not_before = now()")
        assert await relay.send_labels() == 2
        assert await relay.send_labels() == 0
        with pytest.raises(ApiError) as error:
            await services.cases.undo_verdict(ADA, case.case_id, closed.version)
        assert refused(error) == (409, "verdict_final")

    with_services(settings, OWN, call)
    kept = rows(settings, "SELECT payload, sent_at FROM cases.outbox")
    assert {row["payload"]["transaction_id"] for row in kept} == sent
    assert {row["payload"]["label"] for row in kept} == {"fraud"}
    assert all(row["sent_at"] for row in kept)
    assert len(labels.sent) == 2
    report = verify_reads(settings.postgres_dsn)
    assert (report.problem, report.rows > 0) == (None, True)


def test_the_labels_of_a_verdict_name_what_the_decisions_name(settings: Settings) -> None:
    first, second = (add_alert(settings, "customer-1", number) for number in range(2))
    add_decision(settings, "customer-1", 0, terminal="till-4", card="****1111")

    async def call(services: Services, opener: Opener) -> None:
        (case,) = await opened(services, opener)
        await services.cases.give_verdict(ADA, case.case_id, case.version, FRAUD)

    with_services(settings, OWN, call)
    labels = {
        row["payload"]["transaction_id"]: row["payload"] for row in rows(settings, "SELECT payload FROM cases.outbox")
    }
    assert all(label_problem(orjson.dumps(label)) is None for label in labels.values())
    assert labels[first]["schema_version"] == 3
    place = {name: labels[first].get(name) for name in ("event_time_ms", "terminal", "device", "card")}
    assert place == {"event_time_ms": START_MS, "terminal": "till-4", "device": None, "card": "****1111"}
    assert labels[second]["schema_version"] == 1, "a transaction whose decision is not stored"


def test_the_outbox_is_measured_without_messages_whose_verdict_can_be_undone(settings: Settings) -> None:
    add_alert(settings, "customer-1", 0)

    async def call(services: Services, opener: Opener) -> None:
        (case,) = await opened(services, opener)
        await services.cases.give_verdict(ADA, case.case_id, case.version, FRAUD)
        rows(settings, "UPDATE cases.outbox SET created_at = now() - interval '1 hour'")
        assert await outbox.state(services.database) == (NOTHING, NOTHING)
        # A failed attempt moves the next one into the future; the message is waiting all the same.
        rows(settings, "UPDATE cases.outbox SET attempts = 1, last_error = 'no answer of Kafka'")
        watch = OutboxWatch(services.database, services.metrics)
        await watch.measure()
        text = services.metrics.text().decode()
        (age,) = re.findall(r'^streamflow_api_outbox_age_seconds{kind="label"} (\S+)$', text, re.MULTILINE)
        assert float(age) >= 3_600
        rows(settings, "UPDATE cases.outbox SET dead_at = now()")
        ages, dead = await outbox.state(services.database)
        assert (ages, dead["label"]) == (NOTHING, 1.0)

    with_services(settings, OWN, call)


def test_a_verdict_can_be_undone_in_time_and_a_new_alert_waits_meanwhile(settings: Settings) -> None:
    add_alert(settings, "customer-1", 0)

    async def call(services: Services, opener: Opener) -> None:
        relay = Relay(services.database, Labels(), WebhookSender())
        (case,) = await opened(services, opener)
        closed = await services.cases.give_verdict(ADA, case.case_id, case.version, FRAUD)
        add_alert(settings, "customer-1", 1)
        assert await opener.round() == 0
        again = await services.cases.undo_verdict(ADA, case.case_id, closed.version)
        assert (again.status, again.verdict, again.assignee) == (Status.CLAIMED, None, ADA.actor)
        rows(settings, "UPDATE cases.outbox SET not_before = now()")
        assert await relay.send_labels() == 0
        assert await opener.round() == 1
        genuine = VerdictRequest(verdict=Verdict.GENUINE, reason="travels", transaction_ids=["customer-1-t1"])
        with pytest.raises(ApiError) as error:
            await services.cases.give_verdict(ADA, case.case_id, again.version, genuine)
        assert refused(error) == (412, "version_stale")
        await services.cases.give_verdict(ADA, case.case_id, again.version + 1, genuine)

    with_services(settings, OWN, call)
    kept = rows(settings, "SELECT cancelled_at IS NULL AS waits, payload FROM cases.outbox ORDER BY created_at")
    assert [(row["waits"], row["payload"]["label"]) for row in kept] == [(False, "fraud"), (True, "genuine")]


def test_after_the_time_to_undo_the_next_alert_opens_a_new_case(settings: Settings) -> None:
    add_alert(settings, "customer-1", 0)

    async def call(services: Services, opener: Opener) -> None:
        (case,) = await opened(services, opener)
        closed = await services.cases.give_verdict(ADA, case.case_id, case.version, FRAUD)
        add_alert(settings, "customer-1", 1)
        (newer,) = await opened(services, opener)
        assert newer.case_id != case.case_id
        with pytest.raises(ApiError) as error:
            await services.cases.change(ADA, case.case_id, closed.version, CaseChange(status=Status.OPEN))
        assert refused(error) == (409, "another_case_open")
        assert (await services.cases.get(ADA, case.case_id)).case.version == closed.version

    with_services(settings, NO_UNDO, call)


def test_a_relay_that_dies_after_sending_leaves_its_labels_to_the_next_one_with_the_same_ids(
    settings: Settings,
) -> None:
    add_alert(settings, "customer-1", 0)
    labels, broken = Labels(), Labels("_MSG_TIMED_OUT")

    async def call(services: Services, opener: Opener) -> None:
        (case,) = await opened(services, opener)
        await services.cases.give_verdict(ADA, case.case_id, case.version, FRAUD)
        taken = await outbox.take(services.database, Kind.LABEL)
        labels.send(taken)  # and no mark
        assert await outbox.take(services.database, Kind.LABEL) == []
        for sender in (broken, labels):
            rows(settings, "UPDATE cases.outbox SET not_before = now()")
            assert await Relay(services.database, sender, WebhookSender()).send_labels() == 1

    with_services(settings, NO_UNDO, call)
    assert len(labels.sent) == 2
    assert len(set(labels.sent)) == 1
    (row,) = rows(settings, "SELECT attempts, sent_at, last_error, dead_at FROM cases.outbox")
    assert (row["attempts"], row["sent_at"] is not None, row["last_error"], row["dead_at"]) == (3, True, None, None)


class Desk(HTTPServer):
    """A receiver of webhooks."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.got: list[tuple[str, bytes]] = []
        self.status = 500


class Request(BaseHTTPRequestHandler):
    """Keeps a request; answers with the status of the server."""

    server: Desk

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.headers["StreamFlow-Signature"], body))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def receiver() -> Iterator[Desk]:
    with Desk() as desk:
        thread = threading.Thread(target=desk.serve_forever)
        thread.start()
        yield desk
        desk.shutdown()
        thread.join()


def test_a_receiver_that_wants_ids_gets_those_of_the_newest_alerts_and_another_one_none(
    settings: Settings, receiver: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decision of an alert may not be in Postgres yet: the ids are those of the alert."""
    monkeypatch.setenv("STREAMFLOW_WEBHOOK_SECRET_DESK", "key-of-the-desk")
    receiver.status = 200
    hook = f"http://127.0.0.1:{receiver.server_port}/hook"
    add_webhook(settings.postgres_dsn, "bank", hook, "desk", ["opened"], "pytest", has_ids=True)
    add_webhook(settings.postgres_dsn, "desk", hook, "desk", ["opened"], "pytest")
    assert [row["has_ids"] for row in list_webhooks(settings.postgres_dsn)] == [True, False]
    add_alert(settings, "customer-1", 0)
    for number in range(1, MOST_ALERTS + 1):
        add_alert(settings, "customer-1", number, terminal="till-4", card="****1111", device=f"d-{number}")

    async def call(services: Services, opener: Opener) -> None:
        await opener.round()
        assert await Relay(services.database, Labels(), WebhookSender()).send_webhooks() == 2

    with_services(settings, OWN, call)
    kept = rows(settings, "SELECT payload FROM cases.outbox WHERE sent_at IS NOT NULL")
    assert ["alerts" in row["payload"] for row in kept] == [False, False], "the personal data go with the message"
    rich, plain = sorted((orjson.loads(body) for _, body in receiver.got), key=len, reverse=True)
    alerts = rich.pop("alerts")
    assert rich.keys() == plain.keys()
    assert [alert["device"] for alert in alerts] == [f"d-{number}" for number in range(MOST_ALERTS, 0, -1)]
    assert alerts[-1] == {
        "alert_id": "al-customer-1-t1", "transaction_id": "customer-1-t1", "event_time_ms": START_MS + 1,
        "terminal": "till-4", "device": "d-1", "card": "****1111", "ip": None,
    }  # fmt: skip
    assert rich["after"]["alert_count"] == MOST_ALERTS + 1


def test_webhooks_are_signed_tried_again_and_end_as_dead_letters(
    settings: Settings, receiver: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFLOW_WEBHOOK_SECRET_DESK", "key-of-the-desk")
    hook = f"http://127.0.0.1:{receiver.server_port}/hook"
    add_webhook(settings.postgres_dsn, "desk", hook, "desk", ["opened", "claimed"], "pytest")
    add_webhook(settings.postgres_dsn, "off", hook, "desk", ["opened"], "pytest")
    disable_webhook(settings.postgres_dsn, "off", "pytest")
    add_alert(settings, "customer-1", 0)

    async def call(services: Services, opener: Opener) -> None:
        relay = Relay(services.database, Labels(), WebhookSender())
        await opener.round()
        assert await relay.send_webhooks() == 1
        receiver.status = 200
        assert await relay.send_webhooks() == 0  # the wait before the next attempt
        rows(settings, "UPDATE cases.outbox SET not_before = now()")
        assert await relay.send_webhooks() == 1
        await services.cases.claim_next(ADA)
        receiver.status = 500
        rows(settings, "UPDATE cases.outbox SET attempts = 9 WHERE sent_at IS NULL")
        assert await relay.send_webhooks() == 1
        rows(settings, "UPDATE cases.outbox SET not_before = now()")
        assert await relay.send_webhooks() == 0

    with_services(settings, OWN, call)
    (first, body), (_, again), (_, claimed) = receiver.got
    seconds = int(first.removeprefix("t=").partition(",")[0])
    digest = hmac.new(b"key-of-the-desk", f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    assert first == f"t={seconds},v1={digest}" == signature(b"key-of-the-desk", body, seconds)
    document = orjson.loads(body)
    assert body == again
    assert (document["event"], document["case_id"], "customer_id" in document) == ("opened", 1, False)
    assert orjson.loads(claimed)["after"]["assignee"] == ADA.actor
    assert WEBHOOK_ATTEMPTS == 10
    (dead,) = dead_messages(settings.postgres_dsn)
    assert (dead["last_error"], dead["event"], dead["attempts"]) == ("HTTP 500", "claimed", WEBHOOK_ATTEMPTS)
    assert retry_dead(settings.postgres_dsn, "off") == (0, 0)
    assert retry_dead(settings.postgres_dsn, "desk") == (1, 0)
    assert dead_messages(settings.postgres_dsn) == []
    with pytest.raises(UserError, match="no event"):
        add_webhook(settings.postgres_dsn, "desk", hook, "desk", ["closed"], "pytest")


@pytest.mark.parametrize("becomes", ["with ids", "without ids", "expired"])
def test_a_message_that_is_given_up_keeps_no_ids_and_a_retry_reads_them_again(
    settings: Settings, receiver: Desk, monkeypatch: pytest.MonkeyPatch, becomes: str
) -> None:
    monkeypatch.setenv("STREAMFLOW_WEBHOOK_SECRET_DESK", "key-of-the-desk")
    hook = f"http://127.0.0.1:{receiver.server_port}/hook"
    add_webhook(settings.postgres_dsn, "bank", hook, "desk", ["opened"], "pytest", has_ids=True)
    add_alert(settings, "customer-1", 0, terminal="till-4", card="****1111", device="d-1", ip="192.0.2.1")
    add_alert(settings, "customer-1", 1)
    receiver.status = 500

    async def give_up(services: Services, opener: Opener) -> None:
        relay = Relay(services.database, Labels(), WebhookSender())
        await opener.round()
        assert await relay.send_webhooks() == 1
        (waiting,) = rows(settings, "SELECT payload -> 'alerts' -> 1 ->> 'card' AS card FROM cases.outbox")
        assert waiting["card"] == "****1111", "the next attempt needs it"
        rows(settings, "UPDATE cases.outbox SET not_before = now(), attempts = 9")
        assert await relay.send_webhooks() == 1

    with_services(settings, OWN, give_up)
    (dead,) = dead_messages(settings.postgres_dsn)
    assert (dead["alerts"], dead["last_error"], dead["event"]) == (2, "HTTP 500", "opened")
    (kept,) = rows(settings, "SELECT payload FROM cases.outbox")
    assert kept["payload"]["alerts"] == [
        {"alert_id": f"al-customer-1-t{n}", "transaction_id": f"customer-1-t{n}", "event_time_ms": START_MS + n}
        for n in (1, 0)
    ]
    if becomes == "without ids":
        add_webhook(settings.postgres_dsn, "bank", hook, "desk", ["opened"], "pytest")
    if becomes == "expired":
        rows(settings, "DELETE FROM raw.alerts WHERE alert_id = 'al-customer-1-t0'")

    assert retry_dead(settings.postgres_dsn, None) == (1, int(becomes == "expired"))
    receiver.status = 200

    async def send(services: Services, _: Opener) -> None:
        assert await Relay(services.database, Labels(), WebhookSender()).send_webhooks() == 1

    with_services(settings, OWN, send)
    first, _, again = (body for _, body in receiver.got)
    if becomes == "with ids":
        assert again == first
    elif becomes == "without ids":
        assert orjson.loads(again) == {key: value for key, value in orjson.loads(first).items() if key != "alerts"}
    else:
        listed = orjson.loads(again)["alerts"]
        assert [item["alert_id"] for item in listed] == ["al-customer-1-t1", "al-customer-1-t0"]
        assert {item[name] for item in listed for name in ("terminal", "device", "card", "ip")} == {None}
    held = rows(settings, "SELECT payload ? 'alerts' AS lists, sent_at IS NULL AS waits FROM cases.outbox")
    assert held == [{"lists": False, "waits": False}]


def test_a_message_whose_verdict_is_undone_keeps_no_alerts(settings: Settings) -> None:
    add_webhook(settings.postgres_dsn, "bank", "http://127.0.0.1:9/hook", "desk", ["verdict"], "pytest", has_ids=True)
    add_alert(settings, "customer-1", 0, card="****1111")

    async def call(services: Services, opener: Opener) -> None:
        (case,) = await opened(services, opener)
        closed = await services.cases.give_verdict(ADA, case.case_id, case.version, FRAUD)
        wanted = "SELECT payload ? 'alerts' AS lists FROM cases.outbox WHERE kind = 'webhook'"
        assert rows(settings, wanted) == [{"lists": True}]
        await services.cases.undo_verdict(ADA, case.case_id, closed.version)
        assert rows(settings, f"{wanted} AND cancelled_at IS NOT NULL") == [{"lists": False}]

    with_services(settings, OWN, call)


def test_a_case_of_another_team_answers_like_one_that_does_not_exist(settings: Settings) -> None:
    add_alert(settings, "customer-1", 0)
    with_services(settings, OWN, opened)
    key = create_key(
        settings.postgres_dsn, "other", [Scope.CASES_READ, Scope.CASES_WRITE], created_by="pytest", teams=["abuse"]
    )
    verdict = {"verdict": "fraud", "reason": "x"}
    with serving(settings, OWN) as url, client(url, {"Authorization": f"Bearer {key}"}) as http:
        for method, path, body in (
            ("GET", "", None), ("PATCH", "", {"team": "abuse"}), ("POST", "/notes", {"body": "x"}),
            ("POST", "/verdict", verdict), ("DELETE", "/verdict", None),
        ):  # fmt: skip
            answers = [
                http.request(method, f"/v1/cases/{number}{path}", json=body, headers={"If-Match": '"1"'})
                for number in (1, 999)
            ]
            bodies = [answer.json()["error"] | {"request_id": ""} for answer in answers]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert bodies[0] == bodies[1]
        assert http.get("/v1/cases").json() == {"cases": [], "next_cursor": None}
        assert http.post("/v1/cases/next").status_code == 204


def test_a_program_works_a_case_over_http(settings: Settings) -> None:
    for number in range(3):
        add_alert(settings, f"customer-000{number}", 0, amount=1_000 * (number + 1))
    with_services(settings, OWN, opened)
    key = create_key(settings.postgres_dsn, "desk", [Scope.CASES_READ, Scope.CASES_WRITE], created_by="pytest")
    with serving(settings, OWN) as url, client(url, {"Authorization": f"Bearer {key}"}) as http:
        page = http.get("/v1/cases", params={"limit": 2}).json()
        assert [case["customer_id"] for case in page["cases"]] == ["cu***02", "cu***01"]
        rest = http.get("/v1/cases", params={"limit": 2, "cursor": page["next_cursor"]}).json()
        assert (len(rest["cases"]), rest["next_cursor"]) == (1, None)
        claimed = http.post("/v1/cases/next")
        case, tag = claimed.json(), claimed.headers["etag"]
        assert (case["customer_id"], tag) == ("customer-0002", f'"{case["version"]}"')
        where = f"/v1/cases/{case['case_id']}"
        assert http.patch(where, json={"assignee": None}).json()["error"]["code"] == "version_required"
        card = http.post(f"{where}/notes", json={"body": "card 4111-1111-1111-1111"})
        assert (card.status_code, card.json()["error"]["code"]) == (422, "invalid_request")
        assert "4111" not in card.text.replace(card.json()["error"]["request_id"], "")  # it is random
        assert http.post(f"{where}/notes", json={"body": "called, no answer"}).status_code == 201
        body = {"verdict": "unsure", "reason": "nobody answers"}
        closed = http.post(f"{where}/verdict", json=body, headers={"If-Match": tag})
        assert (closed.status_code, closed.json()["status"]) == (200, "closed")
        assert http.delete(f"{where}/verdict", headers={"If-Match": tag}).status_code == 412
        undone = http.delete(f"{where}/verdict", headers={"If-Match": closed.headers["etag"]})
        assert (undone.status_code, undone.json()["status"]) == (200, "claimed")
        detail = http.get(where).json()
        assert [note["body"] for note in detail["notes"]] == ["called, no answer"]
        actions = [event["action"] for event in detail["events"]]
        assert actions == ["opened", "claimed", "noted", "verdict", "verdict_undone"]
    assert rows(settings, "SELECT * FROM cases.outbox") == []


@pytest.mark.parametrize("table", ["events", "notes"])
def test_events_and_notes_are_never_changed(settings: Settings, table: str) -> None:
    add_alert(settings, "customer-1", 0)

    async def call(services: Services, opener: Opener) -> None:
        (case,) = await opened(services, opener)
        await services.cases.add_note(ADA, case.case_id, "note")

    with_services(settings, OWN, call)
    name = sql.Identifier("cases", table)
    with psycopg.connect(settings.postgres_dsn_as("api")) as api, pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.execute(sql.SQL("DELETE FROM {}").format(name))
    with psycopg.connect(settings.postgres_dsn) as owner, pytest.raises(psycopg.errors.RaiseException, match="append"):
        owner.execute(sql.SQL("UPDATE {} SET case_id = case_id").format(name))


def test_pages_of_the_queue_have_no_gaps_in_either_order(settings: Settings) -> None:
    for number in range(7):
        add_alert(settings, f"customer-{number}", 0, amount=10_000 if number % 2 else 20_000)

    async def call(services: Services, opener: Opener) -> None:
        await opener.round()
        for order in Order:
            found: list[int] = []
            cursor: str | None = None
            for _ in range(4):
                page = await services.cases.queue(ADA, QueueFilter(order=order), cursor, limit=2)
                found += [case.case_id for case in page.cases]
                cursor = page.next_cursor
            assert (sorted(found), cursor) == (list(range(1, 8)), None)
        for wrong in ("x", "nan~", "1~-1", "~~", "1~99999999999999999999"):
            with pytest.raises(ApiError) as error:
                await services.cases.queue(ADA, QueueFilter(), wrong)
            assert refused(error) == (422, "invalid_request")

    with_services(settings, OWN, call)


def test_the_migration_runs_on_a_database_with_rows(fresh_database: Settings, tmp_path: Path) -> None:
    for file in sorted(MIGRATIONS.glob("*.sql"))[:14]:
        (tmp_path / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    apply_migrations(fresh_database.postgres_dsn, tmp_path)
    add_alert(fresh_database, "customer-1", 0)
    rows(
        fresh_database,
        "INSERT INTO api.keys (prefix, key_sha256, name, scopes, created_by) "
        "VALUES ('abcdef', '', 'old', '{score}', 'pytest')",
    )
    assert apply_migrations(fresh_database.postgres_dsn, MIGRATIONS)[0] == "0015_cases.sql"
    (case,) = with_services(fresh_database, OWN, opened)
    assert case.customer_id == "customer-1"
    assert rows(fresh_database, "SELECT teams FROM api.keys") == [{"teams": None}]


def test_relay_and_opener_continue_after_an_unexpected_error(settings: Settings) -> None:
    add_alert(settings, "customer-1", 0)

    class Broken(Labels):
        def send(self, messages: Sequence[Message]) -> dict[str, str | None]:
            if not self.sent:
                self.sent.append("none")
                raise RuntimeError("a defect")
            return super().send(messages)

    async def call(services: Services, opener: Opener) -> None:
        (case,) = await opened(services, opener)
        await services.cases.give_verdict(ADA, case.case_id, case.version, FRAUD)
        running = asyncio.create_task(Relay(services.database, Broken(), WebhookSender()).run())
        for _ in range(600):
            await asyncio.sleep(0.1)
            rows(settings, "UPDATE cases.outbox SET not_before = least(not_before, now()) WHERE sent_at IS NULL")
            if rows(settings, "SELECT 1 FROM cases.outbox WHERE sent_at IS NOT NULL"):
                break
        running.cancel()

    with_services(settings, NO_UNDO, call)
    assert rows(settings, "SELECT sent_at IS NOT NULL AS is_sent, attempts FROM cases.outbox") == [
        {"is_sent": True, "attempts": 2}
    ]
