"""Helpers for tests of whole jobs: submit a job, send records, reconcile the ledger, read results."""

from __future__ import annotations

import os
import time
import urllib.request
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import psycopg
from psycopg.rows import dict_row

from flink_jobs.cards.card_files import SourceEvent, read_events
from flink_jobs.cards.mapping import load_mapping
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.flink.answers import TERMINAL
from flink_jobs.flink.jobs import ALL_JOBS
from flink_jobs.flink.rest import FlinkRestError
from flink_jobs.flink.submit import Submission, submit
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.pacing import Pace
from flink_jobs.kafka.producer import connect
from flink_jobs.kafka.topics import create_topics
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from flink_jobs.traffic.balance import Balance, await_balance
from flink_jobs.traffic.faults import FaultPlan
from flink_jobs.traffic.ledger import SentLedger
from flink_jobs.traffic.replay import ReplayPlan, replay
from flink_jobs.waiting import wait_for

CARD_FILE = REPO_ROOT / "tests/data/card_transactions.csv.gz"
CARD_MAPPING = REPO_ROOT / "tests/data/card_transactions.mapping.yaml"
PREFIX = "streamflow"
PAIR = ("detect", "archive")
PATIENCE_S = 400.0
"""Longest time without a new outcome; covers a failover on a busy machine."""


def start_job(
    stack: Stack,
    name: str,
    environment: Mapping[str, str],
    *,
    script: Path | None = None,
    savepoint: str | None = None,
    parallelism: int | None = None,
    options: dict[str, str] | None = None,
) -> str:
    """Submit ``detect``, ``archive`` or a test's own script, and return the job id once the job runs.

    ``environment`` holds the settings of the job, ``options`` the options of Flink (``-D``).
    """
    chosen = script or REPO_ROOT / ALL_JOBS[name]
    job = Submission(
        chosen,
        parallelism=parallelism,
        from_savepoint=savepoint,
        options=options or {},
        environment={**os.environ, **environment},
    )
    return submit(stack.flink_client(), stack.rest(), job)


@contextmanager
def running_job(
    stack: Stack,
    name: str,
    environment: Mapping[str, str],
    *,
    script: Path | None = None,
    options: dict[str, str] | None = None,
) -> Iterator[str]:
    """Run a job during a ``with`` block and cancel it afterwards if it still runs."""
    job_id = start_job(stack, name, environment, script=script, options=options)
    try:
        yield job_id
    finally:
        end_jobs(stack, [job_id])


def start_jobs(stack: Stack, environment: Mapping[str, str], names: Sequence[str] = PAIR) -> dict[str, str]:
    """Submit several jobs at once and return their ids by name; if one does not start, no other keeps running."""
    with ThreadPoolExecutor(len(names)) as pool:
        started = {name: pool.submit(start_job, stack, name, environment) for name in names}
    ids = {name: future.result() for name, future in started.items() if future.exception() is None}
    if len(ids) < len(names):
        end_jobs(stack, ids.values())
    return {name: future.result() for name, future in started.items()}


def end_jobs(stack: Stack, job_ids: Iterable[str]) -> None:
    """Cancel those of the jobs that still run."""
    rest = stack.rest()
    for job_id in job_ids:
        if rest.state(job_id) not in TERMINAL:
            try:
                rest.cancel(job_id)
            except FlinkRestError:
                if rest.state(job_id) not in TERMINAL:  # else it ended between the two requests
                    raise


@contextmanager
def running_jobs(stack: Stack, environment: Mapping[str, str], names: Sequence[str] = PAIR) -> Iterator[dict[str, str]]:
    """Run several jobs during a ``with`` block, by default detector and archive; yield their ids by name.

    A caller that replaces a job stores the new id, so that it ends with the others.
    """
    ids = start_jobs(stack, environment, names)
    try:
        yield ids
    finally:
        end_jobs(stack, ids.values())


def card_events(run: str, count: int) -> list[SourceEvent]:
    """Return the first events of the card file, with customer and transaction ids of one run."""
    return [renamed(event, run) for event in islice(read_events(CARD_FILE, load_mapping(CARD_MAPPING)), count)]


def renamed(event: SourceEvent, run: str) -> SourceEvent:
    """Return an event with the run in its ids, so that runs on one stack do not share customers."""
    ids = {name: f"{run}-{event.transaction[name]}" for name in ("transaction_id", "customer_id")}
    return replace(event, transaction={**event.transaction, **ids})


def send(
    stack: Stack,
    events: Iterable[SourceEvent],
    *,
    faults: FaultPlan | None = None,
    rate: float | None = None,
    prefix: str = PREFIX,
) -> SentLedger:
    """Replay events to the stack."""
    plan = ReplayPlan(pace=Pace(rate=rate), faults=faults or FaultPlan())
    broker = stack.settings().broker()
    return replay(events, plan, broker, prefix)


def account(stack: Stack, ledger: SentLedger, prefix: str = PREFIX) -> Balance:
    """Wait until every record sent has an outcome, and return the reconciled ledger."""
    return await_balance(stack.settings().broker(), prefix, ledger, limit_s=PATIENCE_S)


def values(stack: Stack, suffix: str, prefix: str = PREFIX) -> list[bytes]:
    """Return the value of each committed record of a topic, in order within each partition."""
    with CommittedReader(stack.settings().broker(), [topic_name(prefix, suffix)]) as reader:
        return [record.value for record in reader.read_to_end() if record.value is not None]


def rows_read(stack: Stack, detector: str) -> int:
    """Return the number of rows of merchants and others that a detector has read, from its metrics."""
    total = 0
    for port in [port for item in stack.status() for name, port in item.ports.items() if name.endswith("prometheus")]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=240) as answer:
            lines = answer.read().decode().splitlines()
        counts = [line for line in lines if "outcome_merchant_rows_read{" in line and f'job_id="{detector}"' in line]
        total += sum(int(float(line.rpartition(" ")[2])) for line in counts)
    return total


def committed(stack: Stack, suffix: str, prefix: str = PREFIX) -> list[dict[str, Any]]:
    """Return all committed documents of an output topic, in order within each partition."""
    return [orjson.loads(value) for value in values(stack, suffix, prefix)]


def documents_by_key(stack: Stack, suffix: str, prefix: str = PREFIX) -> list[tuple[bytes | None, dict[str, Any]]]:
    """Return the key and the document of each committed record, in order within each partition."""
    with CommittedReader(stack.settings().broker(), [topic_name(prefix, suffix)]) as reader:
        return [(record.key, orjson.loads(record.value)) for record in reader.read_to_end() if record.value is not None]


def own_topics(stack: Stack, prefix: str) -> str:
    """Create topics that no other test writes to; give the prefix to the job as STREAMFLOW_TOPIC_PREFIX."""
    create_topics(stack.settings().broker(), prefix)
    return prefix


def send_raw(stack: Stack, topic: str, payloads: Iterable[bytes]) -> None:
    """Send raw bytes to a topic."""
    producer = connect(stack.settings().broker())
    try:
        for payload in payloads:
            producer.send(topic, value=payload).get(timeout=120)
    finally:
        producer.close()


def rows(stack: Stack, query: str, *parameters: object) -> list[dict[str, Any]]:
    """Run a query against the stack's database."""
    with psycopg.connect(stack.settings().postgres_dsn, row_factory=dict_row) as connection:
        return connection.execute(query, parameters).fetchall()


def decision_on(stack: Stack, customer: str, prefix: str = PREFIX, **fields: object) -> dict[str, Any]:
    """Send a purchase of now and return its decision."""
    name = f"one-{uuid.uuid4()}"
    document = {
        "transaction_id": name, "customer_id": customer, "amount_minor": 1_000, "currency": "USD",
        "event_time_ms": time.time_ns() // 1_000_000 - 1_000, "merchant": "m-1", **fields,
    }  # fmt: skip
    with CommittedReader(stack.settings().broker(), [topic_name(prefix, "decisions")]) as reader:
        reader.seek_to_end()
        send_raw(stack, topic_name(prefix, "transactions"), [orjson.dumps(document)])

        def found() -> list[dict[str, Any]]:
            new = [orjson.loads(record.value or b"{}") for record in reader.read_to_end()]
            return [item for item in new if item["transaction_id"] == name]

        (decision,) = wait_for(found, limit_s=PATIENCE_S, what=f"the decision on {name}")
    return decision


def acted_on(stack: Stack, customer: str, prefix: str = PREFIX) -> dict[str, Any]:
    """Send purchases until one meets an action: transactions and actions have no order between them."""

    def found() -> dict[str, Any] | None:
        decision = decision_on(stack, customer, prefix)
        return decision if "actions" in decision else None

    return wait_for(found, limit_s=PATIENCE_S, what=f"an action on {customer}")
