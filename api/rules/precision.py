"""The precision of each rule on labelled alerts."""

from __future__ import annotations

from typing import Any, Final

from api.database import Database
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.rules import RULES

CONSIDERED: Final = 2_000
"""Newest labelled alerts that are counted."""
_PRECISION: Final = """
    SELECT reason ->> 'code' AS code, count(*) AS labelled, count(*) FILTER (WHERE label = 'fraud') AS frauds
    FROM (
        SELECT a.reasons, l.label FROM raw.alerts a CROSS JOIN LATERAL (
            SELECT label FROM raw.labels
            WHERE customer_id = a.customer_id AND transaction_id = a.transaction_id
            ORDER BY labelled_at_ms DESC, label_id DESC LIMIT 1) AS l
        ORDER BY a.event_time DESC LIMIT %(limit)s) AS labelled
    CROSS JOIN LATERAL jsonb_array_elements(labelled.reasons) AS reason
    GROUP BY 1
"""


async def rule_rows(database: Database, config: DetectionConfig) -> list[dict[str, Any]]:
    """Return each rule with its setting, and how many labelled alerts have its reason: all, and frauds."""
    rows = await database.rows(_PRECISION, {"limit": CONSIDERED})
    counted = {row["code"]: (row["frauds"], row["labelled"]) for row in rows}
    return [
        {
            "rule": rule,
            "setting": config.rules[rule.id],
            "frauds": counted.get(rule.code.value, (0, 0))[0],
            "labelled": counted.get(rule.code.value, (0, 0))[1],
        }
        for rule in RULES
    ]
