"""Shared by every DAG: defaults, assets, the database login, and the callbacks for failures.

Only Airflow imports this module, in its own environment. DAG files only wire tasks; the work of the tasks is in this
package.
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
"""Pool that limits the number of tasks that use the database at the same time."""
POOL_SLOTS: Final = 2

RAW_SEEN = Asset(name="raw_seen", uri="streamflow://warehouse/raw")
"""The hourly maintenance of the raw tables is done: partitions are rolled, freshness is recorded."""
DAY_TRUSTED = Asset(name="day_trusted", uri="streamflow://warehouse/raw/trusted")
"""Every closed day that was due passed every data-quality check with severity ``error``."""
GOLD = Asset(name="gold", uri="streamflow://warehouse/gold")


def transformer_dsn() -> str:
    """Return the connection string of the database role that dbt and Airflow use."""
    return load_settings().postgres_dsn_as("transformer")


def database_day(dsn: str) -> date:
    """Return the current UTC day by the clock of the database, which also writes the load times."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT (now() AT TIME ZONE 'UTC')::date").fetchone()
    assert row is not None  # noqa: S101 - a query without FROM returns one row
    day: date = row[0]
    return day


def gold_closed_day(dsn: str) -> date | None:
    """Return the last closed day in gold."""
    with psycopg.connect(dsn) as connection:
        return last_closed_day(connection)


def record_dbt_run(project_dir: str, **_: object) -> None:
    """Load the results of one dbt task into ``ops.dbt_results``; Cosmos calls this after each task."""
    path = Path(project_dir) / "target" / "run_results.json"
    run = json.loads(path.read_text(encoding="utf-8"))
    record_dbt_results(transformer_dsn(), run["metadata"]["invocation_id"], run["results"])


def record_failure(context: Mapping[str, Any]) -> None:
    """Record a failed task in ``ops.incidents`` and post it to the webhook."""
    _note("task_failed", context)


def record_retry(context: Mapping[str, Any]) -> None:
    """Record a failed try in ``ops.incidents``, without a post to the webhook."""
    _note("task_retried", context)


def record_missed_deadline(context: Mapping[str, Any], **_: object) -> None:
    """Record a late run in ``ops.incidents`` and post it to the webhook."""
    run = context.get("dag_run") or {}
    what = "the run missed its deadline"
    _record(Incident("deadline_missed", str(run.get("dag_id")), what, run_id=run.get("dag_run_id")), post=True)


def _note(kind: Literal["task_failed", "task_retried"], context: Mapping[str, Any]) -> None:
    instance, error = context["ti"], context.get("exception")
    # Airflow passes no exception to the callback of a retry, nor for a task whose process was killed.
    what = str(error) if error is not None else f"try {instance.try_number} failed; the log of the task has the error"
    incident = Incident(
        kind, instance.dag_id, what[:2_000], instance.task_id, instance.run_id, instance.try_number
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
    "retry_exponential_backoff": 2.0,  # a factor: True means 1.0, which is no backoff
    "max_retry_delay": timedelta(minutes=10),
    "on_failure_callback": record_failure,
    "on_retry_callback": record_retry,
}


def dag_head(doc: str, *, tags: list[str], minutes: float) -> dict[str, Any]:
    """Return the common arguments of every DAG, without the schedule.

    Args:
        doc: docstring of the DAG file: what the DAG does, and what to do if it fails.
        tags: subjects of the DAG; every DAG also has the tag ``streamflow``.
        minutes: deadline after queueing; a run that takes longer is an incident.
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
            callback=SyncCallback(record_missed_deadline),
        ),
    }
