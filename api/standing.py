"""The action on the account that applies to a transaction, read from the archive for answers without the job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from api.errors import ApiError
from flink_jobs.core.parsing.transactions import MAX_MERCHANT_CHARS
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.texts import composed_within

if TYPE_CHECKING:
    from api.database import Database
    from flink_jobs.core.transaction import Transaction

_LEADING: Final = {
    "block": ReasonCode.ACCOUNT_BLOCKED,
    "allow": ReasonCode.ACCOUNT_ALLOWED,
    "watch": ReasonCode.ACCOUNT_WATCHED,
}
"""From the strongest action to the weakest, like the detector."""
_QUERY: Final = """
    SELECT action, merchant FROM raw.standing_actions
    WHERE customer_id = %(customer)s AND expires_at_ms > %(time_ms)s AND action IN ('block', 'allow', 'watch')
"""


class StandingActions:
    """Reads the actions that no newer action replaced."""

    def __init__(self, database: Database) -> None:
        """Use a database."""
        self._database = database

    async def code_for(self, transaction: Transaction) -> ReasonCode | None:
        """Return the reason code of the leading action on a transaction.

        ``None`` without an action, and where Postgres does not answer: the customer waits, and the job decides later.
        An action that the archive has not written yet is not found.
        """
        parameters = {"customer": transaction.customer_id, "time_ms": transaction.event_time_ms}
        try:
            rows = await self._database.rows(_QUERY, parameters)
        except ApiError:
            return None
        found = {row["action"] for row in rows if _concerns(row["merchant"], transaction)}
        return next((code for action, code in _LEADING.items() if action in found), None)


def _concerns(merchant: str | None, transaction: Transaction) -> bool:
    """Return whether an action on all merchants (``None``) or on one concerns a transaction."""
    return merchant is None or composed_within(merchant, MAX_MERCHANT_CHARS) == transaction.merchant
