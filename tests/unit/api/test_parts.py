"""The parts of the API that need no request: settings, policy, keys and the chain of reads."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import SecretStr

from api import keys, policy, reads
from api.cases import opening
from api.console.accounts import add_account
from api.console.roles import Role
from api.identity.settings import JwtSettings, OidcSettings
from api.in_force import Watch
from api.policy import Action
from api.reads import START, row_sha256, verify_chain
from api.rules import store as proposals
from api.settings import ApiSettings, load_api_settings, load_group
from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.transaction import Transaction
from flink_jobs.dead_letters import redrive_audit
from flink_jobs.errors import UserError
from flink_jobs.model_registry import versions
from flink_jobs.settings import REPO_ROOT, Settings
from flink_jobs.warehouse import migrations
from tests.unit.api.service import Memory, no_model

PAYMENT = Transaction("t-1", "c-1", 4_999, "USD", 1_700_000_000_000, merchant="Corner Shop")


def test_settings_come_from_the_stack_and_wrong_values_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stack.env").write_text("STREAMFLOW_API_DEADLINE_MS='250'\n")
    assert load_api_settings(tmp_path).deadline_ms == 250
    monkeypatch.setenv("STREAMFLOW_API_DEADLINE_MS", "0")
    with pytest.raises(UserError, match="STREAMFLOW_API_DEADLINE_MS: "):
        load_api_settings(tmp_path)
    monkeypatch.setenv("STREAMFLOW_API_DEADLINE_MS", "100")
    monkeypatch.setenv("STREAMFLOW_API_REVIEW_FROM", "0.9")
    with pytest.raises(UserError, match="REVIEW_FROM must be at most"):
        load_api_settings(tmp_path)


def test_the_page_has_every_setting_with_its_default() -> None:
    page = (REPO_ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for group in (ApiSettings, OidcSettings, JwtSettings):
        prefix = group.model_config["env_prefix"]
        for name, field in group.model_fields.items():
            value = field.get_default(call_default_factory=True, validated_data={})
            default = "none" if value is None else json.dumps(value) if isinstance(value, list | dict) else str(value)
            assert f"| `{prefix}{name.upper()}` | {default} | {field.description} |" in page


def test_every_test_that_the_security_page_names_exists() -> None:
    page = (REPO_ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:unit|integration)/[\w/]+\.py)`", page))
    assert len(named) >= 8
    assert [name for name in named if not (REPO_ROOT / "tests" / name).is_file()] == []


@pytest.mark.parametrize("password", ["x" * 11, "x" * 129])
def test_a_short_or_endless_password_is_refused(password: str) -> None:
    with pytest.raises(UserError, match="12 to 128"):
        add_account("", "ada", [Role.ANALYST], by="test", password=password)


def test_identity_settings_come_from_mounted_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "issuer": "https://sso.example.org/", "client_id": "console", "client_secret": "hidden",
        "public_url": "https://fraud.example.org", "roles": '{"desk": "analyst"}',
    }  # fmt: skip
    for name, value in values.items():
        (tmp_path / f"streamflow_oidc_{name}").write_text(value)
    (tmp_path / "streamflow_api_redis_url").write_text("rediss://:x@redis:6379/0")
    monkeypatch.setenv("STREAMFLOW_SECRETS_DIR", str(tmp_path))
    found = load_group(OidcSettings, tmp_path)
    assert (found.issuer, found.roles) == ("https://sso.example.org", {"desk": Role.ANALYST})
    assert "hidden" not in str(found.masked())
    assert load_api_settings(tmp_path).redis_url is not None


def test_secrets_are_masked() -> None:
    shown = OidcSettings(client_secret=SecretStr("hidden")).masked()
    assert "hidden" not in str(shown)
    assert shown["STREAMFLOW_OIDC_CLIENT_SECRET"] == "*" * 10


@pytest.mark.parametrize(
    ("score", "is_alert", "action"),
    [
        (0.39, False, Action.APPROVE),
        (0.4, False, Action.REVIEW),
        (0.1, True, Action.REVIEW),
        (0.75, True, Action.DECLINE),
        (0.75, False, Action.DECLINE),
    ],
)
def test_the_action_follows_the_thresholds_and_an_alert_is_reviewed(
    score: float,
    is_alert: bool,  # noqa: FBT001
    action: Action,
) -> None:
    assert policy.action_of(score, is_alert=is_alert, settings=ApiSettings()) is action


@pytest.mark.parametrize(
    ("probability", "is_alert", "on_score", "on_probability"),
    [
        (0.2, False, Action.DECLINE, Action.APPROVE),
        (0.2, True, Action.DECLINE, Action.REVIEW),
        (0.4, False, Action.DECLINE, Action.REVIEW),
        (0.75, False, Action.DECLINE, Action.DECLINE),
        (None, False, Action.DECLINE, Action.DECLINE),
    ],
)
def test_thresholds_can_be_given_on_the_probability(
    probability: float | None,
    is_alert: bool,  # noqa: FBT001
    on_score: Action,
    on_probability: Action,
) -> None:
    for which, action in (("score", on_score), ("probability", on_probability)):
        settings = ApiSettings.model_validate({"thresholds_on": which})
        found = policy.action_of(0.9, is_alert=is_alert, settings=settings, probability=probability)
        assert found is action


@pytest.mark.parametrize(
    ("code", "score", "action"),
    [
        (ReasonCode.ACCOUNT_BLOCKED, 0.0, Action.DECLINE),
        (ReasonCode.ACCOUNT_ALLOWED, 0.9, Action.APPROVE),
        (ReasonCode.ACCOUNT_WATCHED, 0.0, Action.REVIEW),
        (ReasonCode.ACCOUNT_WATCHED, 0.9, Action.DECLINE),
    ],
)
def test_an_action_on_the_account_goes_before_the_score(code: ReasonCode, score: float, action: Action) -> None:
    assert policy.action_of(score, is_alert=False, settings=ApiSettings(), codes=[code.value]) is action


def test_the_fallback_asks_the_blacklist_then_the_amount_then_the_default() -> None:
    listed = DetectionConfig(blacklist=Blacklist(merchant=frozenset({"corner shop"})))
    small = ApiSettings(fallback_approve_below=50)
    assert policy.fallback(PAYMENT, listed, small) == (Action.DECLINE, (ReasonCode.BLACKLISTED,))
    assert policy.fallback(PAYMENT, DetectionConfig(), small) == (Action.APPROVE, ())
    assert policy.fallback(PAYMENT, DetectionConfig(), ApiSettings(fallback_approve_below=49.99)).action == "review"
    assert policy.fallback(PAYMENT, DetectionConfig(), ApiSettings()).action == "review"
    assert policy.fallback(PAYMENT, DetectionConfig(), ApiSettings(fallback_action="decline")).action == "decline"


def test_the_fallback_follows_the_action_on_the_account() -> None:
    listed = DetectionConfig(blacklist=Blacklist(merchant=frozenset({"corner shop"})))
    small, strict = ApiSettings(fallback_approve_below=50), ApiSettings(fallback_action="decline")
    blocked, allowed, watched = ReasonCode.ACCOUNT_BLOCKED, ReasonCode.ACCOUNT_ALLOWED, ReasonCode.ACCOUNT_WATCHED
    assert policy.fallback(PAYMENT, DetectionConfig(), small, blocked) == (Action.DECLINE, (blocked,))
    assert policy.fallback(PAYMENT, DetectionConfig(), strict, allowed) == (Action.APPROVE, (allowed,))
    assert policy.fallback(PAYMENT, listed, small, allowed).action == "decline", "a list of everybody goes before it"
    assert policy.fallback(PAYMENT, DetectionConfig(), small, watched) == (Action.REVIEW, (watched,))
    assert policy.fallback(PAYMENT, DetectionConfig(), strict, watched).action == "decline"


def test_every_reason_code_has_words() -> None:
    assert set(policy.WORDS) == set(ReasonCode)


def test_a_key_has_a_prefix() -> None:
    assert keys.prefix_of("sfk_0123456789_a_b") == "0123456789"
    for text in (None, "", "sfk", "sfk__x", "sfk_01234567890_x", "SFK_0_x", "sfk_\u0663_x"):
        assert keys.prefix_of(text) is None


def chain(count: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(1, count + 1):
        previous = rows[-1]["row_sha256"] if rows else START
        row: dict[str, Any] = {
            "read_id": number, "happened_at_ms": 1_700_000_000_000, "actor": "key:a", "action": "decisions.get",
            "customer_id": None, "request_id": "r", "detail": "t", "previous_sha256": previous,
        }  # fmt: skip
        rows.append({**row, "row_sha256": row_sha256(row, previous)})
    return rows


def test_an_unbroken_chain_is_verified_up_to_its_head() -> None:
    rows = chain(3)
    assert verify_chain([]).head == START
    report = verify_chain(rows, expect=rows[1]["row_sha256"])
    assert (report.rows, report.head, report.problem) == (3, rows[-1]["row_sha256"], None)


def test_a_changed_a_deleted_and_a_forged_row_break_the_chain() -> None:
    rows = chain(4)
    changed = [*rows[:1], {**rows[1], "customer_id": "c-2"}, *rows[2:]]
    assert verify_chain(changed).problem == "row 2 was changed"
    assert verify_chain([rows[0], *rows[2:]]).problem == "row 2 is missing; the next one is 3"
    forged = {**rows[1], "customer_id": "c-2"}
    forged["row_sha256"] = row_sha256(forged, forged["previous_sha256"])
    assert verify_chain([rows[0], forged, *rows[2:]]).problem == "row 3 does not continue row 2"


def test_rows_deleted_at_the_end_are_found_with_the_expected_head() -> None:
    rows = chain(3)
    assert verify_chain(rows[:2]).problem is None
    problem = verify_chain(rows[:2], expect=rows[2]["row_sha256"]).problem
    assert problem is not None
    assert problem.endswith("rows at the end were deleted")


def test_no_two_parts_wait_for_the_same_advisory_lock() -> None:
    keys_of_locks = [part._LOCK for part in (reads, opening, proposals, redrive_audit, versions, migrations)]
    assert len(set(keys_of_locks)) == len(keys_of_locks)


def test_an_unexpected_error_does_not_end_the_reading_of_the_configuration() -> None:
    memory, failures = Memory(), [RuntimeError("a row that cannot be read")]

    def audit(_: Mapping[str, Any]) -> list[dict[str, Any]]:
        if failures:
            raise failures.pop()
        return []

    memory.tables["ops.control_audit"] = audit
    watch = Watch(memory, cast("Settings", None), 0, no_model)

    async def until_read() -> None:
        running = asyncio.create_task(watch.run())
        async with asyncio.timeout(60):
            while not watch.is_read:
                assert not running.done()
                await asyncio.sleep(0)
        running.cancel()

    asyncio.run(until_read())
    assert failures == []
