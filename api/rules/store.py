"""The rows of ``api.proposals``. The database refuses a decision by the proposer and by a person without the role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from psycopg.types.json import Jsonb

from api.cases.outbox import LEASE, Message, wait_after
from api.database import Connection, Database

SHOWN: Final = 50
_COLUMNS: Final = """
    p.proposal_id, p.changes, p.before, p.base_revision, p.reason, p.proposed_by, p.proposed_at, p.status, p.decided_by,
    p.decided_at, p.decision_reason, p.control_id, p.attempts, p.last_error, p.sent_at,
    a.outcome, a.revision, a.detail, a.applied_at
"""
_FROM: Final = f"""
    SELECT {_COLUMNS} FROM api.proposals p LEFT JOIN LATERAL (
        SELECT outcome, revision, detail, applied_at FROM ops.control_audit
        WHERE control_id = p.control_id AND outcome IN ('applied', 'rejected')
        ORDER BY applied_at_ms LIMIT 1) AS a ON true
"""  # noqa: S608 - constant column names
_LATEST: Final = f"{_FROM} ORDER BY p.proposal_id DESC LIMIT %(limit)s"
_ONE: Final = f"{_FROM} WHERE p.proposal_id = %(id)s"
_ADD: Final = """
    INSERT INTO api.proposals (changes, before, base_revision, reason, proposed_by)
    VALUES (%(changes)s, %(before)s, %(base_revision)s, %(reason)s, %(by)s) RETURNING proposal_id
"""
_DECIDE: Final = """
    UPDATE api.proposals SET status = %(status)s, decided_by = %(by)s, decided_at = now(), decision_reason = %(reason)s,
        control_id = %(control_id)s, message = %(message)s,
        not_before = CASE WHEN %(control_id)s::text IS NOT NULL THEN now() END
    WHERE proposal_id = %(id)s
"""
_OTHER_OPEN: Final = """
    SELECT p.proposal_id FROM api.proposals p
    WHERE p.status = 'approved' AND p.decided_at > now() - interval '1 hour'
        AND NOT EXISTS (
            SELECT FROM ops.control_audit a
            WHERE a.control_id = p.control_id AND a.outcome IN ('applied', 'rejected'))
    LIMIT 1
"""
_TAKE: Final = """
    UPDATE api.proposals p SET attempts = p.attempts + 1, not_before = now() + %(lease)s
    FROM (SELECT proposal_id FROM api.proposals
          WHERE status = 'approved' AND sent_at IS NULL AND not_before <= now()
          ORDER BY decided_at LIMIT 1 FOR UPDATE SKIP LOCKED) AS due
    WHERE p.proposal_id = due.proposal_id RETURNING p.control_id, p.message, p.attempts
"""
_SENT: Final = """
    UPDATE api.proposals SET sent_at = now(), last_error = NULL
    WHERE control_id = %(control_id)s AND sent_at IS NULL RETURNING proposal_id
"""
_FAILED: Final = """
    UPDATE api.proposals SET last_error = %(error)s, not_before = now() + %(wait)s
    WHERE control_id = %(control_id)s AND sent_at IS NULL RETURNING proposal_id
"""
_LOCK: Final = 0x5F33
"""Approvals run one after another: each sees the ones before it."""


async def latest(database: Database) -> list[dict[str, Any]]:
    """Return the newest proposals with their outcome in the control audit."""
    return await database.rows(_LATEST, {"limit": SHOWN})


async def one(connection: Connection, proposal_id: int) -> Mapping[str, Any] | None:
    """Return a proposal, ``None`` if there is none."""
    return await (await connection.execute(_ONE.encode(), {"id": proposal_id})).fetchone()


async def lock(connection: Connection) -> None:
    """Wait until no other transaction decides about a proposal."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


async def add(connection: Connection, values: Mapping[str, Any]) -> int:
    """Add a proposal and return its number."""
    row = await (await connection.execute(_ADD, _as_json(values, "changes", "before"))).fetchone()
    assert row is not None  # noqa: S101 - INSERT returns its row
    return int(row["proposal_id"])


async def decide(connection: Connection, values: Mapping[str, Any]) -> None:
    """Decide about a proposal; an approval has ``control_id`` and ``message``."""
    await connection.execute(_DECIDE, _as_json({"control_id": None, "message": None, **values}, "message"))


async def without_outcome(connection: Connection) -> int | None:
    """Return a proposal that was approved within an hour and has no outcome yet."""
    row = await (await connection.execute(_OTHER_OPEN)).fetchone()
    return None if row is None else int(row["proposal_id"])


async def take(database: Database) -> Message | None:
    """Take the approved proposal that is due; its lease ends before the next attempt."""
    rows = await database.rows(_TAKE, {"lease": LEASE})
    return Message(rows[0]["control_id"], rows[0]["message"], rows[0]["attempts"], None, None) if rows else None


async def mark_sent(database: Database, message: Message) -> None:
    """Note that Kafka has the control message."""
    await database.rows(_SENT, {"control_id": message.outbox_id})


async def mark_failed(database: Database, message: Message, error: str) -> None:
    """Note a failed attempt; the next one follows, without end."""
    values = {"control_id": message.outbox_id, "error": error[:500], "wait": wait_after(message.attempts)}
    await database.rows(_FAILED, values)


def _as_json(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    found = {name: Jsonb(values[name]) for name in names if values[name] is not None}
    return {**values, **found}
