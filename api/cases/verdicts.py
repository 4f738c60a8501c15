"""From a verdict to labels, and to the rows of the outbox that hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import orjson

from api.cases.documents import Verdict, VerdictRequest
from api.database import Connection
from api.errors import ApiError
from flink_jobs.core.documents import Finding
from flink_jobs.core.label import Label, time_of_known

SOURCE: Final = "analyst"
MOST_LABELS: Final = 5_000
_TRANSACTIONS: Final = """
    SELECT DISTINCT ON (a.transaction_id, a.customer_id)
        a.customer_id, a.transaction_id, r.merchant, a.event_time_ms, d.terminal, d.device, d.card
    FROM cases.alerts AS a
    LEFT JOIN raw.alerts AS r ON r.alert_id = a.alert_id AND r.event_time_ms = a.event_time_ms
    LEFT JOIN raw.decisions AS d
        ON d.customer_id = a.customer_id AND d.transaction_id = a.transaction_id AND d.event_time_ms = a.event_time_ms
    WHERE a.case_id = %(case)s
    ORDER BY a.transaction_id, a.customer_id, a.event_time_ms DESC LIMIT %(limit)s
"""
_ADD: Final = """
    INSERT INTO cases.outbox (outbox_id, kind, case_id, payload, not_before)
    SELECT id, 'label', %(case)s, payload::jsonb, %(not_before)s
    FROM unnest(%(ids)s::text[], %(payloads)s::text[]) AS label (id, payload)
"""
_CANCEL: Final = """
    UPDATE cases.outbox SET cancelled_at = now(), payload = payload - 'alerts'
    WHERE case_id = %(case)s AND created_at = %(created)s
        AND sent_at IS NULL AND attempts = 0 AND cancelled_at IS NULL
    RETURNING outbox_id
"""
_COUNT: Final = """
    SELECT count(*) AS messages FROM cases.outbox WHERE case_id = %(case)s AND created_at = %(created)s
"""


class Labelled(NamedTuple):
    """A transaction that a verdict labels."""

    customer_id: str
    transaction_id: str
    merchant: str | None = None
    event_time_ms: int | None = None
    terminal: str | None = None
    device: str | None = None
    card: str | None = None


async def transactions(connection: Connection, case_id: int, wanted: Sequence[str] | None) -> list[Labelled]:
    """Return the transactions that a verdict labels.

    Raises:
        ApiError: a wanted transaction is not in the case, or the case has too many (422).
    """
    cursor = await connection.execute(_TRANSACTIONS, {"case": case_id, "limit": 100_000})
    known = [Labelled(**row) for row in await cursor.fetchall()]
    if wanted is not None:
        missing = set(wanted) - {item.transaction_id for item in known}
        if missing:
            raise ApiError(422, "not_in_case", "a transaction is not in the case", "name transactions of its alerts")
        known = [item for item in known if item.transaction_id in set(wanted)]
    if len(known) > MOST_LABELS:
        raise ApiError(
            422, "too_many_labels", f"the case has more than {MOST_LABELS} transactions", "give transaction_ids"
        )
    return known


def labels_of(labelled: Sequence[Labelled], request: VerdictRequest, actor: str, at: datetime) -> list[Label]:
    """Return the labels of a verdict; ``unsure`` has none.

    A label names the merchant, terminal, device and card of its transaction, those that are known, with the event time:
    the job of merchants needs it.
    """
    if request.verdict is Verdict.UNSURE:
        return []
    finding, at_ms = Finding(request.verdict.value), int(at.timestamp() * 1_000)
    return [
        Label(
            item.transaction_id, item.customer_id, finding, SOURCE, at_ms, actor, request.reason, item.merchant,
            time_of_known(item.event_time_ms, item.merchant, item.terminal, item.device, item.card),
            item.terminal, item.device, item.card,
        )
        for item in labelled
    ]  # fmt: skip


async def add_labels(connection: Connection, row: Mapping[str, Any], labels: Sequence[Label], undo: timedelta) -> None:
    """Put labels into the outbox; the relay sends them after the time to undo."""
    if labels:
        await connection.execute(
            _ADD,
            {
                "case": row["case_id"],
                "not_before": row["now"] + undo,
                "ids": [label.id for label in labels],
                "payloads": [orjson.dumps(label.document()).decode() for label in labels],
            },
        )


async def cancel_messages(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Cancel the labels and webhooks of a case's verdict; return whether the relay had taken none of them."""
    where = {"case": row["case_id"], "created": row["verdict_at"]}
    counted = (await (await connection.execute(_COUNT, where)).fetchall())[0]["messages"]
    cancelled = await (await connection.execute(_CANCEL, where)).fetchall()
    return len(cancelled) == int(counted)
