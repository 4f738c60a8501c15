"""The nightly DAGs, really run: retraining with commands of the streaming environment, dead letters, backups."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flink_jobs.errors import UserError
from flink_jobs.settings import Settings
from flink_jobs.warehouse import backups
from tests.orchestration.states import states

Ask = Callable[..., list[tuple[Any, ...]]]
Run = Callable[..., Any]
RAW_TABLES = ("raw.decisions", "raw.alerts", "raw.dead_letters", "raw.labels", "ops.model_drift", "ml.model_versions")


def versions(ask: Ask) -> dict[str, str]:
    return dict(ask("SELECT version, stage FROM ml.model_versions"))  # type: ignore[arg-type]


ASKED = {"max_age_days": 0.01, "kind": "isolation_forest", "evaluation_data": None}
"""Parameters of a run. Every run sets all of them, because ``dag.test`` keeps those of the previous run."""


def test_a_check_without_training(run_dag: Run, ask: Ask) -> None:
    run = run_dag("model_retraining", **ASKED, train="never", promote_to="shadow")
    assert (states(run)["judge"], states(run)["train"]) == ({"success"}, {"skipped"})
    assert ask("SELECT DISTINCT verdict FROM ops.model_drift") == [("retrain",)]
    assert versions(ask) == {}


def test_an_old_model_is_replaced_but_not_promoted_without_a_running_job(
    run_dag: Run, ask: Ask, settings: Settings
) -> None:
    run = run_dag("model_retraining", **ASKED, train="needed", promote_to="shadow")
    assert (states(run)["train"], states(run)["promote"]) == ({"success"}, {"failed"})
    ((version, stage),) = versions(ask).items()
    assert stage == "candidate"
    manifest, reason = ask(
        "SELECT manifest, reason FROM ml.model_versions JOIN ml.model_events USING (version) WHERE event = 'registered'"
    )[0]
    assert manifest["training_data"]["source"] == "raw.decisions"
    assert "days since the last training row" in reason
    assert (settings.model_dir / "current").read_text().strip() != version, "what jobs load is decided by promotion"
    heard = ask("SELECT kind, what FROM ops.incidents WHERE dag_id = 'model_retraining'")
    assert [kind for kind, _ in heard] == ["task_failed"]
    assert "no Kafka broker answers" in heard[0][1]


def test_dead_letters_are_reported_by_reason_and_without_their_payload(
    run_dag: Run, ask: Ask, settings: Settings
) -> None:
    letters = ask("SELECT stage, reason, disposition, processing_time_ms, dlq_id, payload FROM raw.dead_letters")
    days = {datetime.fromtimestamp(letter[3] / 1000, UTC).date() for letter in letters}
    assert len(days) == 1
    counted = Counter(letter[:3] for letter in letters)
    report = "SELECT stage, reason, disposition, letters, usual_letters, example_id FROM ops.dead_letter_report"
    for _ in range(2):  # the second run counts the reported day again
        run = run_dag("dead_letter_report")
        assert states(run)["report"] == {"success"}
        rows = ask(report)
        assert {row[:3]: row[3] for row in rows} == counted
        newest = {letter[:3]: letter[4] for letter in sorted(letters, key=lambda letter: letter[3])}
        assert {row[:3]: row[5] for row in rows} == newest
    page = (settings.report_dir / f"dead-letters-{days.pop()}.html").read_text()
    assert all(reason in page for _, reason, _ in counted)
    assert not [letter for letter in letters if letter[5] and letter[5] in page]

    change = "UPDATE raw.dead_letters SET processing_time_ms = processing_time_ms + %s WHERE reason = %s"
    reason = letters[0][1]
    ask(change, 86_400_000, reason)
    run_dag("dead_letter_report")
    of_reason = sum(count for key, count in counted.items() if key[1] == reason)
    found = ask(f"{report} WHERE reason = %s ORDER BY set_aside_on DESC LIMIT 1", reason)
    assert found[0][3:5] == (of_reason, 0.0)
    ask(change, -86_400_000, reason)


def rows_of(dsn: str, table: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        query = f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1"  # noqa: S608
        return [row[0] for row in connection.execute(query.encode())]


def test_a_backup_is_restored_and_compared_and_old_backups_are_deleted(
    run_dag: Run, ask: Ask, settings: Settings
) -> None:
    first = backups.back_up(settings, settings.backup_dir, datetime(2026, 1, 1, tzinfo=UTC))
    assert ask("SELECT verified_at FROM ops.backups") == [(None,)]
    run = run_dag("backup", keep=1)
    assert set.union(*states(run).values()) == {"success"}
    (dump,) = settings.backup_dir.glob("*.dump")
    assert dump != first, "the older one is gone"
    found = ask("SELECT backup_name, row_count > 0, verified_at >= taken_at FROM ops.backups ORDER BY taken_at DESC")
    assert found[0] == (dump.stem, True, True)
    assert ask("SELECT datname FROM pg_database WHERE datname LIKE 'scratch%%'") == []

    with backups.scratch_database(settings) as scratch:
        backups.restore(scratch, dump)
        for table in RAW_TABLES:
            here = rows_of(settings.postgres_dsn, table)
            assert here == rows_of(scratch.postgres_dsn, table)
            assert here, f"{table} has no rows: the comparison would be empty"
        for (table,) in ask("SELECT tablename FROM pg_tables WHERE schemaname = 'gold'"):
            here = rows_of(settings.postgres_dsn, f"gold.{table}")
            assert rows_of(scratch.postgres_dsn_as("transformer"), f"gold.{table}") == here
        with psycopg.connect(scratch.postgres_dsn_as("analyst")) as connection, pytest.raises(psycopg.Error):
            connection.execute("SELECT FROM raw.decisions")


def test_a_backup_that_restores_other_rows_is_rejected(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = backups.back_up(settings, tmp_path, datetime.now(UTC))
    sums = dump.with_suffix(".json")
    written = json.loads(sums.read_text())
    written["tables"]["raw.labels"][0] += 1
    sums.write_text(json.dumps(written))
    with pytest.raises(UserError, match=r"does not restore what was dumped \(raw.labels"):
        backups.verify(settings, dump)
    sums.unlink()
    with pytest.raises(UserError, match="is not complete"):
        backups.verify(settings, dump)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="pg_dump is not on PATH"):
        backups.back_up(settings, tmp_path / "other", datetime.now(UTC))
    assert list((tmp_path / "other").iterdir()) == [], "no unfinished file is left"
