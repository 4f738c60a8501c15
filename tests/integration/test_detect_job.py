"""Both jobs on real servers: input from Kafka, Flink with RocksDB, output to Kafka and Postgres.

The tests of this file share two running jobs and run in order: short ones first, then faults, then the upgrade.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.core.control.config import DEFAULT_ALERT_THRESHOLD, DEFAULT_ALPHA
from flink_jobs.core.decision import alert_id
from flink_jobs.core.documents import AuditDocument, ControlChanges
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.replay import replay_features
from flink_jobs.core.rules import RULE_BY_ID, RULESET_VERSION
from flink_jobs.core.transaction import Transaction
from flink_jobs.kafka.action_client import send_action
from flink_jobs.kafka.control_client import build_message, send_and_wait
from flink_jobs.local.stack import Stack
from flink_jobs.traffic.faults import FaultPlan
from flink_jobs.traffic.malformed import MALFORMED_KINDS
from flink_jobs.waiting import wait_for
from tests.account_samples import action
from tests.integration import jobs
from tests.stack_control import flink_metrics, kill_taskmanager, start_taskmanager

EXTENDED_JOB = Path(__file__).parent / "extended_detect.py"
# Fields that differ by design between two runs of the same file: times, coordinates, and ids derived from names.
_OF_THE_RUN = ("processing_time_ms", "processing_time", "loaded_at", "source", "source_partition", "source_offset")
_NAMES = ("customer_id", "transaction_id")


@pytest.fixture(scope="module")
def environment(model_dir: Path) -> dict[str, str]:
    """Return the settings of the jobs under test: frequent checkpoints and their own model."""
    return {
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "1000",
        "STREAMFLOW_IDLE_TIMEOUT_MS": "1000",
        "STREAMFLOW_MODEL_DIR": str(model_dir),
    }


@pytest.fixture(scope="module")
def running(stack: Stack, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Yield the ids of both jobs; a test that replaces a job stores the new id."""
    with jobs.running_jobs(stack, environment) as ids:
        yield ids


@pytest.mark.usefixtures("running")
def test_every_record_has_one_outcome_with_a_third_of_it_garbage(stack: Stack) -> None:
    """30 % malformed records of every kind, duplicates and late events have exact outcomes in Kafka and Postgres."""
    faults = FaultPlan(malformed=0.3, duplicates=0.05, late=0.05, seed=5)
    # The test of the demo may have left dead letters on this stack.
    started_ms = time.time_ns() // 1_000_000
    ledger = jobs.send(stack, jobs.card_events("garbage", 3000), faults=faults)
    assert {kind.name for kind in MALFORMED_KINDS} <= set(ledger.faults), "the run holds every kind of bad input"

    balance = jobs.account(stack, ledger)

    assert balance.is_as_expected, "\n".join(balance.lines())
    assert balance.degraded == 0
    assert balance.incidents == 0

    def archived() -> bool:
        counted = jobs.rows(
            stack,
            "SELECT (SELECT count(*) FROM raw.decisions WHERE customer_id LIKE 'garbage-%%') AS decided,"
            " (SELECT count(*) FROM raw.dead_letters WHERE processing_time_ms >= %s) AS letters,"
            " (SELECT count(*) FROM raw.alerts WHERE customer_id LIKE 'garbage-%%') AS alerts",
            started_ms,
        )[0]
        return counted == {
            "decided": balance.decided,
            "letters": balance.rejected + balance.duplicates,
            "alerts": balance.alerts,
        }

    wait_for(archived, limit_s=400, what="Postgres to hold what Kafka holds")


@pytest.mark.usefixtures("running")
def test_control_changes_the_running_job_and_a_bad_message_does_not(stack: Stack) -> None:
    """A control message applies from the next event on and is audited; an invalid one becomes a dead letter."""
    broker = stack.settings().broker()

    def control(control_id: str, changes: ControlChanges) -> AuditDocument:
        message = build_message(changes, issued_by="tester", reason="test", expected_revision=None, now_ms=0)
        message["control_id"] = control_id
        answer = send_and_wait(broker, jobs.PREFIX, orjson.dumps(message), control_id, 400)
        assert answer is not None
        return answer

    applied = control("c-1", {"alpha": 0.0, "alert_threshold": 0.1, "rules": {"velocity": {"threshold": 1.0}}})
    assert (applied["outcome"], applied["revision"]) == ("applied", 1)
    assert control("c-2", {"alpha": 7})["outcome"] == "rejected"

    jobs.account(stack, jobs.send(stack, jobs.card_events("control", 50)))

    mine = [item for item in jobs.committed(stack, "decisions") if item["customer_id"].startswith("control-")]
    assert len(mine) == 50
    assert {item["config_revision"] for item in mine} == {1}
    assert {item["ruleset_version"] for item in mine} == {f"{RULESET_VERSION}+r1"}
    assert all(item["is_alert"] and item["score"] == item["rule_score"] for item in mine), "alpha 0: rules alone"
    letters = wait_for(
        lambda: [item for item in jobs.committed(stack, "dlq") if item["stage"] == "control"],
        limit_s=400,
        what="the dead letter of the invalid message",
    )
    assert [(item["reason"], item["disposition"]) for item in letters] == [("CONTROL_INVALID", "incident")]

    back: ControlChanges = {"alpha": DEFAULT_ALPHA, "alert_threshold": DEFAULT_ALERT_THRESHOLD}
    back["rules"] = {"velocity": {"threshold": RULE_BY_ID["velocity"].threshold}}
    assert control("c-3", back)["revision"] == 2


def test_idle_partitions_do_not_hold_back_the_watermark(stack: Stack, running: dict[str, str]) -> None:
    """The detector's watermark follows events in one partition while all other partitions are idle."""
    one_customer = [event for event in jobs.card_events("idle", 400) if event.transaction["customer_id"] == _first()]
    assert one_customer
    sent_ms = time.time_ns() // 1_000_000
    jobs.account(stack, jobs.send(stack, one_customer))
    mine = [item for item in jobs.committed(stack, "decisions") if item["customer_id"] == _first()]
    assert len({item["source"]["partition"] for item in mine}) == 1
    rest = stack.rest()
    vertex = _vertex(stack, running["detect"], "fraud detector")
    # The source allows five seconds of disorder; the last records of the other partitions are older. Kafka's times are
    # those of sending: on a busy machine, the processing times can be seconds later.
    reached = sent_ms - 5_000 - 1

    # The input watermark would not do: it is the minimum over both inputs, including the idle control topic.
    metric = "0.fraud_detector.currentOutputWatermark"

    def watermark_follows() -> bool:
        answer = flink_metrics(rest, f"/jobs/{running['detect']}/vertices/{vertex}", [metric])
        return bool(answer.get(metric, 0.0) >= reached)

    wait_for(watermark_follows, limit_s=400, what="the watermark to pass the idle partitions")


def test_a_killed_run_equals_an_undisturbed_one_row_by_row(stack: Stack, running: dict[str, str]) -> None:
    """SIGKILL of the detector's TaskManager while records arrive changes no decision, and no alert but its number."""
    count = 6000
    calm = jobs.account(stack, jobs.send(stack, jobs.card_events("calm", count)))
    assert calm.is_as_expected, "\n".join(calm.lines())

    now_ms = time.time_ns() // 1_000_000
    block = action("block", "acted", issued_at_ms=now_ms, expires_at_ms=now_ms + 86_400_000)
    send_action(stack.settings().broker(), jobs.PREFIX, block)
    jobs.acted_on(stack, "acted")
    victim = _taskmanager_of(stack, running["detect"], "fraud detector")

    def killing() -> Iterator[SourceEvent]:
        for number, event in enumerate(jobs.card_events("kill", count)):
            if number == count // 3:  # the records of the last second are in flight
                kill_taskmanager(stack, victim)
            yield event

    ledger = jobs.send(stack, killing(), rate=1200)
    start_taskmanager(stack, victim)
    disturbed = jobs.account(stack, ledger)

    assert disturbed.is_as_expected, "\n".join(disturbed.lines())
    _assert_same_in_kafka(stack, count)
    newer: dict[str, Any] = {
        "schema_version": 2,
        "terminal": "term-1",
        "card": "4111 1111 1111 1111",
        "ip": "2001:DB8::1",
    }
    decision = jobs.decision_on(stack, "acted", **newer)
    assert decision["actions"][0]["action_id"] == block.id, "the action outlives the kill"
    kept = {"terminal": "term-1", "device": None, "card": "****1111", "ip": "2001:db8::1"}
    assert {"schema_version": 6, **kept}.items() <= decision.items(), "messages of both versions share the topic"

    def archived() -> bool:
        query = "SELECT count(*) AS n FROM raw.decisions WHERE customer_id LIKE %s"
        return [jobs.rows(stack, query, f"{run}-%")[0]["n"] for run in ("calm", "kill")] == [count, count]

    wait_for(archived, limit_s=400, what="Postgres to hold both runs")
    for table in ("decisions", "alerts"):
        query = f"SELECT * FROM raw.{table} WHERE customer_id LIKE %s ORDER BY customer_id, transaction_id"  # noqa: S608
        calm_rows, killed_rows = (
            [_without_the_run(row, run) for row in jobs.rows(stack, query, f"{run}-%")] for run in ("calm", "kill")
        )
        assert calm_rows == killed_rows
        assert calm_rows
    query = "SELECT risk, why FROM raw.account_risk WHERE customer_id = 'acted'"
    wait_for(lambda: jobs.rows(stack, query) == [{"risk": "blocked", "why": "a test"}], limit_s=400, what="the risk")
    query = "SELECT actions FROM raw.decisions WHERE customer_id = 'acted' AND actions IS NOT NULL"
    wait_for(lambda: len(jobs.rows(stack, query)) == 2, limit_s=400, what="both decisions with the action")
    query = "SELECT terminal, device, card, ip FROM raw.decisions WHERE customer_id = 'acted' AND card IS NOT NULL"
    assert jobs.rows(stack, query) == [kept]


def test_an_upgrade_from_a_savepoint_keeps_every_customer(
    stack: Stack, running: dict[str, str], environment: dict[str, str]
) -> None:
    """After a stop with savepoint, a job with one more operator keeps offsets, statistics and configuration."""
    events = jobs.card_events("upgrade", 1200)
    before, after = events[:800], events[800:]
    assert jobs.account(stack, jobs.send(stack, before)).is_as_expected
    savepoint = stack.rest().stop_with_savepoint(running["detect"], stack.settings().savepoint_dir)
    # Sent while no job runs; the new job reads them from the saved offsets.
    ledger = jobs.send(stack, after)
    running["detect"] = jobs.start_job(stack, "detect", environment, script=EXTENDED_JOB, savepoint=savepoint)
    balance = jobs.account(stack, ledger)

    assert balance.is_as_expected, "\n".join(balance.lines())
    decided = {
        item["transaction_id"]: item
        for item in jobs.committed(stack, "decisions")
        if item["customer_id"].startswith("upgrade-")
    }
    expected = {item.transaction.transaction_id: item.features for item in replay_features(_transactions(events))}
    assert len(decided) == len(expected) == len(events)
    for event in after:
        name = event.transaction["transaction_id"]
        assert tuple(decided[name]["features"].values()) == tuple(expected[name]), (
            "features equal those of one unbroken history"
        )
        assert decided[name]["config_revision"] == 2
        assert decided[name]["extended"], "the added operator marked the decision"
    with_history = [item for item in decided.values() if item["features"]["amount_zscore"] is not None]
    assert with_history, "some customers had a history to keep"


def test_the_metrics_of_the_catalogue_reach_prometheus(stack: Stack, running: dict[str, str]) -> None:
    """Every metric the detector owns is scraped under the name the catalogue says, with its labels."""
    from flink_jobs.metrics import catalogue  # noqa: PLC0415 - beside its only use

    assert stack.rest().state(running["detect"]) == "RUNNING"
    # Faults and control outcomes register on first use; the others are there from the start.
    always = [metric for metric in catalogue.DETECTOR_METRICS if metric.label is None]
    assert always

    def all_present() -> bool:
        text = _scrape(stack)
        return all(catalogue.prometheus_name(metric) in text for metric in always)

    wait_for(all_present, limit_s=400, what="every metric of the detector")


def _first() -> str:
    """Return the customer of the card file's first event, as the idle run names it."""
    return str(jobs.card_events("idle", 1)[0].transaction["customer_id"])


def _vertex(stack: Stack, job_id: str, vertex_name: str) -> str:
    """Return the id of the job vertex that holds an operator of this name."""
    return next(str(item["id"]) for item in stack.rest().details(job_id)["vertices"] if vertex_name in item["name"])


def _taskmanager_of(stack: Stack, job_id: str, vertex_name: str) -> int:
    """Return the number of the TaskManager that runs a vertex."""
    rest = stack.rest()
    vertex = _vertex(stack, job_id, vertex_name)
    subtasks = rest.get(f"/jobs/{job_id}/vertices/{vertex}")["subtasks"]
    return int(subtasks[0]["taskmanager-id"].split("-")[1])


def _transactions(events: list[SourceEvent]) -> Iterator[Transaction]:
    for event in events:
        transaction = parse_transaction(orjson.dumps(event.transaction), event.transaction["event_time_ms"])
        assert isinstance(transaction, Transaction)
        yield transaction


def _without_the_run(row: dict[str, Any], run: str) -> dict[str, Any]:
    """Return a row with what differs by design taken out, having checked what is derived from it."""
    if "alert_id" in row:
        assert row["alert_id"] == alert_id(row["customer_id"], row["transaction_id"])
    kept = {name: value for name, value in row.items() if name not in (*_OF_THE_RUN, "alert_id")}
    return {**kept, **{name: row[name].removeprefix(f"{run}-") for name in _NAMES}}


def _assert_same_in_kafka(stack: Stack, count: int) -> None:
    for suffix in ("decisions", "alerts"):
        by_run: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        for item in jobs.committed(stack, suffix):
            run = item["customer_id"].partition("-")[0]
            if run in {"calm", "kill"}:
                row = _without_the_run(item, run)
                by_run[run][row["customer_id"]].append(row)
        if suffix == "alerts":  # after the failure an alert comes again: the last one counts
            by_run["kill"] = {customer: _last_of_each(found) for customer, found in by_run["kill"].items()}
        assert by_run["calm"] == by_run["kill"], f"{suffix}: same rows in the same order per customer"
        if suffix == "decisions":
            assert sum(map(len, by_run["kill"].values())) == count


def _last_of_each(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last alert of each transaction, in the order of these."""
    last = {item["transaction_id"]: number for number, item in enumerate(alerts)}
    return [alerts[number] for number in sorted(last.values())]


def _scrape(stack: Stack) -> str:
    from urllib.request import urlopen  # noqa: PLC0415

    ports = [port for item in stack.status() for name, port in item.ports.items() if name.endswith("prometheus")]
    return "".join(urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60).read().decode() for port in ports)
