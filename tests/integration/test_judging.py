"""The decisions of a real job: reproduced by a backtest, judged by labels, checked for drift, and used for training.

One job with its own topics runs through the whole file; a change of settings and a shift of amounts come last.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.cli.app import app
from flink_jobs.cli.traffic_commands import write_events
from flink_jobs.core.documents import ControlChanges
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.manifest import MANIFEST_FILE
from flink_jobs.core.models.model import load_model, model_directory
from flink_jobs.errors import UserError
from flink_jobs.kafka.control_client import build_message, encode_checked, send_and_wait
from flink_jobs.local.ports import free_ports
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from flink_jobs.traffic.simulate import SimulationPlan, simulate
from flink_jobs.waiting import wait_for
from ml.backtest.backtest import Setup, backtest_decisions
from ml.backtest.rule_set import RuleSetChanges
from ml.dataset import FRAUD, GENUINE, UNKNOWN
from ml.history.configurations import read_configurations
from ml.history.connection import warehouse
from ml.history.decisions import Period, read_decisions
from ml.history.manifests import find_manifest
from ml.history.precision import read_precision
from ml.history.recorded_dataset import recorded_dataset
from tests.integration import jobs

PREFIX = "judging"
KNOWN, USUAL, CHANGED, SHIFTED = 6_000, 2_000, 500, 1_000
"""Events: the file trained on; then as before; then under other settings; then with six times the amounts."""
CHANGES: ControlChanges = {
    "alert_threshold": 0.45,
    "rules": {"velocity": {"threshold": 4}, "unusual_time": {"enabled": False}},
}
LABELS_UNTIL_MS = 1_000


@dataclass(frozen=True)
class History:
    """The events sent to the job, and the model that scored them."""

    stack: Stack
    models: Path
    version: str
    usual: list[SourceEvent]
    """From the first event after the training file on, until settings change."""
    sent: list[SourceEvent]

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run a command of the product and return its exit code and its JSON."""
        environment = {"STREAMFLOW_HOME": str(self.stack.home.root)}
        result = CliRunner().invoke(app, [*arguments, "--output", "json"], env=environment, catch_exceptions=False)
        return result.exit_code, json.loads(result.stdout)


@pytest.fixture(scope="module")
def history(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> History:
    """Run the job through all phases once."""
    folder = tmp_path_factory.mktemp("judging")
    total = KNOWN + USUAL + CHANGED + SHIFTED
    simulated = itertools.islice(simulate(SimulationPlan(customers=100, seed=5)), total)
    events = [jobs.renamed(event, PREFIX) for event in simulated]
    events[-SHIFTED:] = [shifted(event) for event in events[-SHIFTED:]]
    write_events(iter(events[:KNOWN]), folder / "known.jsonl")
    trained = CliRunner().invoke(
        app,
        ["train", "--data", str(folder / "known.jsonl"), "--out", str(folder / "models"), "--train-fraction", "0.5"],
        catch_exceptions=False,
    )
    assert trained.exit_code == 0, trained.output
    version = model_directory(folder / "models").name
    environment = {
        "STREAMFLOW_TOPIC_PREFIX": jobs.own_topics(stack, PREFIX),
        "STREAMFLOW_MODEL_DIR": str(folder / "models"),
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "1000",
        "STREAMFLOW_IDLE_TIMEOUT_MS": "1000",
    }
    with jobs.running_jobs(stack, environment):
        account(stack, events[: KNOWN + USUAL])
        change_settings(stack)
        account(stack, events[KNOWN + USUAL :])
        wait_for(lambda: recorded(stack, version) == total, limit_s=jobs.PATIENCE_S, what="all decisions in Postgres")
    add_labels(stack, events)
    return History(stack, folder / "models", version, events[KNOWN : KNOWN + USUAL], events)


def shifted(event: SourceEvent) -> SourceEvent:
    transaction = {**event.transaction, "amount_minor": event.transaction["amount_minor"] * 6}
    return replace(event, transaction=transaction)


def account(stack: Stack, events: list[SourceEvent]) -> None:
    balance = jobs.account(stack, jobs.send(stack, events, prefix=PREFIX), PREFIX)
    assert balance.is_as_expected, "\n".join(balance.lines())
    assert balance.degraded == 0


def change_settings(stack: Stack) -> None:
    message = build_message(CHANGES, issued_by="tester", reason="test", expected_revision=0, now_ms=0)
    broker = stack.settings().broker()
    answer = send_and_wait(broker, PREFIX, encode_checked(message), message["control_id"], 400)
    assert answer is not None
    assert answer["outcome"] == "applied"


def recorded(stack: Stack, version: str) -> int:
    query = "SELECT count(*) AS decisions FROM raw.decisions WHERE model_version = %s"
    return int(jobs.rows(stack, query, version)[0]["decisions"])


def add_labels(stack: Stack, events: list[SourceEvent]) -> None:
    """Label every second transaction, the later half of these after `LABELS_UNTIL_MS`; one changes its label."""
    rows = [
        (f"{PREFIX}-{number}", event.transaction["transaction_id"], event.transaction["customer_id"],
         "fraud" if event.label else "genuine", LABELS_UNTIL_MS if number < len(events) / 2 else LABELS_UNTIL_MS + 1)
        for number, event in enumerate(events) if number % 2 == 0
    ]  # fmt: skip
    first = rows[0]
    rows.append((f"{PREFIX}-again", first[1], first[2], "genuine" if first[3] == "fraud" else "fraud", first[4] + 1))
    with psycopg.connect(stack.settings().postgres_dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO raw.labels (label_id, schema_version, transaction_id, customer_id, label, source,"
            " labelled_at_ms, labelled_by) VALUES (%s, 1, %s, %s, %s, 'test', %s, 'tester')",
            rows,
        )


def test_the_settings_in_force_give_every_recorded_score_exactly(history: History) -> None:
    """Holds for two revisions, with the recorded model scores and with the model itself."""
    model = load_model(model_directory(history.models, history.version), FEATURE_NAMES)
    for plan in (Setup(), Setup(model=model)):
        with warehouse(history.stack.settings().postgres_dsn) as connection:
            decisions = list(read_decisions(connection, Period(model_version=history.version)))
            comparison = backtest_decisions(decisions, read_configurations(connection), plan)
        assert {one.config_revision for one in decisions} == {0, 1}
        assert comparison.decisions == len(history.sent)
        assert comparison.changed_scores == 0
        assert comparison.before.alerts == comparison.kept.alerts > 0
        assert comparison.rules_before == comparison.rules_after


def test_other_settings_gain_and_lose_what_they_should(history: History) -> None:
    stricter = Setup(RuleSetChanges({"alert_threshold": 0.3}, "test"))
    with warehouse(history.stack.settings().postgres_dsn) as connection:
        decisions = list(read_decisions(connection, Period(model_version=history.version)))
        comparison = backtest_decisions(decisions, read_configurations(connection), stricter)
    assert comparison.lost.alerts == 0
    assert comparison.gained.alerts == sum(one.score >= 0.3 and not one.is_alert for one in decisions) > 0
    assert comparison.labelled == len(history.sent) // 2
    assert len(comparison.gained_examples()) > 0


def test_the_commands_read_the_same_tables(history: History) -> None:
    window = ("--since", moment(history.sent[0]), "--until", moment(history.sent[-1]))
    code, document = history.run("backtest", "--from-decisions", *window)
    assert (code, document["changed_scores"]) == (0, 0)
    assert document["decisions"] >= len(history.sent) - 2
    code, document = history.run("precision")
    assert code == 0
    (mine,) = [one for one in document["models"] if one["name"] == history.version]
    low, high = mine["interval"]
    assert low <= mine["precision"] <= high


def test_recorded_features_are_rows_to_train_on(history: History) -> None:
    """Only labels known by a given time count: later labels are unknown, and a later correction is ignored."""
    with warehouse(history.stack.settings().postgres_dsn) as connection:
        period = Period(model_version=history.version, labels_until_ms=LABELS_UNTIL_MS)
        dataset = recorded_dataset(read_decisions(connection, period))
    assert len(dataset) == len(history.sent)
    assert (np.diff(dataset.event_time_ms) >= 0).all()
    known = dict(zip(dataset.transaction_ids, dataset.labels, strict=True))
    for number, event in enumerate(history.sent):
        expected = UNKNOWN if number % 2 or number >= len(history.sent) / 2 else FRAUD if event.label else GENUINE
        assert known[event.transaction["transaction_id"]] == expected


def test_a_model_is_trained_on_what_was_recorded(history: History, tmp_path: Path) -> None:
    until = ("--until", moment(history.sent[-1]))
    code, manifest = history.run("train", "--from-decisions", *until, "--out", str(tmp_path), "--trees", "10")
    assert code == 0
    assert manifest["training_data"]["source"] == "raw.decisions"
    assert manifest["training_data"]["rows"] > len(history.sent) / 2
    assert manifest["metrics"]["labelled_rows"] > 0
    arguments = ("--model", history.version, "--models", str(history.models), "--resamples", "20", *until)
    code, judged = history.run("evaluate", "--from-decisions", *arguments)
    assert code == 0
    assert judged["source"] == "raw.decisions"
    assert judged["evaluation"]["rows"] + judged["evaluation"]["unlabelled"] >= len(history.sent) // 2


def test_precision_uses_the_labels_in_force_now(history: History) -> None:
    with warehouse(history.stack.settings().postgres_dsn) as connection:
        precision = read_precision(connection, None, None)
    (mine,) = [one for one in precision.models if one.name == history.version]
    changed = history.sent[0].label is not True
    frauds = sum(event.label is True for event in history.sent[::2]) + (1 if changed else -1)
    assert (mine.role, mine.decisions, mine.frauds) == ("champion", len(history.sent), frauds)
    assert 0 < mine.labelled_alerts < mine.alerts
    assert mine.precision == mine.fraud_alerts / mine.labelled_alerts
    assert {one.name for one in precision.reasons} >= {"HIGH_AMOUNT", "HIGH_VELOCITY"}


def moment(event: SourceEvent) -> str:
    return np.datetime_as_string(np.datetime64(event.transaction["event_time_ms"], "ms"), timezone="UTC")


def test_an_unchanged_stream_shows_no_drift(history: History) -> None:
    window = ("--since", moment(history.usual[0]), "--until", moment(history.usual[-1]))
    arguments = ("--once", "--model", history.version, "--models", str(history.models), *window)
    code, check = history.run("drift", *arguments)
    assert check["verdict"] in {"stable", "watch"}, check["reasons"]
    assert code == 0
    assert check["decisions"] == pytest.approx(USUAL, abs=2)
    measured = {one["subject"] for one in check["measures"] if one["measure"] == "psi" and one["value"] is not None}
    assert measured >= {*FEATURE_NAMES, "score"}
    kept = jobs.rows(
        history.stack,
        "SELECT subject, measure, level, verdict FROM ops.model_drift WHERE model_version = %s",
        history.version,
    )
    assert len(kept) == len(check["measures"])


def test_a_shifted_stream_requires_training(history: History) -> None:
    window = ("--since", moment(history.sent[-SHIFTED]))
    code, check = history.run("drift", "--once", "--model", history.version, "--models", str(history.models), *window)
    assert check["verdict"] == "retrain"
    assert code == 3
    assert any(why.startswith("amount_ratio psi") for why in check["reasons"])
    assert any(why.startswith("score psi") for why in check["reasons"])


def test_a_manifest_missing_in_the_folder_is_read_from_the_registry(history: History, tmp_path: Path) -> None:
    manifest = (history.models / history.version / MANIFEST_FILE).read_text()
    with psycopg.connect(history.stack.settings().postgres_dsn) as connection:
        connection.execute(
            "INSERT INTO ml.model_versions (version, kind, digest, artifact_uri, manifest, metrics, created_at)"
            " VALUES (%s, 'isolation_forest', %s, 'file:///nowhere', %s, '{}', now()) ON CONFLICT DO NOTHING",
            (history.version, "ab" * 32, manifest),
        )
    with warehouse(history.stack.settings().postgres_dsn) as connection:
        assert find_manifest(connection, tmp_path, history.version).version == history.version
        with pytest.raises(UserError, match="nobody"):
            find_manifest(connection, tmp_path, "nobody")


def test_the_drift_watch_exports_its_checks_to_prometheus(history: History) -> None:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "flink_jobs.cli", "drift", "--serve", str(port), "--every", "60"]
    command += ["--model", history.version, "--models", str(history.models), "--since", moment(history.sent[-SHIFTED])]
    environment = {**os.environ, "STREAMFLOW_HOME": str(history.stack.home.root)}

    def shown() -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                text: str = answer.read().decode()
        except OSError:
            return None
        return text if "streamflow_model_watched{" in text else None

    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, cwd=REPO_ROOT) as watch:
        try:
            text = wait_for(shown, limit_s=jobs.PATIENCE_S, what="a check among the metrics")
        finally:
            watch.terminate()
    assert 'streamflow_model_verdict{verdict="retrain"} 1.0' in text
    assert 'streamflow_model_psi{subject="amount_ratio"}' in text
