"""The rows of ``api.model_requests``. The database refuses a decision by the requester or without the role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from api.database import Connection, Database

SHOWN: Final = 20
TAKEN_FOR: Final = "20 minutes"
"""A request whose process has not ended after this time is taken again; a promotion waits for the job far shorter."""
DUE: Final = f"""
    ((kind = 'promotion' AND status = 'requested' AND gate_at IS NULL) OR (status = 'approved' AND outcome IS NULL))
    AND (taken_at IS NULL OR taken_at < now() - interval '{TAKEN_FOR}')
"""
"""Condition of a request whose gate, or whose change, waits for a process."""
_ANY_DUE: Final = f"SELECT 1 AS due FROM api.model_requests WHERE {DUE} LIMIT 1"  # noqa: S608 - a constant
_LATEST: Final = "SELECT * FROM api.model_requests ORDER BY request_id DESC LIMIT %(limit)s"
_ONE: Final = "SELECT * FROM api.model_requests WHERE request_id = %(id)s"
_OPEN: Final = """
    SELECT * FROM api.model_requests
    WHERE kind = %(kind)s AND version = %(version)s AND to_stage = %(to_stage)s AND is_urgent = %(is_urgent)s
        AND (status = 'requested' OR (status = 'approved' AND outcome IS NULL))
"""
_ADD: Final = """
    INSERT INTO api.model_requests (kind, version, to_stage, champion, days, is_urgent, reason, requested_by, status,
        decided_by, decided_at, decision_reason)
    VALUES (%(kind)s, %(version)s, %(to_stage)s, %(champion)s, %(days)s, %(is_urgent)s, %(reason)s, %(by)s,
        CASE WHEN %(is_urgent)s THEN 'approved' ELSE 'requested' END, CASE WHEN %(is_urgent)s THEN %(by)s END,
        CASE WHEN %(is_urgent)s THEN now() END, CASE WHEN %(is_urgent)s THEN %(reason)s END)
    ON CONFLICT DO NOTHING RETURNING request_id
"""
_DECIDE: Final = """
    UPDATE api.model_requests
    SET status = %(status)s, decided_by = %(by)s, decided_at = now(), decision_reason = %(reason)s
    WHERE request_id = %(id)s
"""
_REVIEW: Final = """
    UPDATE api.model_requests SET reviewed_by = %(by)s, reviewed_at = now(), review_reason = %(reason)s
    WHERE request_id = %(id)s
"""
_CHAMPION: Final = "SELECT version FROM ml.model_versions WHERE stage = 'champion'"
_PREVIOUS: Final = f"""
    SELECT version FROM ml.model_events
    WHERE event = 'stage_changed' AND to_stage = 'champion' AND version IS DISTINCT FROM ({_CHAMPION})
    ORDER BY event_id DESC LIMIT 1
"""  # noqa: S608 - a constant
_STAGE: Final = "SELECT stage FROM ml.model_versions WHERE version = %(version)s"


async def is_due(database: Database) -> bool:
    """Return whether a request waits for a process."""
    return bool(await database.rows(_ANY_DUE, {}))


async def latest(database: Database) -> list[dict[str, Any]]:
    """Return the newest requests."""
    return await database.rows(_LATEST, {"limit": SHOWN})


async def one(connection: Connection, request_id: int, *, lock: bool = False) -> Mapping[str, Any] | None:
    """Return a request, ``None`` if there is none; with ``lock``, nobody decides about it before the commit."""
    query = f"{_ONE} FOR UPDATE" if lock else _ONE
    return await (await connection.execute(query.encode(), {"id": request_id})).fetchone()


async def add(connection: Connection, values: Mapping[str, Any]) -> int | None:
    """Add a request and return its number, ``None`` if one like it is open."""
    row = await (await connection.execute(_ADD, values)).fetchone()
    return None if row is None else int(row["request_id"])


async def open_like(connection: Connection, values: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the open request for the same change, ``None`` if there is none."""
    return await (await connection.execute(_OPEN, values)).fetchone()


async def decide(connection: Connection, request_id: int, status: str, by: str, reason: str) -> None:
    """Approve, refuse or withdraw a request."""
    await connection.execute(_DECIDE, {"id": request_id, "status": status, "by": by, "reason": reason})


async def review(connection: Connection, request_id: int, by: str, reason: str) -> None:
    """Note the review of an urgent rollback."""
    await connection.execute(_REVIEW, {"id": request_id, "by": by, "reason": reason})


async def champion(connection: Connection) -> str | None:
    """Return the champion of the registry."""
    row = await (await connection.execute(_CHAMPION)).fetchone()
    return None if row is None else str(row["version"])


async def previous_champion(database: Database) -> str | None:
    """Return the version that a rollback makes champion again."""
    rows = await database.rows(_PREVIOUS, {})
    return str(rows[0]["version"]) if rows else None


async def stage_of(connection: Connection, version: str) -> str | None:
    """Return the stage of a version, ``None`` if it is not registered."""
    row = await (await connection.execute(_STAGE, {"version": version})).fetchone()
    return None if row is None else str(row["stage"])
