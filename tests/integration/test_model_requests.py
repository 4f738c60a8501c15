"""Promotions and rollbacks of models by two persons, on a real Postgres; `test_model_life` has the running job."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
import pytest
from typer.testing import CliRunner, Result

from api.console.accounts import add_account
from api.console.roles import Role
from api.database import Database
from api.model_requests import worker
from api.model_requests.carrying import carry_out_next
from api.reads import verify_reads
from api.settings import ApiSettings
from flink_jobs.cli.model_commands import app as model_cli
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.features.table import FEATURES
from flink_jobs.database_logins import DatabaseRole
from flink_jobs.errors import UserError
from flink_jobs.local.stack import Stack
from flink_jobs.model_registry import promotion
from flink_jobs.model_registry.handshake import ChangeSender
from flink_jobs.model_registry.stages import ModelStage
from flink_jobs.model_registry.versions import ChangeReason, RegisteredModel, Registry, open_registry
from flink_jobs.settings import Settings
from ml.gate import GateBounds
from tests.integration.api_server import Person, patient, people
from tests.integration.console_data import DECISION, START_MS, console_database
from tests.unit.job.samples import write_model

pytestmark = pytest.mark.stack
CSRF: Final = re.compile(r'name="csrf" value="([0-9a-f]{64})"')
OTHER_WAY_ROUND: Final[dict[str, Any]] = {
    "feature": [1, -1, 0, -1, -1, -1],
    "threshold": [3.0, 0.0, 1.5, 0.0, 0.0, 0.0],
    "left": [1, -1, 3, -1, -1, -1],
    "right": [2, -1, 4, -1, -1, -1],
    "n_samples": [8, 1, 7, 5, 2, 8],
}
"""Few purchases in ten minutes are the rarest of this model."""
LABEL: Final = """
    INSERT INTO raw.labels (label_id, schema_version, transaction_id, customer_id, label, source, labelled_at_ms,
        labelled_by) VALUES (%(id)s, 1, %(id)s, 'c', %(label)s, 'test', 1, 'test')
"""
WHY = ChangeReason("test", "test")


@pytest.fixture(scope="module")
def settings(database: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Yield a database with a champion, three candidates and 120 labelled decisions."""
    models = tmp_path_factory.mktemp("models")
    with console_database(database.settings().model_copy(update={"model_dir": models})) as own:
        for role in Role:
            add_account(own.postgres_dsn, role.value, [role], by="test")
        add_account(own.postgres_dsn, "second", [Role.APPROVER], by="test")
        add_account(own.postgres_dsn, "both", [Role.RULES_EDITOR, Role.APPROVER], by="test")
        for name, arrays in (("first", {}), ("next", {}), ("third", {}), ("poor", OTHER_WAY_ROUND)):
            write_model(models, name, **arrays)
            promotion.register_model(own, models / name, WHY)
        with open_registry(own.postgres_dsn) as registry:
            registry.move("first", ModelStage.CHAMPION, WHY, None)
        with psycopg.connect(own.postgres_dsn) as rows:
            add_decisions(rows)
        yield own


def add_decisions(rows: psycopg.Connection[Any]) -> None:
    for number in range(120):
        is_fraud = number % 2 == 0
        features = {spec.name: spec.neutral for spec in FEATURES} | {"velocity_count": 4.0 if is_fraud else 1.0}
        values = {
            "customer": "c", "id": f"t-{number}", "at": START_MS + number, "amount": 100, "merchant": "m",
            "country": "DE", "score": 0.5, "is_alert": False, "features": json.dumps(features), "absent": "{}",
            "reasons": "[]", "label": "fraud" if is_fraud else "genuine",
        }  # fmt: skip
        rows.execute(DECISION, values)
        rows.execute(LABEL, values)


@pytest.fixture(scope="module")
def person(settings: Settings) -> Iterator[Person]:
    """Yield a function that returns a browser in which an account is logged in; the API starts no command itself."""
    with people(settings, ApiSettings(secure_cookie=False, case_work=False, model_work=False)) as logged_in:
        yield logged_in


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the running job: confirm every change, and return the versions in order."""
    sent: list[str] = []

    def send(_: ChangeSender, item: Any, __: ModelStage, ___: Any) -> str:  # noqa: ANN401
        sent.append(item.version)
        return f"ctl-{len(sent)}"

    monkeypatch.setattr(promotion, "_in_force", lambda _: DetectionConfig())
    monkeypatch.setattr(ChangeSender, "send", send)
    return sent


def send(http: httpx.Client, path: str, **values: str) -> httpx.Response:
    """Send a form with the token of the session."""
    csrf = CSRF.search(http.get("/console/models").text)
    assert csrf is not None
    return http.post(f"/console/models/{path}", data={"csrf": csrf[1], **values})


def promotion_of(http: httpx.Client, version: str, stage: str = "champion", reason: str = "better") -> int:
    answer = send(http, "promotions", version=version, stage=stage, days="30", reason=reason)
    assert answer.status_code == 200, answer.text
    return int(answer.url.path.rpartition("/")[2])


def state(http: httpx.Client, number: int) -> str:
    found = re.search(r'<span class="tag">([^<]+)</span>', http.get(f"/console/models/requests/{number}").text)
    assert found is not None
    return found[1]


def work(settings: Settings) -> None:
    while carry_out_next(settings, lambda _: None):
        pass


def champion(settings: Settings) -> str:
    with open_registry(settings.postgres_dsn) as registry:
        found = registry.at(ModelStage.CHAMPION)
    assert found is not None
    return found.version


def audited(settings: Settings, number: int) -> list[tuple[str, str]]:
    assert verify_reads(settings.postgres_dsn).problem is None
    with psycopg.connect(settings.postgres_dsn) as connection:
        query = "SELECT actor, action FROM api.reads WHERE action LIKE 'models.%%' AND detail LIKE %s ORDER BY read_id"
        return connection.execute(query.encode(), (f"{number} %",)).fetchall()


def test_a_promotion_is_checked_approved_by_another_person_carried_out_and_rolled_back(
    settings: Settings, person: Person, job: list[str]
) -> None:
    editor, approver = person("rules-editor"), person("approver")
    number = promotion_of(editor, "next")
    assert promotion_of(editor, "next") == number, "a form that is sent twice"
    early = send(approver, f"requests/{number}/approve", reason="quick")
    assert (early.status_code, "the gate has not checked the version yet" in early.text) == (409, True)
    work(settings)
    page = approver.get(f"/console/models/requests/{number}").text
    assert "average precision" in page
    assert "120 rows with 60 frauds that neither was trained on" in page
    assert state(approver, number) == "waits for approval"
    assert send(editor, f"requests/{number}/approve", reason="mine").status_code == 403
    for _ in range(2):  # a form that is sent twice
        answer = send(approver, f"requests/{number}/approve", reason="seen in the shadow")
        assert (answer.status_code, job) == (200, [])
    work(settings)
    assert (state(editor, number), champion(settings), job) == ("done", "next", ["next"])
    with open_registry(settings.postgres_dsn) as registry:
        event = registry.history("next")[-1]
    assert (event.actor, event.control_id) == ("user:rules-editor, approved by user:approver", "ctl-1")

    assert "The champion before this one was <code>first</code>" in approver.get("/console/models").text
    back = send(approver, "rollbacks", version="first", reason="too many alerts")
    number_back = int(back.url.path.rpartition("/")[2])
    own = send(approver, f"requests/{number_back}/approve", reason="mine")
    assert (own.status_code, "you made this request" in own.text) == (403, True)
    work(settings)
    assert champion(settings) == "next"
    send(person("second"), f"requests/{number_back}/approve", reason="seen too")
    work(settings)
    assert (state(editor, number_back), champion(settings), job) == ("done", "first", ["next", "first"])
    assert audited(settings, number) == [
        ("user:rules-editor", "models.requested"), ("service:models", "models.gate_passed"),
        ("user:approver", "models.approved"), ("service:models", "models.done"),
    ]  # fmt: skip
    assert [action for _, action in audited(settings, number_back)] == [
        "models.requested", "models.approved", "models.done"
    ]  # fmt: skip


def test_a_version_that_the_gate_refuses_cannot_be_approved(settings: Settings, person: Person, job: list[str]) -> None:
    number = promotion_of(person("rules-editor"), "poor")
    work(settings)
    page = person("approver").get(f"/console/models/requests/{number}").text
    assert re.search(r"average precision</td><td><span class=\"tag bad\">refused", page)
    refused = send(person("approver"), f"requests/{number}/approve", reason="please")
    assert (refused.status_code, "the gate refused the version" in refused.text) == (409, True)
    assert ">Approve</button>" not in page
    send(person("rules-editor"), f"requests/{number}/withdraw")
    assert (state(person("viewer"), number), job) == ("withdrawn", [])


def test_an_approver_rolls_back_alone_where_it_is_urgent_and_another_one_reviews_it(
    settings: Settings, person: Person, job: list[str]
) -> None:
    with open_registry(settings.postgres_dsn) as registry:
        registry.move("third", ModelStage.CHAMPION, WHY, None)
        before = registry.previous_champion()
    assert before is not None
    urgent = {"version": before.version, "reason": "it blocks every customer", "urgent": "yes"}
    assert send(person("rules-editor"), "rollbacks", **urgent).status_code == 403
    stale = send(person("approver"), "rollbacks", **urgent | {"version": "poor"})
    assert (stale.status_code, f"the previous champion is {before.version}" in stale.text) == (409, True)
    answer = send(person("approver"), "rollbacks", **urgent)
    number = int(answer.url.path.rpartition("/")[2])
    work(settings)
    assert (state(person("viewer"), number), champion(settings)) == ("done", before.version)
    assert job == [before.version]
    assert "not reviewed" in person("viewer").get("/console/models").text
    assert send(person("approver"), f"requests/{number}/review", reason="fine").status_code == 403
    assert send(person("rules-editor"), f"requests/{number}/review", reason="fine").status_code == 403
    for _ in range(2):  # a form that is sent twice
        assert send(person("second"), f"requests/{number}/review", reason="was right").status_code == 200
    assert "not reviewed" not in person("viewer").get("/console/models").text
    assert [action for _, action in audited(settings, number)] == [
        "models.rolled_back_alone", "models.done", "models.reviewed"
    ]  # fmt: skip


def test_wrong_roles_wrong_forms_and_strangers_change_nothing(person: Person) -> None:
    for name in ("viewer", "analyst", "senior", "auditor", "admin", "approver"):
        answer = send(person(name), "promotions", version="next", stage="shadow", days="7", reason="r")
        assert answer.status_code == 403, name
    for name in ("viewer", "analyst", "senior", "auditor", "admin"):
        assert send(person(name), "rollbacks", version="next", reason="r").status_code == 403
    editor = person("rules-editor")
    for values, why in (
        ({"version": "unknown"}, "is not registered"),
        ({"stage": "archived"}, "the stage is missing"),
        ({"days": "31"}, "number of days"),
        ({"reason": " "}, "1 to 256 characters"),
        ({"reason": "card 4111 1111 1111 1111"}, "card number"),
    ):
        form = {"version": "next", "stage": "shadow", "days": "7", "reason": "r", **values}
        answer = send(editor, "promotions", **form)
        assert (answer.status_code, why in answer.text) == (422, True), answer.text
    assert editor.get("/console/models/requests/999").status_code == 404
    number = promotion_of(person("both"), "poor", "shadow")
    other = send(editor, "promotions", version="poor", stage="shadow", days="7", reason="r")
    assert (other.status_code, f"request {number}" in other.text) == (409, True)
    assert send(editor, f"requests/{number}/withdraw").status_code == 403
    assert send(person("both"), f"requests/{number}/approve", reason="mine").status_code in {403, 409}
    assert '<span class="tag">refused' in send(person("approver"), f"requests/{number}/refuse", reason="no").text
    assert send(person("second"), f"requests/{number}/refuse", reason="no").status_code == 409


@pytest.mark.parametrize(
    ("role", "change", "why"),
    [
        ("api", "gate_passed = true, gate_at = now()", "permission denied"),
        ("api", "outcome = 'done', outcome_at = now()", "permission denied"),
        ("api", "version = 'first'", "permission denied"),
        ("models", "status = 'approved'", "permission denied"),
        ("api", "status = 'approved', decided_by = 'user:both', decided_at = now(), decision_reason = 'r'", "person"),
        ("api", "status = 'refused', decided_by = 'user:admin', decided_at = now(), decision_reason = 'r'", "approver"),
        ("api", "status = 'approved', decided_by = 'user:approver', decided_at = now(), decision_reason = 'r'", "gate"),
        ("api", "reviewed_by = 'user:approver', reviewed_at = now(), review_reason = 'r'", "final"),
    ],
)
def test_the_database_itself_refuses_a_wrong_change(
    settings: Settings,
    person: Person,
    role: DatabaseRole,
    change: str,
    why: str,
) -> None:
    number = promotion_of(person("both"), "poor", "shadow")
    query = f"UPDATE api.model_requests SET {change} WHERE request_id = %s"  # noqa: S608
    with (
        psycopg.connect(settings.postgres_dsn_as(role)) as connection,
        pytest.raises(
            (psycopg.errors.CheckViolation, psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException)
        ) as found,
    ):
        connection.execute(query.encode(), (number,))
    assert why in str(found.value)


def test_a_request_whose_process_died_is_carried_out_by_the_next_one(
    settings: Settings, person: Person, job: list[str]
) -> None:
    number = promotion_of(person("both"), "poor", "shadow")
    work(settings)
    send(person("approver"), f"requests/{number}/approve", reason="yes")
    took = "UPDATE api.model_requests SET taken_at = %s WHERE request_id = %s"
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        connection.execute(took, ("now", number))
        work(settings)
        assert state(person("viewer"), number) == "running"
        with open_registry(settings.postgres_dsn) as registry:
            registry.move("poor", ModelStage.SHADOW, WHY, None)
        connection.execute(
            "UPDATE api.model_requests SET taken_at = now() - interval '1 hour'  WHERE request_id = %s", (number,)
        )
    work(settings)
    assert (state(person("viewer"), number), job) == ("done", []), "the stage was recorded before"
    registered = send(person("both"), "promotions", version="poor", stage="shadow", days="7", reason="r")
    assert (registered.status_code, "is shadow already" in registered.text) == (422, True)


def test_the_api_starts_the_command_while_a_request_waits_and_logs_why_it_failed(
    settings: Settings,
    person: Person,
    job: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(worker, "COMMAND", (sys.executable, "-c", "raise SystemExit('no login')"))
    monkeypatch.setattr(worker, "PAUSE_S", 0)

    async def step() -> None:
        database = Database(settings.postgres_dsn_as("api"), patient(ApiSettings()))
        await database.open()
        await worker.ModelWorker(database).step()
        await database.close()

    work(settings)
    asyncio.run(step())
    assert "carry-out failed" not in caplog.text
    number = promotion_of(person("rules-editor"), "next")
    asyncio.run(step())
    assert "streamflow model carry-out failed with exit code 1: no login" in caplog.text
    assert (state(person("viewer"), number), job) == ("waits for the gate", [])
    send(person("rules-editor"), f"requests/{number}/withdraw")


def test_a_failure_is_shown_and_the_command_says_what_login_it_lacks(
    settings: Settings, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: object) -> DetectionConfig:
        raise UserError("no broker answers", "start it")

    monkeypatch.setattr(promotion, "_in_force", away)
    number = promotion_of(person("both"), "third", "shadow")
    work(settings)
    page = person("viewer").get(f"/console/models/requests/{number}").text
    assert "The gate could not run: no broker answers: start it" in page
    promotion_of(person("rules-editor"), "next", "shadow")
    viewer = settings.model_copy(
        update={
            "postgres_models_user": settings.postgres_analyst_user,
            "postgres_models_password": settings.postgres_analyst_password,
        }
    )
    with pytest.raises(UserError, match="the login streamflow_analyst may not carry out requests"):
        carry_out_next(viewer, lambda _: None)


def test_a_required_card_and_approver_refuse_a_champion_even_by_force(
    database: Stack, settings: Settings, person: Person, job: list[str], tmp_path: Path
) -> None:
    where = {"STREAMFLOW_HOME": str(database.home.root), "STREAMFLOW_POSTGRES_DATABASE": settings.postgres_database}
    required = settings.model_copy(update={"promotion_requires": "card, approver"})
    card, facts = tmp_path / "card.md", tmp_path / "governance.yaml"

    def command(*arguments: str) -> Result:
        return CliRunner(env=where).invoke(model_cli, ["card", "third", *arguments])

    def record(text: str, **stated: str) -> Result:
        card.write_text(text)
        facts.write_text("".join(f"{name}: {value}\n" for name, value in stated.items()))
        return command("--card", str(card), "--governance", str(facts), "--by", "val")

    def refused(*, force: bool) -> list[str]:
        asked = promotion.PromotionRequest(
            "third", ModelStage.CHAMPION, WHY, GateBounds(), None, 1.0, force=force, days=30
        )
        return promotion.promote_model(required, asked, START_MS, lambda _: None).refusals

    number = promotion_of(person("rules-editor"), "third")
    work(required)
    page = person("approver").get(f"/console/models/requests/{number}").text
    assert re.search(r"required card</td><td><span class=\"tag bad\">refused.*no model card of third is recorded", page)
    assert ">Approve</button>" not in page
    send(person("rules-editor"), f"requests/{number}/withdraw")

    with open_registry(settings.postgres_dsn) as registry:
        digest = registry.get("third").digest
    whole = f"# Model card: third\n\n- arrays SHA-256 `{digest}`\n"
    for text, why in (
        (whole.replace("card:", "card (draft):"), "it is the draft"),
        (whole.replace("third", "next"), "its title is"),
        (whole.replace(digest, "0" * 64), "other arrays"),
    ):
        assert why in str(record(text, approver="Eve").exception)
    assert "no model card of third is recorded" in str(command().exception)
    assert "give --card and --governance" in str(command("--card", str(card)).exception)

    assert record(whole, developer="Ada", approver="Ada", approved_on="2026-11-27").exit_code == 0
    assert [text for text in refused(force=True) if "required" in text] == [
        "required approver: the approver, Ada, is also the developer"
    ]
    assert record(whole, developer="Ada").exit_code == 0
    assert any("does not state `approver`, `approved_on`" in text for text in refused(force=True))
    assert (job, champion(settings)) == ([], "first")

    assert record(whole, developer="Ada", approver="Eve", approved_on="2026-11-27").exit_code == 0
    assert digest in command().output
    number = promotion_of(person("rules-editor"), "third")
    work(required)
    send(person("approver"), f"requests/{number}/approve", reason="the card is complete")
    work(required)
    assert (state(person("viewer"), number), champion(settings), job) == ("done", "third", ["third"])
    with psycopg.connect(settings.postgres_dsn) as owner, pytest.raises(psycopg.errors.RaiseException, match="append"):
        owner.execute("DELETE FROM ml.model_cards")


def test_a_version_that_another_process_registers_in_the_meantime_is_registered_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, finds = write_model(settings.model_dir, "twin"), iter([True])
    found = Registry.find

    def late(registry: Registry, version: str) -> RegisteredModel | None:
        if next(finds, False):
            assert promotion.register_model(settings, directory, WHY)[1], "the other process"
            return None
        return found(registry, version)

    monkeypatch.setattr(Registry, "find", late)
    assert promotion.register_model(settings, directory, WHY)[1] is False
    with open_registry(settings.postgres_dsn) as registry:
        assert [event.event for event in registry.history("twin")] == ["registered"]
