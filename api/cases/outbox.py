"""The outbox in Postgres: messages are added in the transaction of a change, and taken by the relay.

Taking a message leases it: its next attempt lies in the future, so no other relay takes it, and a process that dies
after sending leaves it to the next attempt. The message is sent again then, with the same id.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from api.database import Connection, Database

BATCH: Final = 500
LEASE: Final = timedelta(seconds=15)
"""Longer than an attempt to send."""
LONGEST_WAIT_S: Final = 300
_DOUBLINGS: Final = 9
MOST_ALERTS: Final = 20
"""Alerts of a case in a message to a receiver that wants their ids, the newest ones."""
_WEBHOOKS: Final = """
    INSERT INTO cases.outbox (outbox_id, kind, case_id, webhook_id, payload, not_before)
    SELECT 'wh_' || md5(w.webhook_id || ':' || e.event_id), 'webhook', e.case_id, w.webhook_id,
        jsonb_build_object('id', 'wh_' || md5(w.webhook_id || ':' || e.event_id), 'event', e.action,
            'case_id', e.case_id, 'team', c.team, 'version', c.version, 'happened_at', e.happened_at, 'actor', e.actor,
            'before', e.before, 'after', e.after)
            || CASE WHEN w.has_ids THEN jsonb_build_object('alerts', (
                SELECT coalesce(jsonb_agg(jsonb_build_object('alert_id', a.alert_id,
                    'transaction_id', a.transaction_id, 'event_time_ms', a.event_time_ms, 'terminal', r.terminal,
                    'device', r.device, 'card', r.card, 'ip', r.ip) ORDER BY a.event_time_ms DESC, a.alert_id), '[]')
                FROM (SELECT * FROM cases.alerts WHERE case_id = e.case_id
                    ORDER BY event_time_ms DESC, alert_id LIMIT %(most)s) AS a
                LEFT JOIN raw.alerts r ON (r.alert_id, r.event_time_ms) = (a.alert_id, a.event_time_ms)))
                ELSE '{}' END,
        CASE WHEN e.action = 'verdict' THEN c.undo_until ELSE now() END
    FROM cases.events e JOIN cases.cases c USING (case_id)
    JOIN cases.webhooks w ON w.disabled_at IS NULL AND e.action = ANY(w.events)
    WHERE e.event_id = ANY(%(events)s)
"""
_WAITING: Final = "sent_at IS NULL AND cancelled_at IS NULL AND dead_at IS NULL"
_TAKE: Final = f"""
    UPDATE cases.outbox o SET attempts = o.attempts + 1, not_before = now() + %(lease)s
    FROM (SELECT outbox_id FROM cases.outbox
          WHERE {_WAITING} AND not_before <= now() AND kind = %(kind)s
          ORDER BY not_before LIMIT %(limit)s FOR UPDATE SKIP LOCKED) AS due
    WHERE o.outbox_id = due.outbox_id
    RETURNING o.outbox_id, o.payload, o.attempts,
        (SELECT url FROM cases.webhooks w WHERE w.webhook_id = o.webhook_id) AS url,
        (SELECT secret_name FROM cases.webhooks w WHERE w.webhook_id = o.webhook_id) AS secret_name
"""  # noqa: S608 - constant condition
# The outbox is never deleted, and a message that arrived needs its personal data no more.
_SENT: Final = """
    UPDATE cases.outbox SET sent_at = now(), last_error = NULL, payload = payload - 'alerts'
    WHERE outbox_id = ANY(%(ids)s) AND sent_at IS NULL
    RETURNING outbox_id
"""
# A message that is given up keeps which alerts it listed; a retry reads their ids again (``webhook_admin``).
_FAILED: Final = """
    UPDATE cases.outbox SET last_error = %(error)s, not_before = now() + %(wait)s,
        dead_at = CASE WHEN %(is_dead)s THEN now() END,
        payload = CASE WHEN %(is_dead)s AND payload ? 'alerts' THEN jsonb_set(payload, '{alerts}', (
            SELECT coalesce(jsonb_agg(item - '{terminal,device,card,ip}'::text[] ORDER BY place), '[]')
            FROM jsonb_array_elements(payload -> 'alerts') WITH ORDINALITY AS listed (item, place)))
            ELSE payload END
    WHERE outbox_id = ANY(%(ids)s) AND sent_at IS NULL RETURNING outbox_id
"""
PROPOSAL: Final = "proposal"
"""The kind of an approved proposal that is not sent: it is its own message (``api/rules/sender.py``)."""
# A message that was never tried and is not due yet waits for the end of the time in which its verdict can be undone.
_STATE: Final = f"""
    SELECT kind, 0 AS dead, extract(epoch FROM now() - min(created_at))::float8 AS age_s
    FROM cases.outbox WHERE {_WAITING} AND (attempts > 0 OR not_before <= now()) GROUP BY kind
    UNION ALL
    SELECT kind, count(*), 0.0 FROM cases.outbox WHERE dead_at IS NOT NULL GROUP BY kind
    UNION ALL
    SELECT '{PROPOSAL}', 0, extract(epoch FROM now() - min(decided_at))::float8
    FROM api.proposals WHERE status = 'approved' AND sent_at IS NULL HAVING count(*) > 0
"""  # noqa: S608 - constant condition


class Kind(StrEnum):
    """What a message is."""

    LABEL = "label"
    WEBHOOK = "webhook"
    ACTION = "action"


class Message(NamedTuple):
    """A message that the relay has taken."""

    outbox_id: str
    payload: dict[str, Any]
    attempts: int
    """With this one."""
    url: str | None
    secret_name: str | None


async def add_webhooks(connection: Connection, event_ids: Sequence[int]) -> None:
    """Add a message per event and webhook that wants it; that of a verdict waits until it cannot be undone."""
    await connection.execute(_WEBHOOKS.encode(), {"events": list(event_ids), "most": MOST_ALERTS})


async def take(database: Database, kind: Kind, limit: int = BATCH, lease: timedelta = LEASE) -> list[Message]:
    """Take messages that are due."""
    rows = await database.rows(_TAKE, {"kind": kind.value, "limit": limit, "lease": lease})
    return [Message(**row) for row in rows]


async def state(database: Database) -> tuple[dict[str, float], dict[str, float]]:
    """Return the age in seconds of the oldest waiting message and the number of dead messages, both by kind."""
    ages, dead = (dict.fromkeys([*map(str, Kind), PROPOSAL], 0.0) for _ in range(2))
    for row in await database.rows(_STATE, {}):
        kind = row["kind"]
        ages[kind] = max(ages.get(kind, 0.0), row["age_s"])
        dead[kind] = max(dead.get(kind, 0.0), float(row["dead"]))
    return ages, dead


async def mark_sent(database: Database, ids: Collection[str]) -> None:
    """Note that messages were accepted."""
    await database.rows(_SENT, {"ids": list(ids)})


async def mark_failed(database: Database, ids: Collection[str], error: str, attempts: int, most: int | None) -> None:
    """Note a failure; after ``most`` attempts (``None``: never) the messages are dead letters."""
    await database.rows(
        _FAILED,
        {
            "ids": list(ids),
            "error": error[:500],
            "wait": wait_after(attempts),
            "is_dead": most is not None and attempts >= most,
        },
    )


def wait_after(attempts: int) -> timedelta:
    """Return the wait after so many failed attempts: 1 s, doubled each time, at most 300 s.

    >>> [wait_after(attempts).total_seconds() for attempts in (1, 2, 9, 40)]
    [1.0, 2.0, 256.0, 300.0]
    """
    return timedelta(seconds=min(2.0 ** min(attempts - 1, _DOUBLINGS), LONGEST_WAIT_S))
