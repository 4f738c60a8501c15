"""What every DAG shares: defaults, assets, the warehouse's account, and what happens when something fails.

Imported by Airflow only, in the environment that has it. DAG files wire; what their tasks do is here and below.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import psycopg
from airflow.sdk import Asset

from flink_jobs.settings import REPO_ROOT, load_settings
from flink_jobs.warehouse.queries import last_closed_day
from flink_jobs.warehouse.records import Incident, record_dbt_results, record_incident

POOL: Final = "warehouse"
"""Limits how many tasks use the database at once."""
POOL_SLOTS: Final = 2
STREAMFLOW: Final = REPO_ROOT / ".venv" / "bin" / "streamflow"
"""The command line of the streaming environment, whose packages cannot be beside Airflow's."""
WEBHOOK: Final = "STREAMFLOW_INCIDENT_WEBHOOK"

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
    record_incident(
        transformer_dsn(),
        Incident(
            "deadline_missed", str(run.get("dag_id")), "the run is not done in time", run_id=run.get("dag_run_id")
        ),
        os.environ.get(WEBHOOK),
    )


def _note(kind: Literal["task_failed", "task_retried"], context: Mapping[str, Any]) -> None:
    instance = context["ti"]
    incident = Incident(
        kind, instance.dag_id, str(context.get("exception"))[:2_000], instance.task_id, instance.run_id,
        instance.try_number,
    )  # fmt: skip
    record_incident(transformer_dsn(), incident, os.environ.get(WEBHOOK) if kind == "task_failed" else None)


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
