from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flink_jobs.demo.board import Latencies
from flink_jobs.demo.measures import Percentiles
from flink_jobs.demo.summary import Locations, Summary, problems
from flink_jobs.kafka.outgoing import Fate, Outgoing
from flink_jobs.traffic.balance import Balance
from flink_jobs.traffic.ledger import SentLedger

GOOD = Balance(sent=4, decided=2, rejected=1, duplicates=1, alerts=1, reasons={"MALFORMED_JSON": 1})
LOST = replace(GOOD, decided=1, missing=((0, 7),))
WRONG = replace(GOOD, unexpected={"duplicate instead of decided": 1})
LATENCY = Percentiles(700.0, 1_200.0, 2)
AT = Locations(Path("/home/x/.streamflow"), "http://127.0.0.1:8081", "127.0.0.1", 25432, "streamflow", "streamflow")


def summary(kafka: Balance = GOOD, postgres: Balance = GOOD, *, sent: bool = True) -> Summary:
    ledger = SentLedger()
    fates = (Fate.DECIDED, Fate.DECIDED, Fate.REJECTED, Fate.DUPLICATE) if sent else ()
    for offset, fate in enumerate(fates):
        ledger.add(Outgoing(b"c", b"{}", 0, fate), 0, offset)
    latencies = Latencies(LATENCY, LATENCY, LATENCY, LATENCY, LATENCY, LATENCY)
    return Summary("demo-1-", "cards.csv", ledger, kafka, postgres, 2.0, latencies, AT)


def test_the_exit_code_is_0_only_if_kafka_and_postgres_are_complete() -> None:
    assert summary().exit_code == 0
    assert summary(kafka=LOST).exit_code == 1
    assert summary(postgres=LOST).exit_code == 1
    assert summary(postgres=WRONG).exit_code == 1, "each record must have the outcome that was planned for it"


def test_a_run_without_records_is_no_success() -> None:
    empty = Balance(sent=0, decided=0, rejected=0, duplicates=0)
    nothing = summary(empty, empty, sent=False)
    assert nothing.exit_code == 1
    assert "no record was sent" in nothing.lines()[-1]


def test_the_summary_shows_the_reconciliation_of_kafka_and_postgres() -> None:
    lines = summary(postgres=LOST).lines()
    kafka, postgres = (next(line for line in lines if line.startswith(name)) for name in ("Kafka", "Postgres"))
    assert kafka.endswith("sent 4 = decided 2 + rejected 1 + duplicates 1: every record accounted for")
    assert postgres.endswith("NOT EVERY RECORD ACCOUNTED FOR")
    assert lines[lines.index(postgres) + 1].strip() == "1 without an outcome (partition@offset: 0@7)"
    assert problems(GOOD) == []


def test_the_next_steps_show_no_password_and_match_the_state() -> None:
    running = "\n".join(summary().next_steps(stack_runs=True))
    assert "http://127.0.0.1:8081" in running
    assert "PGPASSWORD=$STREAMFLOW_POSTGRES_PASSWORD psql -h 127.0.0.1 -p 25432" in running
    stopped = "\n".join(summary().next_steps(stack_runs=False))
    assert "--keep" in stopped
    assert "psql" not in stopped, "there is no server to ask"


def test_the_summary_shows_when_the_first_alert_came() -> None:
    first = replace(summary(), first_alert_s=31.4)
    assert any(line.startswith("alerts") and "the first 31 s after" in line for line in first.lines())
    assert first.as_dict()["first_alert_s"] == 31.4
    assert summary().as_dict()["first_alert_s"] is None, "a run without alerts has no first one"


@pytest.mark.parametrize("account", [GOOD, LOST])
def test_the_json_holds_the_same_numbers(account: Balance) -> None:
    document = json.loads(json.dumps(summary(postgres=account).as_dict(), default=str))
    assert document["balanced"] is (account is GOOD)
    assert document["kafka"]["decided"] == 2
    assert document["postgres"]["decided"] == account.decided
    assert document["records_per_second"] == 2.0
    assert document["latency"]["readable"]["p99_ms"] == 1_200.0
