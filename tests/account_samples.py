"""Actions on accounts, for tests."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import orjson
from hypothesis import strategies as st

from flink_jobs.core.accounts.action import UserAction
from flink_jobs.core.accounts.document import AccountAction, ActionScope
from flink_jobs.core.accounts.standing import DAY_MS
from flink_jobs.core.parsing.source_record import SourceRecord, WholePayload
from flink_jobs.core.rules import RULE_BY_ID
from tests.strategies import NOW_MS

ACTIONS_TOPIC = "streamflow.user-actions"


def action(kind: str = "block", customer: str = "c-1", **fields: Any) -> UserAction:  # noqa: ANN401 - any field
    """Return an action that was issued an hour ago and ends in ten days."""
    is_clear = kind == "clear"
    defaults: dict[str, Any] = {
        "customer_id": customer,
        "action": AccountAction(kind),
        "scope": ActionScope.CARD
        if fields.get("card")
        else ActionScope.MERCHANT
        if fields.get("merchant")
        else ActionScope.CUSTOMER,
        "merchant": None,
        "rule": None,
        "issued_at_ms": NOW_MS - 3_600_000,
        "expires_at_ms": None if is_clear else NOW_MS + 10 * DAY_MS,
        "reason": "a test",
        "case_id": None,
        "actor": "tester",
    }
    return UserAction(**{**defaults, **fields})


def action_record(
    payload: UserAction | bytes | None, key: str | None = None, offset: int = 0, length: int | None = None
) -> SourceRecord:
    """Return a record of the actions topic; `length` is that of the whole payload, of which this is the beginning."""
    if isinstance(payload, UserAction):
        key = payload.customer_id if key is None else key
        payload = orjson.dumps(payload.document())
    value = payload or b""
    whole = WholePayload(len(value) if length is None else length, sha256(value).hexdigest(), is_action=True)
    key = f"unroutable-{offset}" if key is None else key
    return SourceRecord(payload, 1, offset, "2025-12-31 23:59:59.880", "", key, ACTIONS_TOPIC, whole)


@st.composite
def actions(draw: st.DrawFn, customer: str = "c-1") -> UserAction:
    """Draw an action on one customer, so that actions often meet in kind, merchant, card, rule or time."""
    kind = draw(st.sampled_from(AccountAction))
    # A card and a merchant of the same name are two subjects.
    subject = draw(
        st.sampled_from([{}, {}, {"merchant": "m-1"}, {"merchant": "m-2"}, {"card": "m-1"}, {"card": "tok"}])
    )
    issued = NOW_MS - draw(st.integers(0, 5)) * 3_600_000
    rules = st.sampled_from(sorted(RULE_BY_ID))
    rule = draw(rules) if kind is AccountAction.SUPPRESS else None
    if kind is AccountAction.CLEAR:
        rule = draw(st.none() | rules)
    ends = None if kind is AccountAction.CLEAR else issued + draw(st.integers(1, 12)) * 3_600_000
    who = draw(st.sampled_from(["ann", "bob"]))
    return action(kind.value, customer, **subject, rule=rule, issued_at_ms=issued, expires_at_ms=ends, actor=who)
