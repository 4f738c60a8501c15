"""The SQL of cases: reads, locks, updates and events, on a connection whose transaction the caller holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from api.cases.documents import Order, Status
from api.cases.outbox import add_webhooks
from api.cases.viewer import Viewer
from api.database import Connection

MOST_ALERTS: Final = 200
MOST_EVENTS: Final = 500
COLUMNS: Final = (
    "case_id", "customer_id", "team", "status", "priority", "assignee", "opened_at", "due_at", "snoozed_until",
    "closed_at", "alert_count", "last_alert_at", "verdict", "verdict_reason", "verdict_by", "verdict_at", "undo_until",
    "version",
)  # fmt: skip
_LISTED: Final = ", ".join(f"c.{name}" for name in COLUMNS)
_VISIBLE: Final = "(%(teams)s::text[] IS NULL OR c.team = ANY(%(teams)s))"
_ONE: Final = f"SELECT {_LISTED}, now() AS now FROM cases.cases c WHERE c.case_id = %(case)s AND {_VISIBLE}"  # noqa: S608 - constants
_NEXT: Final = f"""
    SELECT {_LISTED}, now() AS now FROM cases.cases c WHERE c.status = 'open' AND {_VISIBLE}
    ORDER BY c.priority DESC, c.case_id DESC LIMIT 1 FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - constant column names
_ALERTS: Final = """
    SELECT a.alert_id, a.customer_id, a.transaction_id, a.event_time_ms, a.amount_minor, a.currency, a.score,
        a.expected_loss, a.fraud_probability, a.joined_at,
        (SELECT l.label FROM raw.labels l
         WHERE l.customer_id = a.customer_id AND l.transaction_id = a.transaction_id
         ORDER BY l.labelled_at_ms DESC, l.label_id DESC LIMIT 1) AS label
    FROM cases.alerts a WHERE a.case_id = %(case)s ORDER BY a.event_time_ms DESC, a.alert_id LIMIT %(limit)s
"""
_PROBABILITIES: Final = """
    SELECT c.case_id, max(a.fraud_probability) AS probability
    FROM unnest(%(cases)s::bigint[]) AS c (case_id)
    CROSS JOIN LATERAL (
        SELECT fraud_probability FROM cases.alerts WHERE case_id = c.case_id
        ORDER BY event_time_ms DESC LIMIT %(limit)s) AS a
    WHERE a.fraud_probability IS NOT NULL GROUP BY c.case_id
"""
_EVENTS: Final = """
    SELECT event_id, happened_at, actor, action, before, after FROM cases.events
    WHERE case_id = %(case)s ORDER BY event_id DESC LIMIT %(limit)s
"""
_NOTES: Final = """
    SELECT note_id, written_at, author, body FROM cases.notes
    WHERE case_id = %(case)s ORDER BY note_id DESC LIMIT %(limit)s
"""
_EVENT: Final = """
    INSERT INTO cases.events (case_id, actor, action, before, after, request_id)
    VALUES (%(case)s, %(actor)s, %(action)s, %(before)s, %(after)s, %(request)s) RETURNING event_id
"""
_NOTE: Final = """
    INSERT INTO cases.notes (case_id, author, body) VALUES (%(case)s, %(author)s, %(body)s)
    RETURNING note_id, written_at, author, body
"""
_CHANGEABLE: Final = frozenset(COLUMNS) - {"case_id", "customer_id", "opened_at", "version"}


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which cases to list; every field narrows the list."""

    status: Status | None = None
    """``None``: every case that is not closed."""
    team: str | None = None
    assignee: str | None = None
    is_unassigned: bool = False
    customer_id: str | None = None
    min_priority: float | None = None
    is_overdue: bool = False
    order: Order = Order.PRIORITY


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list: that of the last case of a page."""

    value: float | datetime
    """Its priority, or its due time."""
    case_id: int


async def page(
    connection: Connection, viewer: Viewer, chosen: QueueFilter, after: Place | None, limit: int
) -> list[DictRow]:
    """Return the visible cases of a filter after a place in the list."""
    status = "c.status <> 'closed'" if chosen.status is None else f"c.status = '{chosen.status.value}'"
    conditions = [status]  # a constant, not a parameter: so the partial indexes serve it
    if viewer.teams is not None:
        conditions.append("c.team = ANY(%(teams)s)")
    for name, value in (("team", chosen.team), ("assignee", chosen.assignee), ("customer_id", chosen.customer_id)):
        if value is not None:
            conditions.append(f"c.{name} = %({name})s")
    if chosen.is_unassigned:
        conditions.append("c.assignee IS NULL")
    if chosen.min_priority is not None:
        conditions.append("c.priority >= %(min_priority)s")
    if chosen.is_overdue:
        conditions.append("c.due_at < now() AND c.status <> 'closed'")
    if chosen.order is Order.DUE:
        order, place = "c.due_at, c.case_id", "(c.due_at, c.case_id) > (%(value)s::timestamptz, %(id)s)"
        conditions.append("c.status <> 'closed'")
    else:
        order, place = "c.priority DESC, c.case_id DESC", "(c.priority, c.case_id) < (%(value)s::float8, %(id)s)"
    if after is not None:
        conditions.append(place)
    where = " AND ".join(conditions)
    query = f"SELECT {_LISTED} FROM cases.cases c WHERE {where} ORDER BY {order} LIMIT %(limit)s"  # noqa: S608 - constant parts
    parameters = {
        "teams": viewer.team_list,
        "team": chosen.team,
        "assignee": chosen.assignee,
        "customer_id": chosen.customer_id,
        "min_priority": chosen.min_priority,
        "value": after.value if after else None,
        "id": after.case_id if after else None,
        "limit": limit,
    }
    return await _rows(connection, query, parameters)


async def one(connection: Connection, viewer: Viewer, case_id: int, *, is_locked: bool = False) -> DictRow | None:
    """Return a case and the database's time, ``None`` if it does not exist or another team has it."""
    lock = " FOR UPDATE" if is_locked else ""
    rows = await _rows(connection, _ONE + lock, {"case": case_id, "teams": viewer.team_list})
    return rows[0] if rows else None


async def next_open(connection: Connection, viewer: Viewer) -> DictRow | None:
    """Lock and return the open case with the highest priority that no other transaction has locked."""
    rows = await _rows(connection, _NEXT, {"teams": viewer.team_list})
    return rows[0] if rows else None


async def alerts(connection: Connection, case_id: int, limit: int = MOST_ALERTS) -> list[DictRow]:
    """Return the newest alerts of a case."""
    return await _rows(connection, _ALERTS, {"case": case_id, "limit": limit})


async def probabilities(connection: Connection, cases: Sequence[int]) -> dict[int, float]:
    """Return the highest probability of fraud of the newest alerts of each case; a case without one is left out."""
    rows = await _rows(connection, _PROBABILITIES, {"cases": list(cases), "limit": MOST_ALERTS})
    return {row["case_id"]: row["probability"] for row in rows}


async def events(connection: Connection, case_id: int) -> list[DictRow]:
    """Return the newest events of a case, oldest first."""
    return (await _rows(connection, _EVENTS, {"case": case_id, "limit": MOST_EVENTS}))[::-1]


async def notes(connection: Connection, case_id: int) -> list[DictRow]:
    """Return the newest notes of a case, oldest first."""
    return (await _rows(connection, _NOTES, {"case": case_id, "limit": MOST_EVENTS}))[::-1]


async def add_note(connection: Connection, case_id: int, author: str, body: str) -> DictRow:
    """Add a note and return it."""
    return (await _rows(connection, _NOTE, {"case": case_id, "author": author, "body": body}))[0]


async def update(
    connection: Connection, viewer: Viewer, row: Mapping[str, Any], action: str, values: Mapping[str, Any]
) -> dict[str, Any]:
    """Change the columns of a locked case, count its version up, add the event, and return the case.

    Args:
        connection: holds the transaction.
        viewer: who changes the case.
        row: the case as it is.
        action: name of the event.
        values: new values by column; names are constants of the callers, never input.
    """
    assert values.keys() <= _CHANGEABLE  # noqa: S101 - the names are part of the statement
    changed = {name: value for name, value in values.items() if row[name] != value}
    assignments = ", ".join([*(f"{name} = %({name})s" for name in changed), "version = version + 1"])
    await connection.execute(
        f"UPDATE cases.cases SET {assignments} WHERE case_id = %(case)s".encode(),  # noqa: S608 - checked names
        {**changed, "case": row["case_id"]},
    )
    await add_event(connection, viewer, row["case_id"], action, {name: row[name] for name in changed}, changed)
    return {**row, **changed, "version": row["version"] + 1}


async def add_event(
    connection: Connection,
    viewer: Viewer,
    case_id: int,
    action: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> int:
    """Add an event to the log of a case and return its id."""
    row = {
        "case": case_id,
        "actor": viewer.actor,
        "action": action,
        "before": None if before is None else Jsonb(plain(before)),
        "after": None if after is None else Jsonb(plain(after)),
        "request": viewer.request_id or None,
    }
    event_id = int((await _rows(connection, _EVENT, row))[0]["event_id"])
    await add_webhooks(connection, [event_id])
    return event_id


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with times as ISO 8601 texts."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


async def _rows(connection: Connection, query: str, parameters: Mapping[str, Any]) -> list[DictRow]:
    return await (await connection.execute(query.encode(), parameters)).fetchall()
