"""Finds past alerts whose features are close to those of an alert, and what people found out about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import pstdev
from typing import Any, Final

from api.database import Database
from flink_jobs.core.features.table import FEATURES

CONSIDERED: Final = 500
"""Newest labelled alerts that are compared, of those that were labelled last and of the newest alerts."""
LABELS: Final = 1_000
"""Latest labels of which the alert is looked up: a backlog of alerts without a label costs nothing."""
NEWEST: Final = 500
"""Newest alerts of which the label is looked up: the latest labels may be of transactions without an alert."""
SHOWN: Final = 10
# The limits are constants, not parameters: the planner must know that the steps have few rows.
_ALERTS: Final = f"""
    WITH candidates AS MATERIALIZED (
        (SELECT alert_id, event_time_ms FROM raw.alerts ORDER BY event_time DESC LIMIT {NEWEST})
        UNION
        SELECT c.alert_id, c.event_time_ms
        FROM (SELECT customer_id, transaction_id FROM raw.labels ORDER BY labelled_at DESC LIMIT {LABELS}) AS latest
        CROSS JOIN LATERAL ( -- with OFFSET, so that each label is looked up: the whole table is never read
            SELECT alert_id, event_time_ms FROM cases.alerts
            WHERE customer_id = latest.customer_id AND transaction_id = latest.transaction_id OFFSET 0) AS c)
    SELECT a.transaction_id, a.event_time_ms, a.amount_minor, a.currency, a.merchant, a.score, a.features, l.label
    FROM candidates JOIN raw.alerts a USING (alert_id, event_time_ms) CROSS JOIN LATERAL (
        SELECT label FROM raw.labels
        WHERE customer_id = a.customer_id AND transaction_id = a.transaction_id
        ORDER BY labelled_at_ms DESC, label_id DESC LIMIT 1) AS l
    WHERE a.features IS NOT NULL AND NOT (a.customer_id = %(customer)s AND a.transaction_id = %(transaction)s)
    ORDER BY a.event_time DESC LIMIT {CONSIDERED}
"""  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Similar:
    """The past alerts that are closest to an alert.

    Attributes:
        alerts: rows with ``label`` and ``distance``, closest first, at most ten.
        frauds: how many of them are labelled as fraud.
    """

    alerts: list[dict[str, Any]]
    frauds: int


async def similar_alerts(
    database: Database, customer: str, transaction: str, features: Mapping[str, float | None]
) -> Similar:
    """Return the labelled alerts whose features are closest to these, without the alert of the transaction itself."""
    parameters = {"customer": customer, "transaction": transaction}
    found = closest(features, await database.rows(_ALERTS, parameters))
    return Similar(found, sum(row["label"] == "fraud" for row in found))


def closest(features: Mapping[str, float | None], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the closest rows, each with its ``distance``.

    The distance is Euclidean over all features, each divided by its standard deviation among the rows. An absent
    feature has its neutral value. A feature that is equal in all rows counts nothing.
    """
    vectors = [_vector(row["features"]) for row in rows]
    scales = [pstdev(column) for column in zip(*vectors, strict=True)]
    own = _vector(features)

    def distance(vector: Sequence[float]) -> float:
        parts = zip(own, vector, scales, strict=True)
        return sqrt(sum(((mine - other) / scale) ** 2 for mine, other, scale in parts if scale > 0))

    ranked = [{**row, "distance": distance(vector)} for row, vector in zip(rows, vectors, strict=True)]
    return sorted(ranked, key=lambda row: (row["distance"], row["transaction_id"]))[:SHOWN]


def _vector(features: Mapping[str, float | None]) -> list[float]:
    values = [(features.get(spec.name), spec.neutral) for spec in FEATURES]
    return [neutral if value is None else float(value) for value, neutral in values]
