"""Records quality checks, results of dbt and incidents in the schema ``ops``."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

import psycopg

from flink_jobs.errors import UserError
from flink_jobs.warehouse.paths import QUALITY_CHECKS
from flink_jobs.warehouse.queries import ask, read_sql_files

WEBHOOK_TIMEOUT_S = 5.0


def check_day(dsn: str, name: str, day: date) -> int:
    """Run one check of sql/quality for a day and record the result.

    Returns:
        The number of rows that violate the check. It is above 0 only for a check with severity ``warn``.

    Raises:
        UserError: a check with severity ``error`` found violations, or there is no such check.
    """
    try:
        check = read_sql_files(QUALITY_CHECKS)[name]
    except KeyError:
        raise UserError(f"there is no check {name!r}", f"choose one of {QUALITY_CHECKS}") from None
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
            f"{day} fails the check {name}: {check.title} {len(answer.rows)} rows violate it, the first: {example}",
            f"run sql/quality/{name}.sql to see all rows; gold does not change until the day passes",
        )
    return len(answer.rows)


def check_days(dsn: str, name: str, days: Sequence[date]) -> int:
    """Run one check for several days; all of them, also if one fails. A check without a day runs once.

    Returns:
        The number of rows that violate the check.

    Raises:
        UserError: a check with severity ``error`` found violations; the message names the first day and the others.
    """
    check = read_sql_files(QUALITY_CHECKS).get(name)
    if check is not None and "%(day)s" not in check.sql:
        days = days[-1:]
    violations, failed = 0, dict[date, UserError]()
    for day in days:
        try:
            violations += check_day(dsn, name, day)
        except UserError as problem:
            failed[day] = problem
    if failed:
        first, *others = failed
        also = f"; also {', '.join(map(str, others))}" if others else ""
        raise UserError(f"{failed[first].what}{also}", failed[first].fix)
    return violations


def record_dbt_results(dsn: str, invocation_id: str, results: Iterable[Mapping[str, Any]]) -> int:
    """Record the results of a dbt run (its ``run_results.json``); return the number of its nodes."""
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
    """A failed task, a failed try or a missed deadline of a DAG run."""

    kind: Literal["task_failed", "task_retried", "deadline_missed"]
    dag_id: str
    what: str
    task_id: str | None = None
    run_id: str | None = None
    try_number: int | None = None


def record_incident(dsn: str, incident: Incident, webhook: str | None = None) -> None:
    """Record an incident, and post it as JSON to a webhook if one is set.

    Raises:
        OSError: the webhook rejects the post; the incident is recorded before the post.
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
