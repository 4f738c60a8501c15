"""Dead letters by reason, and the health of the system."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
import urllib.request
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response

from api.console.guard import requires
from api.console.pages import page
from api.console.roles import Permission
from api.console.sessions import Session
from api.services import services_of
from flink_jobs.core.dead_letters.policies import REDRIVE_POLICIES
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.metrics.slos import SLOS

router = APIRouter()
Reader = Annotated[Session, Depends(requires(Permission.OPERATIONS_READ))]
DAYS: Final = (1, 7, 30)
PROMETHEUS_TIMEOUT_S: Final = 2.0
_BY_REASON: Final = """
    SELECT reason, disposition, stage, count(*) AS letters, max(processing_time) AS newest FROM raw.dead_letters
    WHERE loaded_at > now() - make_interval(days => %(days)s)
    GROUP BY reason, disposition, stage ORDER BY letters DESC, reason LIMIT 100
"""
_OF_REASON: Final = """
    SELECT dlq_id, processing_time, stage, detail, source_topic, source_partition, source_offset, payload_length
    FROM raw.dead_letters WHERE reason = %(reason)s AND loaded_at > now() - make_interval(days => %(days)s)
    ORDER BY processing_time DESC LIMIT 50
"""
_FRESHNESS: Final = """
    SELECT now() AS now,
        (SELECT max(loaded_at) FROM raw.decisions) AS decision,
        (SELECT max(loaded_at) FROM raw.alerts) AS alert,
        (SELECT max(loaded_at) FROM raw.dead_letters) AS dead_letter,
        (SELECT count(*) FROM raw.alerts WHERE loaded_at > now() - interval '1 hour') AS alerts_1h,
        (SELECT count(*) FROM raw.dead_letters WHERE loaded_at > now() - interval '1 hour') AS dead_letters_1h,
        (SELECT max(applied_at) FROM ops.control_audit) AS control
"""
PROMETHEUS: Final = {
    "Consumer lag of the detector (records)": (
        "max(flink_taskmanager_job_task_operator_KafkaSourceReader_KafkaConsumer_records_lag_max"
        '{job_name=~"streamflow.detect"})'
    ),
    "Time since the last checkpoint (s)": (
        "time() - max(flink_jobmanager_job_lastCheckpointCompletedTimestamp) / 1000"
    ),
    "Failed checkpoints": "sum(flink_jobmanager_job_numberOfFailedCheckpoints)",
    **{
        f"Budget left, {slo.name.replace('_', ' ')} (%)": f'100 * streamflow:slo_budget_left:ratio{{slo="{slo.name}"}}'
        for slo in SLOS
    },
    "Alerts that fire": 'count(ALERTS{alertstate="firing"}) or vector(0)',
}


@router.get("/dead-letters")
async def dead_letters(
    request: Request, session: Reader, days: int = 7, reason: Annotated[str | None, Query(max_length=64)] = None
) -> Response:
    """Return the dead letters of some days by reason, and the newest of one reason. Records are not shown."""
    database, days = services_of(request).database, days if days in DAYS else 7
    rows = await database.rows(_BY_REASON, {"days": days})
    letters = await database.rows(_OF_REASON, {"days": days, "reason": reason}) if reason else []
    return page(
        request, "dead_letters", session, rows=[{**row, **_policy(row["reason"])} for row in rows], letters=letters,
        reason=reason, days=days, choices=DAYS, shows_detail=session.identity.may(Permission.CUSTOMERS_READ),
    )  # fmt: skip


def _policy(reason: str) -> dict[str, str]:
    known = {item.value: item for item in DeadLetterReason}
    policy = REDRIVE_POLICIES.get(known[reason]) if reason in known else None
    if policy is None:
        return {"method": "unknown", "why": "a reason of a newer release"}
    return {"method": str(policy.method.value).replace("_", " "), "why": policy.why}


@router.get("/health")
async def health(request: Request, session: Reader) -> Response:
    """Return what Postgres, this process and, where configured, Prometheus report."""
    services = services_of(request)
    (facts,) = await services.database.rows(_FRESHNESS, {})
    url = services.settings.prometheus_url
    measured = await asyncio.gather(*(_ask(url, query) for query in PROMETHEUS.values())) if url else []
    return page(
        request, "health", session, facts=facts, age=_age, in_force=services.watch.now.config,
        is_read=services.watch.is_read, has_model=services.watch.now.model is not None,
        replies=services.lane is not None and services.lane.is_ready, prometheus=url,
        measured=dict(zip(PROMETHEUS, measured, strict=False)), histories=services.watch.now.histories,
    )  # fmt: skip


async def _ask(url: str, query: str) -> float | None:
    """Return the value of a query with one result; ``None`` if there is none or Prometheus does not answer."""

    def ask() -> float | None:
        address = f"{url.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(address, timeout=PROMETHEUS_TIMEOUT_S) as answer:  # noqa: S310 - of the settings
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    try:
        return await asyncio.to_thread(ask)
    except (OSError, ValueError, KeyError, IndexError):
        return None


def _age(value: datetime | None) -> str:
    """Return how long ago a time was."""
    if value is None:
        return "never"
    seconds = max(0, round((datetime.now(UTC) - value).total_seconds()))
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} seconds ago"
