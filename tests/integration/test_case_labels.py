"""From the API to Kafka: verdicts become labels, also if a relay is killed; approved changes reach control."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from api.cases.opening import Opener
from api.console.accounts import add_account
from api.console.roles import Role
from api.keys import Scope, create_key
from api.rules.service import Proposals
from api.services import Services
from api.settings import ApiSettings
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.control.messages import ControlMessage, parse_control
from flink_jobs.core.documents import Finding
from flink_jobs.core.label import Label
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.label_sender import send_labels
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT, Settings
from flink_jobs.waiting import wait_for
from tests.integration import jobs
from tests.integration.api_server import client, serving
from tests.integration.case_database import START_MS, add_alert, own_database, with_services

pytestmark = pytest.mark.stack
PREFIX = "case-labels"
LONG_UNDO = ApiSettings(case_undo_s=3_600, case_every_s=0.2)


def rows(settings: Settings, query: str) -> list[dict[str, Any]]:
    with psycopg.connect(settings.postgres_dsn, row_factory=dict_row, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def end_undo(settings: Settings) -> None:
    """Let the time to undo, or the lease of a relay, end now."""
    rows(settings, "UPDATE cases.outbox SET not_before = now() WHERE sent_at IS NULL")


def kill_a_relay(stack: Stack, settings: Settings) -> None:
    """Run a relay that dies after it has sent a label and before it marks it."""
    environment = {
        **os.environ,
        "STREAMFLOW_HOME": str(stack.home.root),
        "STREAMFLOW_POSTGRES_DATABASE": settings.postgres_database,
        "STREAMFLOW_TOPIC_PREFIX": PREFIX,
    }
    command = [sys.executable, "-m", "tests.integration.killed_relay"]
    died = subprocess.run(
        command, check=False, cwd=REPO_ROOT, env=environment, timeout=600, capture_output=True, text=True
    )
    assert died.returncode == -signal.SIGKILL, died.stderr


def test_a_verdict_becomes_one_archived_label_although_a_relay_is_killed_between_send_and_mark(stack: Stack) -> None:
    jobs.own_topics(stack, PREFIX)
    with own_database(stack.settings(), "labels") as own:
        settings = own.model_copy(update={"topic_prefix": PREFIX})
        transaction = add_alert(settings, "customer-1", 0)
        key = create_key(settings.postgres_dsn, "desk", list(Scope), created_by="pytest")
        headers = {"Authorization": f"Bearer {key}"}
        with (
            serving(settings, LONG_UNDO) as url,
            client(url, headers) as http,
        ):
            case = wait_for(
                lambda: http.post("/v1/cases/next").json() if http.get("/v1/cases").json()["cases"] else None,
                limit_s=jobs.PATIENCE_S,
                what="the case of the alert",
            )
            verdict = {"verdict": "fraud", "reason": "the cardholder denies it"}
            where, tag = f"/v1/cases/{case['case_id']}/verdict", {"If-Match": f'"{case["version"]}"'}
            assert http.post(where, json=verdict, headers=tag).status_code == 200

        end_undo(settings)
        kill_a_relay(stack, settings)
        (left,) = rows(settings, "SELECT outbox_id, sent_at, attempts FROM cases.outbox")
        assert (left["sent_at"], left["attempts"]) == (None, 1)
        end_undo(settings)
        environment = {"STREAMFLOW_TOPIC_PREFIX": PREFIX, "STREAMFLOW_POSTGRES_DATABASE": settings.postgres_database}
        with serving(settings, LONG_UNDO), jobs.running_job(stack, "archive", environment):
            wait_for(
                lambda: rows(settings, "SELECT 1 FROM cases.outbox WHERE sent_at IS NOT NULL"),
                limit_s=jobs.PATIENCE_S,
                what="the second attempt",
            )
            other = Label("other", "customer-1", Finding.GENUINE, "analyst", START_MS, "pytest")
            send_labels(settings.broker(), PREFIX, [other])
            wait_for(
                lambda: len(rows(settings, "SELECT label_id FROM raw.labels")) == 2,
                limit_s=jobs.PATIENCE_S,
                what="both labels in Postgres",
            )
    with CommittedReader(stack.settings().broker(), [topic_name(PREFIX, "labels")]) as reader:
        sent = [record for record in reader.read_to_end() if record.value is not None]
    assert {(record.key, record.partition) for record in sent} == {(b"customer-1", sent[0].partition)}
    found = [document["label_id"] for _, document in jobs.documents_by_key(stack, "labels", PREFIX)]
    assert sorted(found) == sorted([left["outbox_id"], left["outbox_id"], other.id])
    assert transaction == "customer-1-t0"


def test_an_approved_change_of_the_rules_is_on_the_control_topic_once(stack: Stack) -> None:
    jobs.own_topics(stack, f"{PREFIX}-rules")
    with own_database(stack.settings(), "proposals") as own:
        settings = own.model_copy(update={"topic_prefix": f"{PREFIX}-rules"})
        add_account(own.postgres_dsn, "ada", [Role.RULES_EDITOR], by="test")
        add_account(own.postgres_dsn, "bob", [Role.APPROVER], by="test")

        async def approve(services: Services, _: Opener) -> None:
            proposals = Proposals(services.database)
            number = await proposals.propose("user:ada", "r", {"rules": {"velocity": {"threshold": 8.0}}}, "holidays")
            await proposals.approve("user:bob", "r", number, "yes")

        with_services(settings, LONG_UNDO, approve)
        with serving(settings, LONG_UNDO):
            sent = wait_for(
                lambda: rows(settings, "SELECT control_id FROM api.proposals WHERE sent_at IS NOT NULL"),
                limit_s=jobs.PATIENCE_S,
                what="the control message",
            )
    with CommittedReader(stack.settings().broker(), [topic_name(f"{PREFIX}-rules", "control")]) as reader:
        messages = [parse_control(record.value) for record in reader.read_to_end()]
    assert [item.control_id for item in messages if isinstance(item, ControlMessage)] == [sent[0]["control_id"]]
