"""The parts of cases that need no database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from api.cases.card_numbers import has_card_number
from api.cases.documents import CaseChange, NoteRequest, Verdict, VerdictRequest
from api.cases.opening import Opener, expected_loss
from api.cases.outbox import wait_after
from api.cases.outbox_watch import OutboxWatch
from api.cases.relay import KafkaTopic, Relay
from api.cases.verdicts import Labelled, labels_of
from api.cases.viewer import Viewer, masked
from api.cases.webhooks import WebhookSender, secret_of, signature
from api.errors import ApiError
from api.measures import ApiMetrics
from api.routes.cases import version_of
from api.settings import ApiSettings
from flink_jobs.kafka.broker import Broker
from tests.unit.api.service import Memory

AT = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111111", "card 4111 1111 1111 1111.", "5500-0000-0000-0004", "378282246310005",
        "order 99 4111.1111.1111.1111 lost", "004111111111111111199999", "6011000990139424 and more",
    ],
)  # fmt: skip
def test_a_card_number_is_found_in_any_usual_form(text: str) -> None:
    assert has_card_number(text)


@pytest.mark.parametrize(
    "text", ["", "4111 1111 1111 1112", "call 0049 30 1234567", "2026-11-27 10:00", "0000 0000 0000 0000", "4111  1111"]
)
def test_other_digits_are_no_card_number(text: str) -> None:
    assert not has_card_number(text)


@pytest.mark.parametrize("body", ["", "   ", "a\x00b", "card 4111 1111 1111 1111", "x" * 10_001])
def test_a_note_that_is_blank_too_long_or_has_a_card_number_is_refused(body: str) -> None:
    with pytest.raises(ValidationError):
        NoteRequest(body=body)
    assert NoteRequest(body=" two\nlines ").body == "two\nlines"


@pytest.mark.parametrize(
    "change",
    [
        {}, {"status": "closed"}, {"status": "snoozed"}, {"snoozed_until": "2199-01-01T00:00:00Z"},
        {"status": "snoozed", "snoozed_until": "2199-01-01T00:00:00"}, {"status": "claimed"},
        {"status": "open", "assignee": "ada"}, {"team": "Fraud Team"}, {"priority": 1},
    ],
)  # fmt: skip
def test_a_change_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CaseChange.model_validate(change)


def test_a_verdict_becomes_a_label_per_transaction_always_with_the_same_id() -> None:
    pairs = [Labelled("c-1", "t-1"), Labelled("c-1", "t-2", "m-1", 1_767_225_600_000)]
    fraud = VerdictRequest(verdict=Verdict.FRAUD, reason="denied")
    labels = labels_of(pairs, fraud, "user:ada", AT)
    assert [label.id for label in labels] == [label.id for label in labels_of(pairs, fraud, "user:ada", AT)]
    assert {(label.label.value, label.labelled_by, label.comment) for label in labels} == {
        ("fraud", "user:ada", "denied")
    }
    assert len({label.id for label in labels}) == 2
    assert [(label.merchant, label.event_time_ms) for label in labels] == [(None, None), ("m-1", 1_767_225_600_000)]
    assert [label.document()["schema_version"] for label in labels] == [1, 2]
    assert labels_of(pairs, VerdictRequest(verdict=Verdict.UNSURE, reason="?"), "user:ada", AT) == []


def test_a_viewer_sees_customers_of_own_cases_only_unless_allowed() -> None:
    case = {"customer_id": "customer-0017", "assignee": "user:ada"}
    assert Viewer("user:ada", "r").customer_of(case) == "customer-0017"
    assert Viewer("user:bob", "r").customer_of(case) == masked("customer-0017") == "cu***17"
    assert Viewer("user:bob", "r", sees_customers=True).customer_of(case) == "customer-0017"
    assert Viewer("user:bob", "r", frozenset({"b", "a"})).team_list == ["a", "b"]


def test_if_match_names_a_version() -> None:
    assert (version_of('"3"'), version_of(" 12 ")) == (3, 12)
    for header, status in ((None, 428), ("*", 412), ('W/"3"', 412), ("x", 412)):
        with pytest.raises(ApiError) as error:
            version_of(header)
        assert error.value.status == status


def test_the_expected_loss_is_in_main_currency_units() -> None:
    assert expected_loss({"amount_minor": 10_000, "currency": "USD", "score": 0.5}) == 50.0
    assert expected_loss({"amount_minor": 10_000, "currency": "JPY", "score": 0.5}) == 5_000.0
    assert expected_loss({"amount_minor": 10_000, "currency": "OF A NEWER RELEASE", "score": 0.5}) == 0.0


def test_the_expected_loss_of_an_alert_with_a_probability_is_its_own() -> None:
    alert = {"amount_minor": 10_000, "currency": "USD", "score": 0.5, "expected_loss_minor": 1_250}
    assert expected_loss(alert) == 12.5
    assert expected_loss(alert | {"expected_loss_minor": 0}) == 0.0
    assert expected_loss(alert | {"expected_loss_minor": None}) == 50.0


def test_the_wait_between_attempts_doubles_up_to_a_limit() -> None:
    assert [wait_after(attempts).total_seconds() for attempts in (1, 2, 5, 100)] == [1, 2, 16, 300]


def test_the_secret_of_a_webhook_is_a_variable_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert secret_of("desk") is None
    monkeypatch.setenv("STREAMFLOW_SECRETS_DIR", str(tmp_path))
    (tmp_path / "streamflow_webhook_secret_desk").write_text("of the file\n", encoding="utf-8")
    assert secret_of("desk") == b"of the file"
    monkeypatch.setenv("STREAMFLOW_WEBHOOK_SECRET_DESK", "of the variable")
    assert secret_of("desk") == b"of the variable"
    assert signature(b"a", b"{}", 1) != signature(b"b", b"{}", 1)


def test_without_an_answer_of_the_database_no_measure_of_the_outbox_is_reported() -> None:
    database, metrics = Memory(), ApiMetrics()
    watch = OutboxWatch(database, metrics)
    asyncio.run(watch.measure())
    assert b'streamflow_api_outbox_age_seconds{kind="webhook"} 0.0' in metrics.text()
    database.is_down = True
    asyncio.run(watch.measure())
    assert b"streamflow_api_outbox_age_seconds{" not in metrics.text()


def test_a_completed_round_is_noted_and_a_failed_one_is_not() -> None:
    database, noted = Memory(), list[str]()
    settings = ApiSettings(case_every_s=0.01)

    async def run(wanted: set[str]) -> None:
        tasks = [
            asyncio.create_task(
                Relay(database, KafkaTopic(Broker("127.0.0.1:1"), "x", "labels"), WebhookSender(), noted.append).run()
            ),
            asyncio.create_task(Opener(database, settings, noted.append).run()),
        ]
        await asyncio.sleep(0.05)
        async with asyncio.timeout(60):
            while not wanted <= set(noted):  # noqa: ASYNC110 - nothing sets an event
                await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()

    database.is_down = True
    asyncio.run(run(set()))
    assert noted == []
    database.is_down = False
    asyncio.run(run({"label", "webhook"}))


def test_labels_without_kafka_have_an_error_each() -> None:
    assert KafkaTopic(Broker("127.0.0.1:1"), "x", "labels").send([]) == {}
