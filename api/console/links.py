"""Links of an alert: other customers at the same merchant, place and minute, and the hop from the purchase before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from api.cases.viewer import Viewer, masked
from api.console.history import Purchase
from api.console.words import features_of
from api.database import Database
from api.documents import Decision
from api.reads import Read, record_read
from flink_jobs.core.features.table import PLACE_UNCERTAINTY_KM
from flink_jobs.core.features.vector import MIN_TRAVEL_MS

MINUTE_MS: Final = 60_000
SHOWN: Final = 20
HOUR_MS: Final = 3_600_000
FARTHEST_KM: Final = 20_040.0
"""Half of the Earth's circumference."""
_LINKED: Final = """
    SELECT d.customer_id, d.event_time_ms, d.amount_minor, d.currency, d.score, d.is_alert,
        (SELECT l.label FROM raw.labels l
            WHERE l.customer_id = d.customer_id AND l.transaction_id = d.transaction_id
            ORDER BY l.labelled_at_ms DESC, l.label_id DESC LIMIT 1) AS label,
        (SELECT max(c.case_id) FROM cases.cases c WHERE c.customer_id = d.customer_id) AS case_id
    FROM raw.decisions d
    WHERE d.event_time_ms BETWEEN %(from_ms)s AND %(until_ms)s
        AND d.event_time BETWEEN to_timestamp(%(from_ms)s / 1000.0) AND to_timestamp(%(until_ms)s / 1000.0)
        AND d.merchant = %(merchant)s AND d.country IS NOT DISTINCT FROM %(country)s
        AND d.customer_id <> %(customer)s
    ORDER BY abs(d.event_time_ms - %(at_ms)s), d.customer_id, d.transaction_id LIMIT %(limit)s
"""


class Hop(NamedTuple):
    """The way from the last purchase with coordinates to this one."""

    start: str | None
    """Country (alpha-2); ``None`` for a purchase that names none."""
    end: str | None
    minutes: float
    speed_kmh: float
    distance_km: float
    """Computed back from speed and time: decisions have no coordinates."""


async def linked_customers(
    database: Database, viewer: Viewer, decision: Decision, customer: str
) -> list[Mapping[str, Any]]:
    """Return purchases of other customers within a minute at the same merchant in the same country, closest first.

    Ids are masked where the viewer may not see every customer. The read is recorded.
    """
    place = decision.model_extra or {}
    if place.get("merchant") is None:
        return []
    at = decision.event_time_ms
    parameters = {
        "from_ms": at - MINUTE_MS, "until_ms": at + MINUTE_MS, "at_ms": at, "merchant": place["merchant"],
        "country": place.get("country"), "customer": customer, "limit": SHOWN,
    }  # fmt: skip
    rows = await database.rows(_LINKED, parameters)
    if rows:
        await record_read(
            database, Read(viewer.actor, "cases.links", customer, viewer.request_id, f"{len(rows)} purchases")
        )
    return [row if viewer.sees_customers else {**row, "customer_id": masked(row["customer_id"])} for row in rows]


def hop_of(decision: Decision, purchases: Sequence[Purchase]) -> Hop | None:
    """Return the hop of a purchase; ``None`` without a speed, or if the last purchase with coordinates is not stored.

    Args:
        decision: of the purchase; its feature ``geo_speed_kmh`` is 0 for a place near the last one.
        purchases: of the customer, newest first.
    """
    speed = features_of(decision).get("geo_speed_kmh")
    earlier = (item for item in purchases if item.event_time_ms < decision.event_time_ms and item.is_located)
    before = next(earlier, None)
    if not speed or before is None:
        return None
    elapsed_ms = decision.event_time_ms - before.event_time_ms
    # The detector's own computation, the other way round.
    distance_km = speed * max(elapsed_ms, MIN_TRAVEL_MS) / HOUR_MS + PLACE_UNCERTAINTY_KM
    if distance_km > FARTHEST_KM:
        return None  # the purchase before is another one, which is not stored
    end = (decision.model_extra or {}).get("country")
    return Hop(before.country, end, elapsed_ms / 60_000, speed, distance_km)
