"""Actions on accounts as Postgres holds them, for answers without the job."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from api.database import LOOK_UP_S
from api.errors import ApiError
from flink_jobs.core.accounts.action import UserAction
from flink_jobs.core.accounts.document import AccountAction, ActionScope
from flink_jobs.core.accounts.effects import CODES
from flink_jobs.core.accounts.standing import AccountActions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from api.database import Database
    from flink_jobs.core.reasons import ReasonCode
    from flink_jobs.core.transaction import Transaction

COLUMNS: Final = "action_id, action, scope, merchant, rule, issued_at_ms, expires_at_ms, reason, case_id, actor, card"
_QUERY: Final = f"SELECT {COLUMNS} FROM raw.user_actions WHERE customer_id = %(customer)s"  # noqa: S608 - constant names


def stored_action(customer_id: str, row: Mapping[str, Any]) -> UserAction:
    """Return an action from its row, with the fields in ``COLUMNS``."""
    return UserAction(
        customer_id,
        AccountAction(row["action"]),
        ActionScope(row["scope"]),
        row["merchant"],
        row["rule"],
        row["issued_at_ms"],
        row["expires_at_ms"],
        row["reason"],
        row["case_id"],
        row["actor"],
        row["action_id"],
        row["card"],
    )


class StandingActions:
    """Reads the actions that apply to a transaction, by the detector's own rules."""

    def __init__(self, database: Database) -> None:
        """Use a database."""
        self._database = database

    async def code_for(self, transaction: Transaction) -> ReasonCode | None:
        """Return the reason code of the leading action on a transaction.

        ``None`` without an action, and where Postgres does not answer within ``LOOK_UP_S``: the job decides later.
        An action that the archive has not written yet is not found.
        """
        try:
            rows = await self._database.rows(_QUERY, {"customer": transaction.customer_id}, LOOK_UP_S)
        except ApiError:
            return None
        account, now_ms = AccountActions(), time.time_ns() // 1_000_000
        for row in rows:
            account, _ = account.with_action(stored_action(transaction.customer_id, row).entry(), now_ms)
        standing = account.at(transaction)
        return None if standing is None or standing.leading is None else CODES[standing.leading.kind]
