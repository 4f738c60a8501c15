"""Further pages of the console on a real Postgres: search, customers, feed, dead letters, health, rules, models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg
import pytest
from typer.testing import CliRunner

from api.console.accounts import add_account, create_token
from api.console.roles import Role
from api.settings import ApiSettings
from flink_jobs.cli.model_commands import app as model_cli
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from tests.integration.api_server import client, serving
from tests.integration.console_data import START_MS, add_customer, console_database

pytestmark = pytest.mark.stack
LABEL = """
    INSERT INTO raw.labels (label_id, schema_version, transaction_id, customer_id, label, source, labelled_at_ms,
        labelled_by)
    SELECT alert_id, 1, transaction_id, customer_id,
        CASE customer_id WHEN 'customer-0001' THEN 'genuine' ELSE 'fraud' END, 'test', 1, 'test' FROM raw.alerts
"""
PROBABILITY = """
    UPDATE raw.alerts SET fraud_probability = 0.643, expected_loss_minor = 79382 WHERE customer_id = 'customer-0001';
    UPDATE raw.decisions SET fraud_probability = 0.643, expected_loss_minor = 79382
    WHERE customer_id = 'customer-0001' AND is_alert;
    UPDATE cases.alerts SET fraud_probability = 0.643 WHERE customer_id = 'customer-0001'
"""
DEAD_LETTER = """
    INSERT INTO raw.dead_letters (dlq_id, schema_version, disposition, reason, stage, detail, source_topic,
        source_partition, source_offset, received_ms, headers, payload, payload_encoding, payload_length,
        payload_sha256, payload_truncated, processing_time_ms)
    VALUES ('d-1', 2, 'rejected', 'NEGATIVE_AMOUNT', 'parse', 'amount of customer-0002', 't', 0, 7, 0, '[]',
        'secret record', 'utf-8', 13, '', false, %s)
"""
MODELS = """
    INSERT INTO ml.model_versions (version, kind, digest, artifact_uri, manifest, metrics, created_at)
    VALUES ('v2', 'boosting', repeat('0', 64), 'file:///v2', '{}', '{}', now());
    INSERT INTO ml.model_events (version, event, to_stage, actor, reason, details)
    VALUES ('v2', 'gate_refused', 'champion', 'ada', 'better',
        '{"checks": [{"name": "recall", "passed": false, "detail": "0.4 <less> than the champion"}]}');
    INSERT INTO ops.model_drift (checked_at, model_version, subject, measure, value, act_at, level, detail, rows_seen,
        window_from, window_until, verdict)
    VALUES
        (now() - interval '1 day', 'v1', 'score', 'psi', 0.01, 0.25, 'ok', 'as before', 900, now(), now(), 'stable'),
        (now(), 'v2', 'score', 'psi', NULL, 0.25, 'ok', 'as in training', 1000, now(), now(), 'retrain'),
        (now(), 'v2', 'amount_ratio', 'psi', 0.31, 0.25, 'act', 'amount ratio moved', 1000, now(), now(), 'retrain');
"""
OWN_FEATURE = """
    INSERT INTO ml.model_versions (version, kind, digest, artifact_uri, manifest, metrics, created_at)
    VALUES ('with-own', 'boosting', repeat('0', 64), 'file:///with-own', jsonb_build_object('training_data',
        jsonb_build_object('source', 'cards.csv'), 'own_features',
        jsonb_build_array(jsonb_build_object('module', 'bank.features', 'sha256', repeat('a', 64), 'features',
            '[{"name": "own_quiet_days", "unit": "days", "low": 0, "high": 3650, "neutral": 30,
               "absent": "new customer", "meaning": "time since the last one"}]'::jsonb))), '{}', now());
    UPDATE raw.decisions SET model_version = 'with-own',
        features = features || '{"own_quiet_days": 12.5, "own_of_no_module": 3}'
    WHERE customer_id = 'customer-0002' AND is_alert;
    UPDATE raw.alerts SET contributions = contributions || '{"own_quiet_days": 0.2}'
    WHERE customer_id = 'customer-0002'
"""


@pytest.fixture(scope="module")
def settings(database: Stack) -> Iterator[Settings]:
    with console_database(database.settings()) as own:
        with psycopg.connect(own.postgres_dsn) as rows:
            for number in range(3):
                add_customer(rows, f"customer-{number:04}", 1_000.0)
            rows.execute(LABEL)
            rows.execute(PROBABILITY)
            rows.execute(DEAD_LETTER, (START_MS,))
            rows.execute(MODELS)
        for role in (Role.ANALYST, Role.AUDITOR, Role.VIEWER):
            add_account(own.postgres_dsn, role.value, [role], by="test")
        yield own


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    with serving(settings, ApiSettings(secure_cookie=False)) as address:
        yield address


@contextmanager
def browser(settings: Settings, url: str, name: str) -> Iterator[httpx.Client]:
    with client(url, follow_redirects=True) as http:
        http.post("/console/login", data={"token": create_token(settings.postgres_dsn, name, by="test")})
        yield http


def test_search_finds_cases_customers_and_transactions(settings: Settings, url: str) -> None:
    with browser(settings, url, "auditor") as http:
        assert "/console/customers?id=customer-0001" in http.get("/console/search?q=customer-0001").text
        found = http.get("/console/search?q=customer-0001-alert").text
        assert "Case 2" in found
        assert "1,234.56 EUR" in found
        assert http.get("/console/search?q=%232").url.path == "/console/cases/2"
        assert "Nothing was found" in http.get("/console/search?q=%3Cb%3E").text
        assert "&lt;b&gt;" in http.get("/console/search?q=%3Cb%3E").text
        assert "Nothing was found" in http.get("/console/search?q=4111 1111 1111 1111").text
    with psycopg.connect(settings.postgres_dsn) as rows:
        read = rows.execute(
            "SELECT detail FROM api.reads WHERE action = 'console.search' ORDER BY read_id DESC LIMIT 1"
        )
        assert read.fetchone() == ("****1111",)


def test_a_customer_exists_only_for_those_who_may_see_it(settings: Settings, url: str) -> None:
    with browser(settings, url, "auditor") as http:
        page = http.get("/console/customers?id=customer-0000").text
        assert "18.00 EUR" in page
        assert "fraud" in page
        missing = http.get("/console/customers?id=nobody")
    with browser(settings, url, "analyst") as http:
        other = http.get("/console/customers?id=customer-0000")
        assert "customer-0000" not in http.get("/console/feed").text.replace("customer-0000-alert", "")
        assert "cu***00" in http.get("/console/feed").text
    assert (missing.status_code, other.status_code) == (404, 404)


def test_a_case_shows_how_many_similar_alerts_were_fraud(settings: Settings, url: str) -> None:
    with browser(settings, url, "auditor") as http:
        assert "<strong>1 of 2</strong> were fraud" in http.get("/console/cases/1").text


def test_queue_and_case_show_the_probability_of_fraud_where_the_model_gave_one(settings: Settings, url: str) -> None:
    with browser(settings, url, "auditor") as http:
        queue = http.get("/console/").text
        shown = dict(zip(re.findall(r'id="case-(\d+)"', queue), re.findall(r'"n wide">(.*)</td>', queue), strict=True))
        assert (shown["1"], shown["2"]) == ("\u2013", "64.3%")
        case = http.get("/console/cases/2").text
        assert "Probability of fraud <strong>64.3%</strong>, expected loss <strong>793.82 EUR</strong>." in case
        assert '<td class="n">64.3%</td>' in case
        assert "Probability of fraud" not in http.get("/console/cases/1").text


def test_pages_and_command_show_the_declaration_of_own_features(database: Stack, settings: Settings, url: str) -> None:
    with psycopg.connect(settings.postgres_dsn) as rows:
        rows.execute(OWN_FEATURE)
    with browser(settings, url, "auditor") as http:
        case, models = http.get("/console/cases/3").text, http.get("/console/models").text
        assert "<td>own quiet days</td><td>12.5 days</td><td>0 to 3,650</td><td>time since the last one</td>" in case
        assert "<td>own of no module</td><td>3</td><td></td><td></td>" in case
        assert 'title="time since the last one">own quiet days <span class="note">12.5 days</span>' in case
        assert (
            "<td><code>own_quiet_days</code></td><td>days</td><td>0 to 3,650</td><td>time since the last one</td>"
            '<td>new customer</td><td class="wide"><code>bank.features aaaaaaaaaaaa</code></td>'
        ) in models
    where = {"STREAMFLOW_HOME": str(database.home.root), "STREAMFLOW_POSTGRES_DATABASE": settings.postgres_database}
    shown = CliRunner(env={**where, "COLUMNS": "200"}).invoke(model_cli, ["show", "with-own"])
    assert shown.exit_code == 0, shown.output
    (line,) = [line for line in shown.output.splitlines() if "own_quiet_days" in line]
    assert line.split("  ")[0] == "own_quiet_days"
    assert "0 to 3,650" in line
    assert "bank.features aaaaaaaaaaaa" in line


def test_a_case_links_to_customers_at_the_same_merchant_and_minute(settings: Settings, url: str) -> None:
    with psycopg.connect(settings.postgres_dsn) as rows:
        rows.execute("UPDATE cases.cases SET status = 'claimed', assignee = 'user:analyst' WHERE case_id = 1")
    with browser(settings, url, "auditor") as http:
        page = http.get("/console/cases/1").text.partition("Other customers at the same merchant and minute")[2]
        assert "customer-0001" in page
        assert 'href="/console/cases/2"' in page
    with browser(settings, url, "analyst") as http:
        page = http.get("/console/cases/1").text
        assert ("customer-0001" in page, "cu***01" in page) == (False, True)
        assert "Other customers" not in http.get("/console/cases/2").text
    with psycopg.connect(settings.postgres_dsn) as rows:
        reads = rows.execute("SELECT detail FROM api.reads WHERE action = 'cases.links' ORDER BY read_id").fetchall()
    assert reads[0] == ("2 purchases",)


def test_the_feed_streams_new_alerts_and_goes_on_after_a_new_connection(settings: Settings, url: str) -> None:
    with browser(settings, url, "auditor") as http:
        events: list[str] = []
        last: dict[str, str] = {}
        for round_number in range(2):
            with http.stream("GET", "/console/feed/events", headers=last) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                for line in answer.iter_lines():
                    if line.startswith("retry:"):
                        with psycopg.connect(settings.postgres_dsn) as rows:
                            add_customer(rows, f"live-{round_number}", 1.0)
                    if line.startswith("id:"):
                        last = {"Last-Event-ID": line.removeprefix("id: ")}
                    if line.startswith("data:"):
                        events.append(line)
                        if f"live-{round_number}" in line:
                            break
    assert "live-1" in events[-1]
    assert all(event.startswith('data: <tr id="alert-') for event in events)


def test_pages_of_operations_show_no_customer_data_without_the_role(settings: Settings, url: str) -> None:
    with browser(settings, url, "viewer") as http:
        page = http.get("/console/dead-letters?reason=NEGATIVE_AMOUNT").text
        assert "NEGATIVE_AMOUNT" in page
        assert "t/0/7" in page
        assert "customer-0002" not in page
        assert "secret record" not in page
        for path in (
            "/console/search?q=x",
            "/console/customers?id=customer-0000",
            "/console/feed",
            "/console/feed/events",
        ):
            assert http.get(path).status_code == 403
        assert "Newest decision" in http.get("/console/health").text
        rules = http.get("/console/rules").text
        assert "67%" in rules
        assert "high amount" in rules
        models = http.get("/console/models").text
        assert re.search(r"Newest check of <code>v2</code>.*retrain.*0\.31.*amount ratio moved", models, re.DOTALL)
        assert "<code>v1</code>" not in models, "an older check"
        assert models.index("amount ratio moved") < models.index("as in training"), "the worst comes first"
        assert re.search(
            r"gate refused \(new to champion\) by ada: better.*refused</span> recall: 0.4 &lt;less&gt;", models
        )
    with browser(settings, url, "auditor") as http:
        page = http.get("/console/dead-letters?reason=NEGATIVE_AMOUNT").text
        assert "customer-0002" in page
        assert "secret record" not in page
