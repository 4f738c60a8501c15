"""Actions on the account of a case's customer: role check, event, outbox and audit in one transaction.

The relay sends an action to the topic ``user-actions`` at once, at least once, with the same id. There is no time to
undo: a block must not wait, and a ``clear`` ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from api.cases import store
from api.cases.account_documents import Account, ActionRequest, TakenAction
from api.cases.service import NOT_FOUND
from api.cases.viewer import Viewer, masked
from api.database import Connection, Database
from api.errors import ApiError
from api.reads import Read, add_read
from api.standing import COLUMNS, stored_action
from flink_jobs.core.accounts.action import UserAction
from flink_jobs.core.accounts.document import AccountAction
from flink_jobs.core.accounts.standing import RISKS, AccountActions
from flink_jobs.core.parsing.purchase_ids import card_token

MOST_ACTIONS: Final = 100
_NOT_LOGGED: Final = frozenset({"customer_id", "card", "schema_version"})
"""Fields that the log of a case leaves out; customer and card may be masked for its readers."""
_ADD: Final = """
    INSERT INTO cases.outbox (outbox_id, kind, case_id, payload, not_before)
    VALUES (%(id)s, 'action', %(case)s, %(payload)s::jsonb, now()) ON CONFLICT (outbox_id) DO NOTHING
"""
_ACTIONS: Final = f"""
    SELECT {COLUMNS}, true AS is_sent
    FROM raw.user_actions WHERE customer_id = %(customer)s
    UNION ALL
    SELECT o.outbox_id, o.payload ->> 'action', o.payload ->> 'scope', o.payload ->> 'merchant', o.payload ->> 'rule',
        (o.payload ->> 'issued_at_ms')::bigint, (o.payload ->> 'expires_at_ms')::bigint, o.payload ->> 'reason',
        o.payload ->> 'case_id', o.payload ->> 'actor', o.payload ->> 'card', o.sent_at IS NOT NULL
    FROM cases.outbox o
    WHERE o.case_id IN (SELECT c.case_id FROM cases.cases c WHERE c.customer_id = %(customer)s) AND o.kind = 'action'
        AND NOT EXISTS (SELECT FROM raw.user_actions a WHERE a.action_id = o.outbox_id)
    ORDER BY issued_at_ms DESC, action_id DESC
"""  # noqa: S608 - constant column names


class Accounts:
    """The accounts of the customers of cases. A case of another team does not exist (404)."""

    def __init__(self, database: Database) -> None:
        """Use a database."""
        self._database = database

    async def act(self, viewer: Viewer, case_id: int, request: ActionRequest, *, may_only_watch: bool) -> Account:
        """Take an action on the customer of a case; return the account with it.

        Raises:
            ApiError: the viewer may only watch (403), the action is not valid (422), or there is no such case (404).
        """
        if may_only_watch and request.action is not AccountAction.WATCH:
            raise ApiError(
                403, "not_allowed", "you may watch an account, nothing else", "ask a senior analyst for this action"
            )
        async with self._database.connection() as connection, connection.transaction():
            row = await _visible(connection, viewer, case_id)
            action = _action(request, row, viewer, case_id)
            values = {"id": action.id, "case": case_id, "payload": orjson.dumps(action.document()).decode()}
            await connection.execute(_ADD, values)
            after = {name: value for name, value in action.document().items() if name not in _NOT_LOGGED}
            await store.add_event(connection, viewer, case_id, f"account_{action.action}", None, after)
            detail = f"{case_id} {action.id}"
            audit = Read(viewer.actor, f"cases.account.{action.action}", row["customer_id"], viewer.request_id, detail)
            account = await _account(connection, viewer, row)
            await add_read(connection, audit)
        return account

    async def of_case(self, viewer: Viewer, case_id: int) -> Account:
        """Return the account of the customer of a case."""
        async with self._database.connection() as connection, connection.transaction():
            row = await _visible(connection, viewer, case_id)
            account = await _account(connection, viewer, row)
            read = Read(viewer.actor, "cases.account", row["customer_id"], viewer.request_id, str(case_id))
            await add_read(connection, read)
        return account


async def _visible(connection: Connection, viewer: Viewer, case_id: int) -> Mapping[str, Any]:
    row = await store.one(connection, viewer, case_id)
    if row is None:
        raise NOT_FOUND
    return row


def _action(request: ActionRequest, row: Mapping[str, Any], viewer: Viewer, case_id: int) -> UserAction:
    now: datetime = row["now"]
    end = request.expires_at if request.days is None else now + timedelta(days=request.days)
    try:
        return UserAction(
            row["customer_id"],
            request.action,
            request.scope,
            request.merchant,
            request.rule,
            _ms(now),
            None if end is None else _ms(end),
            request.reason,
            str(case_id),
            viewer.actor,
            card=card_token(request.card),
        )
    except ValueError as error:
        raise ApiError(422, "invalid_request", str(error), "correct the action; nothing was sent") from None


async def _account(connection: Connection, viewer: Viewer, case: Mapping[str, Any]) -> Account:
    """Return the account of a case's customer by the detector's own rules, with the actions still in the outbox."""
    customer_id = case["customer_id"]
    rows = await (await connection.execute(_ACTIONS, {"customer": customer_id})).fetchall()
    actions, now_ms = AccountActions(), _ms(case["now"])
    by_id = {row["action_id"]: row for row in rows}
    for row in rows:
        actions, _ = actions.with_action(stored_action(customer_id, row).entry(), now_ms)
    deciding = actions.deciding(now_ms)
    cause = None if deciding is None else by_id[deciding.action_id]
    in_force = {entry.action_id for entry in actions.in_force(now_ms)}
    return Account(
        risk="none" if deciding is None else RISKS[deciding.kind],
        since=None if cause is None else _time(cause["issued_at_ms"]),
        until=None if cause is None else _time(cause["expires_at_ms"]),
        why=None if cause is None else cause["reason"],
        actions=[
            TakenAction(
                **{name: value for name, value in row.items() if name != "card" and not name.endswith("_ms")},
                card=row["card"] if row["card"] is None or viewer.shows_customer(case) else masked(row["card"]),
                issued_at=_time(row["issued_at_ms"]),
                expires_at=_time(row["expires_at_ms"]),
                is_in_force=row["action_id"] in in_force,
            )
            for row in rows[:MOST_ACTIONS]
        ],
    )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)


def _time(ms: int | None) -> Any:  # noqa: ANN401 - pydantic makes a datetime of it
    return None if ms is None else ms / 1_000
