"""Reads stored decisions from the archive's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from api.database import Database
from api.documents import Decision, Reason
from api.policy import action_of, in_words
from api.settings import ApiSettings
from flink_jobs.core.transaction import Transaction

MOST_HISTORY: Final = 200
_COLUMNS: Final = """
    d.transaction_id, d.customer_id, d.event_time_ms, d.processing_time_ms, d.amount_minor, d.currency, d.merchant,
    d.category, d.channel, d.country, d.score, d.rule_score, d.ml_score, d.threshold, d.is_alert, d.features, d.absent,
    d.reasons, d.model, d.model_version, d.variant, d.ruleset_version, d.config_revision, d.out_of_order_ms,
    d.fraud_probability, d.expected_loss_minor, d.terminal, d.device, d.card, d.ip
"""
_ONE: Final = f"""
    SELECT {_COLUMNS}, a.contributions FROM raw.decisions d
    LEFT JOIN raw.alerts a USING (customer_id, transaction_id, event_time_ms)
    WHERE d.customer_id = %(customer)s AND d.transaction_id = %(transaction)s
    ORDER BY d.processing_time_ms DESC LIMIT 1
"""  # noqa: S608 - constant column names
_LIST: Final = f"""
    SELECT {_COLUMNS}, a.contributions FROM raw.decisions d
    LEFT JOIN raw.alerts a USING (customer_id, transaction_id, event_time_ms)
    WHERE d.customer_id = %(customer)s
        AND (%(ms)s::bigint IS NULL OR (d.event_time_ms, d.transaction_id) < (%(ms)s, %(id)s))
    ORDER BY d.event_time_ms DESC, d.transaction_id DESC LIMIT %(limit)s
"""  # noqa: S608 - constant column names
_HISTORY: Final = """
    SELECT transaction_id, customer_id, amount_minor, currency, event_time_ms, merchant, category, channel, country,
        terminal, device, card, ip
    FROM raw.decisions WHERE customer_id = %(customer)s AND transaction_id <> %(transaction)s
        AND event_time_ms <= %(until_ms)s
    ORDER BY event_time_ms DESC LIMIT %(limit)s
"""
_CASE: Final = f"""
    SELECT {_COLUMNS}, a.contributions FROM (
        SELECT customer_id, transaction_id, event_time_ms FROM cases.alerts WHERE case_id = %(case)s
        ORDER BY event_time_ms DESC, alert_id LIMIT %(limit)s) AS c
    JOIN raw.decisions d USING (customer_id, transaction_id, event_time_ms)
    LEFT JOIN raw.alerts a USING (customer_id, transaction_id, event_time_ms)
"""  # noqa: S608 - constant column names
_SENT: Final = """
    SELECT customer_id, answer FROM api.answers
    WHERE transaction_id = %(transaction)s AND (%(customer)s::text IS NULL OR customer_id = %(customer)s)
    ORDER BY answered_at LIMIT 2
"""


class Place(NamedTuple):
    """A place in the list of a customer's decisions: that of the last decision of a page."""

    event_time_ms: int
    transaction_id: str


class Sent(NamedTuple):
    """A transaction that was sent through the API, with its first answer."""

    customer_id: str
    answer: dict[str, Any]


class Decisions:
    """Stored decisions and first answers."""

    def __init__(self, database: Database, settings: ApiSettings) -> None:
        """Use a database."""
        self._database = database
        self._settings = settings

    async def sent(self, transaction: str, customer: str | None) -> list[Sent]:
        """Return up to two transactions with this id that were sent through the API."""
        rows = await self._database.rows(_SENT, {"transaction": transaction, "customer": customer})
        return [Sent(row["customer_id"], row["answer"]) for row in rows]

    async def of_case(self, case_id: int, limit: int) -> dict[tuple[str, int], Decision]:
        """Return the decisions of the newest alerts of a case, by transaction id and event time."""
        rows = await self._database.rows(_CASE, {"case": case_id, "limit": limit})
        return {(row["transaction_id"], row["event_time_ms"]): self._decision(row) for row in rows}

    async def one(self, customer: str, transaction: str, limit_s: float = float("inf")) -> Decision | None:
        """Return the newest decision on a transaction, ``None`` if there is none; wait at most ``limit_s``."""
        rows = await self._database.rows(_ONE, {"customer": customer, "transaction": transaction}, limit_s)
        return self._decision(rows[0]) if rows else None

    async def page(self, customer: str, after: Place | None, limit: int) -> list[Decision]:
        """Return the decisions of a customer after a place in the list, newest event first."""
        ms, last = (None, "") if after is None else after
        rows = await self._database.rows(_LIST, {"customer": customer, "ms": ms, "id": last, "limit": limit})
        return [self._decision(row) for row in rows]

    async def history(self, transaction: Transaction) -> list[Transaction]:
        """Return the customer's stored transactions up to a transaction's time, oldest first, without locations."""
        rows = await self._database.rows(
            _HISTORY,
            {
                "customer": transaction.customer_id,
                "transaction": transaction.transaction_id,
                "until_ms": transaction.event_time_ms,
                "limit": MOST_HISTORY,
            },
        )
        return [Transaction(**row) for row in reversed(rows)]

    def _decision(self, row: Mapping[str, Any]) -> Decision:
        codes = {reason["code"] for reason in row["reasons"]}
        action = action_of(
            row["score"],
            is_alert=row["is_alert"],
            settings=self._settings,
            codes=codes,
            probability=row.get("fraud_probability"),
        )
        return Decision.model_validate({**row, "action": action, "reasons": reasons_of(row["reasons"])})


def reasons_of(reasons: Sequence[Mapping[str, Any]]) -> list[Reason]:
    """Return the reasons of a decision in words."""
    return [
        Reason(code=item["code"], text=in_words(item["code"]), contribution=item["contribution"]) for item in reasons
    ]
