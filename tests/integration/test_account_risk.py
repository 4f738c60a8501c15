"""Account risk in Postgres: the view agrees with the detector's own rules, and the migration keeps rows."""

from __future__ import annotations

import random
import shutil
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import orjson
import psycopg
import pytest
from psycopg.rows import dict_row

from flink_jobs.core.accounts.action import UserAction
from flink_jobs.core.accounts.document import AccountAction
from flink_jobs.core.rules import RULE_BY_ID
from flink_jobs.job.archiver.rows import write_messages
from flink_jobs.job.archiver.tables import ARCHIVE_OF
from flink_jobs.kafka.action_client import account_of
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.account_samples import action

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.settings import Settings

pytestmark = pytest.mark.stack

HOUR_MS = 3_600_000


def random_actions(customers: int, count: int, now_ms: int) -> dict[str, list[UserAction]]:
    """Return actions that often meet in kind, merchant, card, rule or time; some have ended."""
    chance = random.Random(7)  # noqa: S311 - a test
    found = defaultdict[str, list[UserAction]](list)
    for number in range(count):
        customer = f"c-{number % customers}"
        kind = chance.choice(list(AccountAction))
        issued = now_ms - chance.randint(1, 6) * HOUR_MS
        rule = chance.choice(sorted(RULE_BY_ID)) if kind is AccountAction.SUPPRESS else None
        if kind is AccountAction.CLEAR and chance.random() < 0.5:
            rule = chance.choice(sorted(RULE_BY_ID))
        found[customer].append(
            action(
                kind.value,
                customer,
                **chance.choice([{}, {}, {}, {"merchant": "m-1"}, {"card": "m-1"}]),
                rule=rule,
                issued_at_ms=issued,
                expires_at_ms=None if kind is AccountAction.CLEAR else issued + chance.randint(2, 20) * HOUR_MS // 2,
                actor=chance.choice(["ann", "bob"]),
                case_id="7",
            )
        )
    return found


def test_the_view_agrees_with_the_detector_for_every_customer(fresh_database: Settings, tmp_path: Path) -> None:
    dsn = fresh_database.postgres_dsn
    for path in sorted(MIGRATIONS.glob("*.sql")):
        if path.name < "0019":
            shutil.copy(path, tmp_path)
    apply_migrations(dsn, tmp_path)
    insert = """
        INSERT INTO raw.decisions (schema_version, transaction_id, customer_id, event_time_ms, processing_time_ms,
            amount_minor, currency, score, rule_score, alpha, threshold, is_alert, features, absent, reasons, model,
            ruleset_version, config_revision, out_of_order_ms, source_topic, source_partition, source_offset)
        VALUES (2, 't-1', 'c-0', 1704067200000, 1704067200000, 1, 'USD', 0, 0, 0, 1, false, '{}', '{}', '[]',
            'degraded', '2', 0, 0, 't', 0, 0)"""
    with psycopg.connect(dsn) as connection:
        connection.execute(insert)
    assert "0019_actions_on_accounts" in {name.removesuffix(".sql") for name in apply_migrations(dsn, MIGRATIONS)}

    now_ms = time.time_ns() // 1_000_000
    by_customer = random_actions(60, 600, now_ms)
    messages = [orjson.dumps(item.document()).decode() for items in by_customer.values() for item in items]
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        assert write_messages(connection, ARCHIVE_OF["user-actions"], [*messages, *messages[:50]]) == []
        kept: list[dict[str, Any]] = connection.execute("SELECT actions FROM raw.decisions").fetchall()
        risks = connection.execute("SELECT * FROM raw.account_risk").fetchall()
        standing = connection.execute(
            "SELECT customer_id, action_id FROM raw.standing_actions WHERE expires_at > now()"
        )
        in_force = defaultdict[str, set[str]](set)
        for row in standing.fetchall():
            in_force[row["customer_id"]].add(row["action_id"])
    assert kept == [{"actions": None}]
    assert {row["customer_id"] for row in risks} == by_customer.keys()
    for row in risks:
        expected = account_of(by_customer[row["customer_id"]], now_ms)
        assert in_force[row["customer_id"]] == {item.id for item in expected.in_force}
        assert row["actions_in_force"] == len(expected.in_force)
        assert (row["risk"], row["risk"] != "none") == (expected.risk, row["since"] is not None)
        if row["risk"] != "none":
            deciding = next(item for item in expected.in_force if item.id == row["action_id"])
            assert (deciding.issued_at_ms, deciding.reason) == (round(row["since"].timestamp() * 1000), row["why"])
    assert {row["risk"] for row in risks} == {"blocked", "watch", "none"}
