"""The nightly DAGs, really run: retraining with commands of the streaming environment, dead letters, backups."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from flink_jobs.settings import Settings
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


def test_a_backup_is_taken_proven_and_old_backups_are_deleted(run_dag: Run, ask: Ask, settings: Settings) -> None:
    settings.backup_dir.mkdir(exist_ok=True)
    for ending in ("dump", "json"):
        (settings.backup_dir / f"streamflow-20260101T014300Z.{ending}").touch()
    run = run_dag("backup", keep_days=30)
    assert set.union(*states(run).values()) == {"success"}
    (dump,) = settings.backup_dir.glob("*.dump")
    assert not dump.name.startswith("streamflow-20260101"), "the older one is gone"
    found = ask("SELECT backup_name, row_count > 0, verified_at >= taken_at FROM ops.backups ORDER BY taken_at DESC")
    assert found[0] == (dump.stem, True, True)
    tables = json.loads(dump.with_suffix(".json").read_text())["tables"]
    for table in RAW_TABLES:
        rows = ask(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608
        assert tables[table][0] == rows > 0, f"{table} has no rows: the comparison would be empty"
    assert ask("SELECT datname FROM pg_database WHERE datname LIKE 'scratch%%'") == []
