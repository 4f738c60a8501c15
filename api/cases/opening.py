"""Archived alerts become cases: a loop in every API process; one of them works at a time.

An alert that the archive loaded opens a case of its customer, or joins the open one. Alerts are found by their time of
loading. Parallel writers of the archive do not commit in the order of these times, so each round looks back a little;
alerts that are in a case already are skipped. The first round of a process looks back ``STREAMFLOW_API_CASE_DAYS``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from api.background import repeat
from api.cases import store
from api.cases.outbox import add_webhooks
from api.cases.viewer import Viewer
from api.database import Connection, Database
from api.settings import ApiSettings
from flink_jobs.core.currencies import MINOR_UNITS, major_amount

_LOG: Final = logging.getLogger(__name__)
SYSTEM: Final = Viewer("streamflow", "")
SWEEP_EVERY_S: Final = 3_600.0
BATCH: Final = 1_000
LOOK_BACK: Final = timedelta(minutes=2)
"""Longer than a transaction of the archive; an hourly sweep finds alerts of a longer one."""
_LOCK: Final = 0x5F31
_TRY_LOCK: Final = "SELECT pg_try_advisory_xact_lock(%s) AS is_ours, now() AS now"
_NEW: Final = """
    WITH scanned AS MATERIALIZED (
        SELECT alert_id, event_time_ms, customer_id, transaction_id, amount_minor, currency, score,
            expected_loss_minor, fraud_probability, loaded_at
        FROM raw.alerts
        WHERE loaded_at >= %(at)s AND (loaded_at, alert_id, event_time_ms) > (%(at)s, %(id)s, %(ms)s)
        ORDER BY loaded_at, alert_id, event_time_ms LIMIT %(limit)s),
    work AS (
        SELECT s.*, known.alert_id IS NOT NULL AS is_known
        FROM scanned s
        LEFT JOIN LATERAL ( -- with OFFSET, so that every alert is looked up: a step never reads the whole table
            SELECT * FROM cases.alerts WHERE (alert_id, event_time_ms) = (s.alert_id, s.event_time_ms) OFFSET 0
        ) AS known ON true
        WHERE (known.alert_id IS NULL
                OR (known.amount_minor, known.currency, known.score, known.fraud_probability)
                    IS DISTINCT FROM (s.amount_minor, s.currency, s.score, s.fraud_probability))
            AND (
                SELECT count(*) FROM cases.cases c
                WHERE c.customer_id = s.customer_id AND c.undo_until > now()) = 0)
    SELECT work.*, last.loaded_at AS last_at, last.alert_id AS last_id, last.event_time_ms AS last_ms,
        (SELECT count(*) FROM scanned) AS scanned
    FROM (SELECT * FROM scanned ORDER BY loaded_at DESC, alert_id DESC, event_time_ms DESC LIMIT 1) AS last
    LEFT JOIN work ON true
    ORDER BY work.loaded_at, work.alert_id
"""
_LOCK_OPEN: Final = """
    SELECT case_id, customer_id, status, assignee, priority, due_at FROM cases.cases
    WHERE customer_id = ANY(%(customers)s) AND (status <> 'closed' OR undo_until > now())
    ORDER BY case_id FOR UPDATE
"""
_OPEN: Final = """
    INSERT INTO cases.cases (customer_id, due_at)
    SELECT customer_id, now() + %(sla)s FROM unnest(%(customers)s::text[]) AS new (customer_id)
    RETURNING case_id, customer_id, status, assignee, priority, due_at
"""
_JOIN: Final = """
    INSERT INTO cases.alerts (alert_id, event_time_ms, case_id, customer_id, transaction_id, amount_minor, currency,
                              score, expected_loss, fraud_probability)
    SELECT * FROM unnest(%(alert_id)s::text[], %(event_time_ms)s::bigint[], %(case_id)s::bigint[],
        %(customer_id)s::text[], %(transaction_id)s::text[], %(amount_minor)s::bigint[], %(currency)s::text[],
        %(score)s::float8[], %(expected_loss)s::float8[], %(fraud_probability)s::float8[])
    ON CONFLICT (alert_id, event_time_ms) DO UPDATE SET amount_minor = EXCLUDED.amount_minor,
        currency = EXCLUDED.currency, score = EXCLUDED.score, expected_loss = EXCLUDED.expected_loss,
        fraud_probability = EXCLUDED.fraud_probability
    RETURNING case_id
"""
_SUM_UP: Final = """
    UPDATE cases.cases c SET priority = total.loss, alert_count = total.alerts, last_alert_at = now(),
        version = c.version + 1, snoozed_until = NULL,
        status = CASE WHEN c.status = 'snoozed' THEN CASE WHEN c.assignee IS NULL THEN 'open' ELSE 'claimed' END
                 ELSE c.status END,
        due_at = CASE WHEN total.loss >= %(urgent)s AND c.priority < %(urgent)s
                 THEN least(c.due_at, now() + %(urgent_sla)s) ELSE c.due_at END
    FROM (SELECT case_id, sum(expected_loss) AS loss, count(*) AS alerts FROM cases.alerts
          WHERE case_id = ANY(%(cases)s) GROUP BY case_id) AS total
    WHERE c.case_id = total.case_id
    RETURNING c.case_id, c.status, c.priority, c.alert_count, c.due_at
"""
_EVENTS: Final = """
    INSERT INTO cases.events (case_id, actor, action, before, after)
    SELECT * FROM unnest(%(cases)s::bigint[], %(actors)s::text[], %(actions)s::text[], %(before)s::jsonb[],
        %(after)s::jsonb[])
    RETURNING event_id
"""
_WAKE: Final = """
    SELECT case_id, customer_id, team, status, assignee, snoozed_until, version FROM cases.cases
    WHERE status = 'snoozed' AND snoozed_until <= now()
    ORDER BY snoozed_until LIMIT 100 FOR UPDATE SKIP LOCKED
"""


class Place(NamedTuple):
    """A place in the order in which alerts were loaded."""

    at: datetime
    alert_id: str = ""
    event_time_ms: int = 0


class Step(NamedTuple):
    """What one transaction did."""

    alerts: int
    """Alerts that joined a case, or changed in one."""
    now: datetime
    """Time of the database."""
    last: Place | None
    """The last alert that was looked at; ``None`` if there are no more."""


class Opener:
    """Opens cases, and wakes snoozed ones."""

    def __init__(
        self, database: Database, settings: ApiSettings, note_round: Callable[[str], None] = lambda _: None
    ) -> None:
        """Use a database; ``note_round`` gets ``cases`` after each completed round."""
        self._database, self._note_round = database, note_round
        self._settings = settings
        self._since: datetime | None = None
        self._swept_at = 0.0

    async def run(self) -> None:
        """Open cases again and again, until cancelled."""

        async def step() -> None:
            with contextlib.suppress(psycopg.errors.UniqueViolation):  # an analyst opened a case in the same moment
                await self.round()
                await self.wake()
                self._note_round("cases")

        await repeat(step, self._settings.case_every_s, _LOG, "alerts did not become cases; the next round tries again")

    async def round(self) -> int:
        """Bring every new alert into a case; return the number of alerts.

        Without the lock it does nothing. Once an hour a round looks at all days: an alert of a customer whose verdict
        could be undone at that time waited.
        """
        is_sweep = self._since is None or time.monotonic() - self._swept_at > SWEEP_EVERY_S
        first = await self._step(None if is_sweep or self._since is None else Place(self._since))
        step, count = first, 0
        while step is not None:
            count += step.alerts
            if step.last is None:
                break
            step = await self._step(step.last)
        if first is not None and step is not None:
            self._since = first.now - LOOK_BACK
            if is_sweep:
                self._swept_at = time.monotonic()
        return count

    async def wake(self) -> int:
        """Return snoozed cases whose time is over to the queue, or to their analyst; return their number."""
        async with self._database.connection() as connection, connection.transaction():
            rows = await (await connection.execute(_WAKE.encode())).fetchall()
            for row in rows:
                status = "open" if row["assignee"] is None else "claimed"
                await store.update(connection, SYSTEM, row, "woken", {"status": status, "snoozed_until": None})
        return len(rows)

    async def _step(self, after: Place | None) -> Step | None:
        """Bring the next alerts into cases, in one transaction; ``None`` if another process is doing it."""
        async with self._database.connection() as connection, connection.transaction():
            locked = await (await connection.execute(_TRY_LOCK, (_LOCK,))).fetchone()
            if locked is None or not locked["is_ours"]:
                return None
            now: datetime = locked["now"]
            place = after or Place(now - timedelta(days=self._settings.case_days))
            where = {"at": place.at, "id": place.alert_id, "ms": place.event_time_ms, "limit": BATCH}
            rows = await (await connection.execute(_NEW.encode(), where)).fetchall()
            if not rows:
                return Step(0, now, None)
            found = [row for row in rows if row["alert_id"] is not None]
            joined = await self._join(connection, found) if found else 0
            edge = rows[0]
            is_full = edge["scanned"] == BATCH
            last = Place(edge["last_at"], edge["last_id"], edge["last_ms"]) if is_full else None
            return Step(joined, now, last)

    async def _join(self, connection: Connection, found: Sequence[Mapping[str, Any]]) -> int:
        customers = sorted({alert["customer_id"] for alert in found})
        locked = await (await connection.execute(_LOCK_OPEN.encode(), {"customers": customers})).fetchall()
        # A case that was closed in this moment can still be opened again: its customer's alerts wait.
        waiting = {row["customer_id"] for row in locked if row["status"] == "closed"}
        case_of = {row["customer_id"]: row for row in locked if row["customer_id"] not in waiting}
        missing = [
            customer
            for customer in sorted({alert["customer_id"] for alert in found if not alert["is_known"]})
            if customer not in case_of and customer not in waiting
        ]
        sla = timedelta(minutes=self._settings.case_sla_minutes)
        opened = await (await connection.execute(_OPEN.encode(), {"customers": missing, "sla": sla})).fetchall()
        case_of |= {row["customer_id"]: row for row in opened}
        # A known alert that changed stays in its case, which may be closed by now.
        alerts = [alert for alert in found if alert["is_known"] or alert["customer_id"] in case_of]
        await self._add(connection, alerts, case_of, {row["case_id"] for row in opened})
        return len(alerts)

    async def _add(
        self,
        connection: Connection,
        alerts: Sequence[Mapping[str, Any]],
        case_of: Mapping[str, Mapping[str, Any]],
        opened: set[int],
    ) -> None:
        columns: dict[str, list[Any]] = {
            name: [alert[name] for alert in alerts]
            for name in (
                "alert_id", "event_time_ms", "customer_id", "transaction_id", "amount_minor", "currency", "score",
                "fraud_probability",
            )
        }  # fmt: skip
        # A known alert without an open case gets any case id: the conflict keeps its own.
        columns["case_id"] = [case_of.get(alert["customer_id"], {"case_id": 0})["case_id"] for alert in alerts]
        columns["expected_loss"] = [expected_loss(alert) for alert in alerts]
        cursor = await connection.execute(_JOIN.encode(), columns)
        changed = sorted({row["case_id"] for row in await cursor.fetchall()})
        settings = self._settings
        cursor = await connection.execute(
            _SUM_UP.encode(),
            {
                "cases": changed,
                "urgent": settings.case_urgent_from,
                "urgent_sla": timedelta(minutes=settings.case_urgent_sla_minutes),
            },
        )
        after = {row["case_id"]: row for row in await cursor.fetchall()}
        before = {row["case_id"]: row for row in case_of.values() if row["case_id"] not in opened}
        joined = [
            (case_id, "opened" if case_id in opened else "alerts_joined", _shown(before.get(case_id)), _shown(row))
            for case_id, row in sorted(after.items())
        ]
        cursor = await connection.execute(
            _EVENTS.encode(),
            {
                "cases": [item[0] for item in joined],
                "actors": [SYSTEM.actor] * len(joined),
                "actions": [item[1] for item in joined],
                "before": [item[2] for item in joined],
                "after": [item[3] for item in joined],
            },
        )
        await add_webhooks(connection, [row["event_id"] for row in await cursor.fetchall()])


def expected_loss(alert: Mapping[str, Any]) -> float:
    """Return the expected loss in main currency units; amounts of different currencies are not converted.

    It is that of the alert, amount times probability of fraud; without one, it is amount times score.
    """
    if alert["currency"] not in MINOR_UNITS:  # of a newer release
        return 0.0
    loss_minor = alert.get("expected_loss_minor")
    if loss_minor is not None:
        return float(major_amount(loss_minor, alert["currency"]))
    return float(major_amount(alert["amount_minor"], alert["currency"]) * alert["score"])


def _shown(row: Mapping[str, Any] | None) -> Jsonb | None:
    if row is None:
        return None
    names = ("status", "priority", "alert_count", "due_at")
    return Jsonb(store.plain({name: row[name] for name in names if name in row}))
