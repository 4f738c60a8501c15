"""The API on a real server and a real Postgres: keys, stored decisions, the audit of reads, the OpenAPI document."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from schemathesis.core.result import Ok
from typer import Typer
from typer.testing import CliRunner

from api.application import build_services
from api.keys import Scope
from api.settings import ApiSettings
from flink_jobs.cli.api_commands import app as api_cli
from flink_jobs.cli.audit_commands import app as audit_cli
from flink_jobs.cli.console_commands import app as console_cli
from flink_jobs.errors import UserError
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.waiting import wait_for
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.integration.api_server import LIMIT_S, client, serving
from tests.own_features import EXAMPLE, FOLDER
from tests.own_features.example_model import train_example

pytestmark = pytest.mark.stack
ROW = """
    INSERT INTO raw.decisions (customer_id, transaction_id, schema_version, event_time_ms, processing_time_ms,
        amount_minor, currency, merchant, score, rule_score, alpha, threshold, is_alert, features, absent, reasons,
        model, variant, ruleset_version, config_revision, out_of_order_ms, source_topic, source_partition,
        source_offset)
    VALUES ('api-c', %(id)s, 2, %(at)s, %(at)s, 1999, 'USD', 'Corner Shop', 0.5, 0.5, 0, 0.4, true, '{}', '{}',
        '[{"code": "HIGH_AMOUNT", "contribution": 0.5}]', 'degraded', 'champion', '2', 0, 0, 't', 0, 0)
"""
START_MS = 1_700_000_000_000


@pytest.fixture(scope="module")
def settings(database: Stack) -> Iterator[Settings]:
    """Yield the settings of a database of this module, with five decisions of one customer."""
    server = database.settings()
    own = server.model_copy(update={"postgres_database": f"test_api_{secrets.token_hex(4)}"})
    name = sql.Identifier(own.postgres_database)
    with psycopg.connect(server.postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        apply_migrations(own.postgres_dsn, MIGRATIONS)
        with psycopg.connect(own.postgres_dsn) as rows:
            for number in range(5):
                rows.execute(ROW, {"id": f"t-{number}", "at": START_MS + 1_000 * (number // 2)})
        yield own
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    # A busy machine must not turn a slow query into 503: these tests look for answers that are not documented.
    own = ApiSettings(key_cache_s=0, rate_per_s=100_000, query_timeout_ms=30_000, request_timeout_s=60)
    with serving(settings, own) as address:
        yield address


Run = Callable[..., str]


@pytest.fixture
def run(database: Stack, settings: Settings) -> Run:
    """Return a function that runs a command on the database of this module and returns its output."""
    where = {"STREAMFLOW_HOME": str(database.home.root), "STREAMFLOW_POSTGRES_DATABASE": settings.postgres_database}

    def command(cli: Typer, *arguments: str, code: int = 0) -> str:
        answer = CliRunner(env=where).invoke(cli, arguments)
        assert answer.exit_code == code, answer.output
        return str(answer.stdout).strip()

    return command


@pytest.fixture
def key(run: Run) -> str:
    scopes = [part for scope in Scope for part in ("--scope", scope.value)]
    return run(api_cli, "keys", "create", "test", "--by", "pytest", *scopes)


def test_a_key_works_until_it_is_revoked(run: Run, url: str, key: str) -> None:
    with client(url, {"Authorization": f"Bearer {key}"}) as http:
        assert http.get("/health/ready").json() == {"status": "ok", "postgres": True, "replies": False}
        assert http.get("/v1/decisions/t-1", params={"customer_id": "api-c"}).status_code == 200
        prefix = key.split("_")[1]
        listed = run(api_cli, "keys", "list", "--output", "json")
        assert prefix in listed
        assert key not in listed
        run(api_cli, "keys", "revoke", prefix)
        assert http.get("/v1/decisions/t-1", params={"customer_id": "api-c"}).status_code == 401


def test_the_decisions_of_a_customer_come_in_pages_without_gaps(url: str, key: str) -> None:
    found: list[str] = []
    cursor: str | None = None
    with client(url, {"Authorization": f"Bearer {key}"}) as http:
        for _ in range(3):
            parameters = {"customer_id": "api-c", "limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = http.get("/v1/decisions", params=parameters).json()
            found += [item["transaction_id"] for item in page["decisions"]]
            cursor = page["next_cursor"]
    assert (found, cursor) == (["t-4", "t-3", "t-2", "t-1", "t-0"], None)


def test_a_score_uses_the_stored_decisions_of_the_customer(url: str, key: str) -> None:
    transaction = {
        "transaction_id": "new", "customer_id": "api-c", "amount_minor": 1999, "currency": "USD",
        "event_time_ms": START_MS + 60_000,
    }  # fmt: skip
    with client(url, {"Authorization": f"Bearer {key}"}) as http:
        answer = http.post("/v1/score", json={"transaction": transaction, "stored_history": True}).json()
    assert (answer["history_source"], answer["history_transactions"]) == ("stored", 5)
    assert answer["decision"]["features"]["velocity_count"] == 6.0


def test_a_score_has_the_own_features_of_the_installation(
    settings: Settings, key: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    trained = train_example(tmp_path_factory.mktemp("models"))
    chosen = {"features": EXAMPLE, "features_dir": FOLDER, "model_dir": trained.folder}
    transaction = {
        "transaction_id": "new", "customer_id": "api-c", "amount_minor": 1999, "currency": "USD",
        "event_time_ms": START_MS + 60_000,
    }  # fmt: skip
    answer: dict[str, Any] = {}
    with (
        serving(settings.model_copy(update={**chosen, "model_version": trained.version}), ApiSettings()) as url,
        client(url, {"Authorization": f"Bearer {key}"}) as http,
    ):

        def is_read() -> bool:
            answer.update(http.post("/v1/score", json={"transaction": transaction, "stored_history": True}).json())
            return bool(answer["model_problem"] != "not_read")

        wait_for(is_read, limit_s=240, what="the champion")
    assert (answer["model_problem"], answer["decision"]["model"]) == (None, "ok")
    assert answer["decision"]["model_version"] == trained.version
    assert answer["decision"]["features"]["own_quiet_days"] == 58_000 / 86_400_000
    assert answer["decision"]["ml_score"] is not None


def test_modules_that_cannot_be_used_stop_the_api_at_its_start(settings: Settings) -> None:
    wrong = settings.model_copy(update={"features": "no_such_module", "features_dir": FOLDER})
    with pytest.raises(UserError, match="there is no module no_such_module"):
        build_services(wrong, ApiSettings())


def test_changes_of_keys_accounts_and_webhooks_by_the_command_line_are_in_the_chain(
    run: Run, settings: Settings
) -> None:
    by = ("--by", "ada")
    key = run(api_cli, "keys", "create", "gate", "--scope", "score", "--days", "1", *by)
    prefix = key.split("_")[1]
    run(api_cli, "keys", "revoke", prefix, *by)
    hook = ("webhooks", "add", "desk", "https://desk.example.org/hook?token=1", "--secret", "desk", "--event", "opened")
    run(api_cli, *hook, *by)
    run(api_cli, "webhooks", "disable", "desk", *by)
    run(console_cli, "add", "eve", "--role", "approver", "--role", "auditor", *by)
    address = run(console_cli, "login", "eve", *by)
    run(console_cli, "revoke", "eve", *by)
    run(console_cli, "disable", "eve", *by)
    run(audit_cli, "verify")
    with psycopg.connect(settings.postgres_dsn) as owner:
        query = "SELECT action, request_id, detail FROM api.reads WHERE actor = 'cli:ada' ORDER BY read_id"
        rows = owner.execute(query).fetchall()
    assert [action for action, _, _ in rows] == [
        "api.key.created", "api.key.revoked", "api.webhook.set", "api.webhook.disabled", "console.account.created",
        "console.login.created", "console.sessions.revoked", "console.account.disabled",
    ]  # fmt: skip
    details = [detail for _, _, detail in rows]
    assert details[0].startswith(f"{prefix} name=gate scopes=score teams=all until=2")
    assert details[1:3] == [prefix, "desk host=desk.example.org events=opened"]
    assert details[4] == "eve roles=approver,auditor"
    assert {request for _, request, _ in rows} == {"cli"}
    login = parse_qs(urlsplit(address).query)["token"][0]
    hidden = (key.removeprefix(f"sfk_{prefix}_"), login, "token=1")
    assert not [detail for detail in details for secret in hidden if secret in detail]


def test_the_api_cannot_change_the_record_of_reads_and_a_change_by_the_owner_is_found(
    run: Run, settings: Settings, url: str, key: str
) -> None:
    with client(url, {"Authorization": f"Bearer {key}"}) as http:
        for _ in range(2):
            http.get("/v1/decisions", params={"customer_id": "api-c"})
    head = run(audit_cli, "verify").rpartition(" ")[2]
    run(audit_cli, "verify", "--expect", head)
    with psycopg.connect(settings.postgres_dsn_as("api")) as api, pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.execute("DELETE FROM api.reads")
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as owner:
        with pytest.raises(psycopg.errors.RaiseException, match="never changed or deleted"):
            owner.execute("DELETE FROM api.reads")
        owner.execute("ALTER TABLE api.reads DISABLE TRIGGER keep_reads")
        with owner.transaction(force_rollback=True):
            owner.execute("UPDATE api.reads SET customer_id = 'someone else' WHERE read_id = 1")
        owner.execute("UPDATE api.reads SET customer_id = 'someone else' WHERE read_id = 1")
    assert run(audit_cli, "verify", code=3) == "row 1 was changed"


# The server of these tests is a thread of this process; its libraries use the global random module at the same time.
@pytest.mark.filterwarnings("ignore:Do not use the .random. module:hypothesis.errors.HypothesisDeprecationWarning")
def test_generated_requests_get_only_documented_answers(url: str, key: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    checks = [
        schemathesis.checks.not_a_server_error,
        schemathesis.checks.status_code_conformance,
        schemathesis.checks.response_schema_conformance,
    ]
    checked = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)

        @hypothesis_settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(case=result.ok().as_strategy())
        def check(case: Any) -> None:  # noqa: ANN401 - generic over the framework
            case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=checks, timeout=LIMIT_S)

        check()
        checked += 1
    assert checked >= 5
