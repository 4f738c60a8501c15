"""The DAGs in a real Airflow on a real Postgres with scored cards; ``make airflow-check`` runs this file.

Scheduler, LocalExecutor, triggerer, DAG processor and web server run. A day goes from raw to gold and is counted again
in Python; then failures are tested. ``make test`` does not collect this file, because it takes about ten minutes on two
cores. The tests run in the order of the file.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

import psycopg
import pytest

from flink_jobs.local.airflow import NAME, Airflow
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT, Settings
from flink_jobs.waiting import wait_for
from flink_jobs.warehouse.dbt_project import Dbt
from flink_jobs.warehouse.paths import DBT_PROJECT
from tests.integration.counted_marts import compare_marts, moment
from tests.integration.decided_cards import DecidedCards, archive, decide
from tests.integration.lineage import read_events, sources_of

EVENTS = 4_000
RUN_LIMIT_S = 1_200
CHAIN = ("ingestion_health", "data_quality", "gold_build")
BUNDLE = "airflow.dag_processing.bundles.local.LocalDagBundle"


@dataclass
class Webhook:
    """An HTTP server that stores the bodies of all POST requests."""

    posted: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def heard(self, dag: str) -> dict[str, Any]:
        """Wait for the one incident of a DAG; a task reports its failure after its run has already failed."""
        (incident,) = wait_for(
            lambda: [item for item in self.posted if item["dag_id"] == dag], limit_s=120, what=f"an incident of {dag}"
        )
        return incident


@pytest.fixture(scope="module")
def webhook() -> Iterator[Webhook]:
    found = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/incidents"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Running:
    """A running Airflow, its database and the archived documents."""

    stack: Stack
    settings: Settings
    airflow: Airflow
    cards: DecidedCards

    def ask(self, text: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.settings.postgres_dsn) as connection:
            cursor = connection.execute(text.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def pause(self, dag: str, *, is_paused: bool) -> None:
        self.airflow.request(f"/api/v2/dags/{dag}", {"is_paused": is_paused}, method="PATCH")

    def trigger(self, dag: str, **conf: object) -> str:
        body = {"logical_date": None, "conf": conf}
        return str(self.airflow.request(f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"])

    def finish(self, dag: str, run: str) -> str:
        """Wait until a run has ended; return its final state."""

        def ended() -> str | None:
            state: str = self.airflow.request(f"/api/v2/dags/{dag}/dagRuns/{run}")["state"]
            return state if state in {"success", "failed"} else None

        return wait_for(ended, limit_s=RUN_LIMIT_S, what=f"{dag} {run}", interval_s=1.0)

    def announced(self, run: str) -> list[dict[str, Any]]:
        """Return the asset events of a run; they show which runs it started, independent of the clock."""
        query = urlencode({"source_run_id": run})
        events: list[dict[str, Any]] = self.airflow.request(f"/api/v2/assets/events?{query}")["asset_events"]
        return events

    def run_after(self, dag: str, run: str) -> str:
        """Wait for the run of a DAG that an asset of another run started."""

        def started() -> str | None:
            try:
                caused = [each for event in self.announced(run) for each in event["created_dagruns"]]
            except HTTPError as error:
                if error.code != HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise
                return None  # Airflow 3.3 fails to answer while a triggered run is queued without a start time
            return next((str(each["run_id"]) for each in caused if each["dag_id"] == dag), None)

        return wait_for(started, limit_s=RUN_LIMIT_S, what=f"the run of {dag} after {run}", interval_s=1.0)


@pytest.fixture(scope="module")
def running(webhook: Webhook, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("airflow")
    for part in (folder, *folder.parents[:2]):  # when this runs as root, Postgres runs under another account
        part.chmod(0o755)
    dags = [REPO_ROOT / "dags", REPO_ROOT / "tests/orchestration/probes"]
    bundles = [{"name": path.name, "classpath": BUNDLE, "kwargs": {"path": str(path)}} for path in dags]
    patch = pytest.MonkeyPatch()
    patch.setenv("STREAMFLOW_INCIDENT_WEBHOOK", webhook.url)
    patch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    patch.setenv("AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION", "True")
    stack = Stack(folder / "home")
    try:
        settings = stack.up(["postgres"])
        cards = decide(EVENTS)
        archive(settings.postgres_dsn_as("writer"), cards)
        Dbt(settings, DBT_PROJECT / "target", lambda _: None).run("parse")
        stack.up(["postgres", "airflow"])
        yield Running(stack, settings, Airflow(stack.record.ports[NAME]), cards)
    finally:
        stack.down(wipe=True)
        patch.undo()


def test_every_dag_is_read(running: Running) -> None:
    expected = {path.stem for path in (REPO_ROOT / "dags").glob("*.py")} | {"late_run"}

    def read() -> bool:
        return {dag["dag_id"] for dag in running.airflow.request("/api/v2/dags")["dags"]} == expected

    wait_for(read, limit_s=RUN_LIMIT_S, what="the DAGs", interval_s=1.0)
    assert running.airflow.request("/api/v2/importErrors")["import_errors"] == []
    for dag in (*CHAIN, "late_run"):
        running.pause(dag, is_paused=False)


def test_a_triggered_day_goes_from_raw_to_gold(running: Running) -> None:
    """Only the first DAG is triggered; assets start the others."""
    run = running.trigger("ingestion_health")
    assert running.finish("ingestion_health", run) == "success"
    for dag in CHAIN[1:]:
        run = running.run_after(dag, run)
        assert running.finish(dag, run) == "success", dag
    running.pause("ingestion_health", is_paused=True)  # otherwise the schedule may start a run during the next test
    compare_marts(running.settings, running.cards)
    events = read_events(running.stack.home.airflow / "lineage.jsonl")
    assert "raw.decisions" in sources_of(events, "gold.fct_daily_fraud_summary")


def test_a_bad_day_stops_before_gold_and_is_reported_to_the_webhook(running: Running, webhook: Webhook) -> None:
    bad = running.cards.decisions[0]
    day = str(moment(bad).date())
    archive(running.settings.postgres_dsn_as("writer"), DecidedCards(decisions=[{**bad, "amount_minor": -1}]))
    run = running.trigger("data_quality", day=day)
    assert running.finish("data_quality", run) == "failed"
    assert running.announced(run) == []
    posted = webhook.heard("data_quality")
    assert (posted["kind"], posted["task_id"]) == ("task_failed", "gates.check")
    assert "fails the check" in posted["what"]
    compare_marts(running.settings, running.cards)


def test_the_repaired_day_and_a_late_one_are_merged_after_a_dbt_task_is_killed(running: Running) -> None:
    late = {**running.cards.decisions[0], "transaction_id": "late", "out_of_order_ms": 10**8}
    assert not late["is_alert"]
    running.cards.decisions.append(late)
    archive(running.settings.postgres_dsn_as("writer"), running.cards)
    day = str(moment(late).date())
    judged = running.trigger("data_quality", day=day)
    assert running.finish("data_quality", judged) == "success"
    run = running.run_after("gold_build", judged)
    task = "dbt.fct_transactions_model_build"
    place = f"/api/v2/dags/gold_build/dagRuns/{run}/taskInstances/{task}"

    def killed() -> int | None:
        """Kill the process of the dbt task while it works."""
        instance = running.airflow.request(place)
        if instance["state"] != "running" or not instance["pid"]:
            return None
        with suppress(ProcessLookupError):
            os.kill(instance["pid"], signal.SIGKILL)
            return int(instance["pid"])
        return None

    wait_for(killed, limit_s=RUN_LIMIT_S, what=f"{task} to run", interval_s=0.05)
    assert running.finish("gold_build", run) == "success"
    assert running.airflow.request(place)["try_number"] == 2, "the next try repaired it"
    compare_marts(running.settings, running.cards)


def test_a_late_run_is_recorded_and_reported_to_the_webhook(running: Running, webhook: Webhook) -> None:
    run = running.trigger("late_run")
    assert running.finish("late_run", run) == "success"
    query = "SELECT run_id, what FROM ops.incidents WHERE kind = 'deadline_missed' AND dag_id = 'late_run'"
    assert running.ask(query) == [(run, "the run missed its deadline")]

    posted = webhook.heard("late_run")
    assert (posted["kind"], posted["run_id"]) == ("deadline_missed", run)
