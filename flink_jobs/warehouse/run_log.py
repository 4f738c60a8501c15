"""What runs of the warehouse write to ``ops``: checks, results of dbt, incidents."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

import psycopg

from flink_jobs.errors import UserError
from flink_jobs.warehouse.paths import QUALITY_CHECKS
from flink_jobs.warehouse.queries import ask, read_sql_files

WEBHOOK_TIMEOUT_S = 5.0


def check_day(dsn: str, name: str, day: date) -> int:
    """Run one check of sql/quality for a day and note the result.

    Returns:
        How many rows violate it; of a check with severity ``warn`` only.

    Raises:
        UserError: a check with severity ``error`` found something, or there is no such check.
    """
    try:
        check = read_sql_files(QUALITY_CHECKS)[name]
    except KeyError:
        raise UserError(f"there is no check {name!r}", f"see {QUALITY_CHECKS}") from None
    with psycopg.connect(dsn) as connection:
        answer = ask(connection, check, day)
        example = (
            json.dumps(dict(zip(answer.columns, answer.rows[0], strict=True)), default=str) if answer.rows else None
        )
        connection.execute(
            """
            INSERT INTO ops.quality_results (check_name, checked_day, severity, violations, example)
            VALUES (%s, %s, %s, %s, %s)
            ON CONFLICT (check_name, checked_day) DO UPDATE SET
                severity = EXCLUDED.severity, violations = EXCLUDED.violations, example = EXCLUDED.example,
                checked_at = now()
            """,
            (name, day, check.severity, len(answer.rows), example),
        )
    if answer.rows and check.severity == "error":
        raise UserError(
            f"{day} does not hold: {check.title} {len(answer.rows)} rows, the first: {example}",
            f"run sql/quality/{name}.sql to see them all; gold stays as it was until the day is good",
        )
    return len(answer.rows)


def record_dbt_results(dsn: str, invocation_id: str, results: Iterable[Mapping[str, Any]]) -> int:
    """Note the results of a run of dbt (its ``run_results.json``); return how many nodes it had."""
    rows = [
        (
            invocation_id, result["unique_id"], result["status"], result["execution_time"],
            result.get("adapter_response", {}).get("rows_affected"), result.get("message"),
        )
        for result in results
    ]  # fmt: skip
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO ops.dbt_results (invocation_id, node, status, seconds, rows_affected, message)
            VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
            """,
            rows,
        )
    return len(rows)


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that went wrong in an orchestrated run."""

    kind: Literal["task_failed", "task_retried", "deadline_missed"]
    dag_id: str
    what: str
    task_id: str | None = None
    run_id: str | None = None
    try_number: int | None = None


def record_incident(dsn: str, incident: Incident, webhook: str | None = None) -> None:
    """Note an incident, and post it as JSON to a webhook if there is one.

    Raises:
        OSError: the webhook does not take it; the note is written by then.
    """
    values = asdict(incident)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            """
            INSERT INTO ops.incidents (kind, dag_id, what, task_id, run_id, try_number)
            VALUES (%(kind)s, %(dag_id)s, %(what)s, %(task_id)s, %(run_id)s, %(try_number)s)
            """,
            values,
        )
    if webhook:
        request = urllib.request.Request(  # noqa: S310 - the operator chose the address
            webhook, data=json.dumps(values).encode(), headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S):  # noqa: S310
            pass
