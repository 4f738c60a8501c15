"""What every DAG shares: defaults, assets, the warehouse's account, and what happens when something fails.

Imported by Airflow only, in the environment that has it. DAG files wire; what their tasks do is here and below.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import pendulum
import psycopg
from airflow.sdk import Asset
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

from flink_jobs.settings import load_settings
from flink_jobs.warehouse.queries import last_closed_day
from flink_jobs.warehouse.run_log import Incident, record_dbt_results, record_incident

POOL: Final = "warehouse"
"""Limits how many tasks use the database at once."""
POOL_SLOTS: Final = 2

RAW_SEEN = Asset(name="raw_seen", uri="streamflow://warehouse/raw")
"""The raw tables have been looked after: partitions rolled, freshness noted."""
DAY_TRUSTED = Asset(name="day_trusted", uri="streamflow://warehouse/raw/trusted")
"""Every gate of data quality let the last closed day pass."""
GOLD = Asset(name="gold", uri="streamflow://warehouse/gold")


def transformer_dsn() -> str:
    """Return the connection string of the account that dbt and Airflow use."""
    return load_settings().postgres_dsn_as("transformer")


def raw_closed_day(dsn: str) -> str:
    """Return the last day that is over among the raw decisions, as text; raise when there are none."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            """
            WITH days AS (SELECT max(event_time) AS newest, min(event_time) AS oldest FROM raw.decisions)
            SELECT greatest((newest AT TIME ZONE 'UTC')::date - 1, (oldest AT TIME ZONE 'UTC')::date) FROM days
            """
        ).fetchone()
    if row is None or row[0] is None:
        message = "raw.decisions is empty: nothing was decided yet"
        raise ValueError(message)
    return str(row[0])


def gold_closed_day(dsn: str) -> date | None:
    """Return the last day that is over in gold."""
    with psycopg.connect(dsn) as connection:
        return last_closed_day(connection)


def note_dbt_run(project_dir: str, **_: object) -> None:
    """Load the results of one dbt task into ``ops``; Cosmos calls it after each."""
    path = Path(project_dir) / "target" / "run_results.json"
    run = json.loads(path.read_text(encoding="utf-8"))
    record_dbt_results(transformer_dsn(), run["metadata"]["invocation_id"], run["results"])


def note_failure(context: Mapping[str, Any]) -> None:
    """Write a failed task to ``ops.incidents`` and to the webhook."""
    _note("task_failed", context)


def note_retry(context: Mapping[str, Any]) -> None:
    """Write a try that failed to ``ops.incidents``; nobody is called for it."""
    _note("task_retried", context)


def note_missed_deadline(context: Mapping[str, Any], **_: object) -> None:
    """Write a run that is late to ``ops.incidents`` and to the webhook."""
    run = context.get("dag_run") or {}
    what = "the run is not done in time"
    _record(Incident("deadline_missed", str(run.get("dag_id")), what, run_id=run.get("dag_run_id")), post=True)


def _note(kind: Literal["task_failed", "task_retried"], context: Mapping[str, Any]) -> None:
    instance = context["ti"]
    incident = Incident(
        kind, instance.dag_id, str(context.get("exception"))[:2_000], instance.task_id, instance.run_id,
        instance.try_number,
    )  # fmt: skip
    _record(incident, post=kind == "task_failed")


def _record(incident: Incident, *, post: bool) -> None:
    settings = load_settings()
    webhook = settings.incident_webhook.get_secret_value() if post and settings.incident_webhook else None
    record_incident(settings.postgres_dsn_as("transformer"), incident, webhook)


DEFAULTS: Final[dict[str, Any]] = {
    "owner": "data-platform",
    "pool": POOL,
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": 2.0,  # a factor: True would be 1.0, no backoff at all
    "max_retry_delay": timedelta(minutes=10),
    "on_failure_callback": note_failure,
    "on_retry_callback": note_retry,
}


def dag_head(doc: str, *, tags: list[str], minutes: float) -> dict[str, Any]:
    """Return what every DAG is declared with, besides its schedule.

    Args:
        doc: what it does and what to do if it fails: the docstring of its file.
        tags: of its subject; every DAG is tagged as ours, too.
        minutes: a run that is not done so long after it was queued is an incident.
    """
    return {
        "doc_md": doc,
        "tags": ["streamflow", *tags],
        "start_date": pendulum.datetime(2026, 1, 1, tz="UTC"),
        "catchup": False,
        "max_active_runs": 1,
        "default_args": DEFAULTS,
        "deadline": DeadlineAlert(
            reference=DeadlineReference.DAGRUN_QUEUED_AT,
            interval=timedelta(minutes=minutes),
            callback=SyncCallback(note_missed_deadline),
        ),
    }
