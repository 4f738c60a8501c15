"""Actions on accounts (contract ``user-actions`` v1), and the check of bytes that should be one.

Payment systems write to ``.user-actions`` too, and an action changes what happens to a customer's payments: every field
is checked against the contract.
"""

import re
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

from flink_jobs.core.accounts.document import AccountAction, ActionScope, UserActionDocument
from flink_jobs.core.accounts.standing import DAY_MS, MAX_DAYS, Entry, Kind, fingerprint
from flink_jobs.core.parsing.contract_object import contract_object
from flink_jobs.core.parsing.transactions import MAX_CLOCK_SKEW_MS, MAX_MERCHANT_CHARS, MIN_EVENT_TIME_MS
from flink_jobs.core.rules import RULE_BY_ID
from flink_jobs.core.texts import composed_within, has_no_control

ACTION_SCHEMA_VERSION: Final = 1
_LIMITS: Final = {"customer_id": 64, "merchant": MAX_MERCHANT_CHARS, "reason": 1_000, "case_id": 64, "actor": 256}
_OPTIONAL: Final = {"merchant", "case_id"}
_FIELDS: Final = (
    "customer_id", "action", "scope", "merchant", "rule", "issued_at_ms", "expires_at_ms", "reason", "case_id", "actor",
)  # fmt: skip
_ID: Final = re.compile(r"ac_[0-9a-f]{32}")
FUTURE: Final = "issued_at_ms is more than a day in the future"


@dataclass(frozen=True)
class UserAction:
    """An action on one customer's account.

    Raises:
        ValueError: a field is not what the contract allows.
    """

    customer_id: str
    action: AccountAction
    scope: ActionScope
    merchant: str | None
    rule: str | None
    issued_at_ms: int
    expires_at_ms: int | None
    reason: str
    case_id: str | None
    actor: str
    given_id: str | None = None
    """The id of a received action; ``None`` computes it."""

    def __post_init__(self) -> None:
        """Check every field against the contract; texts first, then what belongs together."""
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if type(value) is not str or not 0 < len(value) <= limit or not has_no_control(value) or value.isspace():
                raise ValueError(f"{name} must be 1 to {limit} characters without control characters")
        if self.action not in list(AccountAction):
            raise ValueError(f"action must be one of {', '.join(AccountAction)}")
        if self.scope == "card":
            raise ValueError("scope card is not possible: a transaction has no card field; use customer or merchant")
        if self.scope not in list(ActionScope):
            raise ValueError(f"scope must be one of {', '.join(ActionScope)}")
        if (self.scope == ActionScope.MERCHANT) != (self.merchant is not None):
            raise ValueError("merchant must be set with scope merchant, and only then")
        self._check_rule()
        self._check_times()

    def _check_rule(self) -> None:
        if self.action == AccountAction.SUPPRESS and self.rule is None:
            raise ValueError("suppress needs a rule")
        if self.rule is not None and self.action not in {AccountAction.SUPPRESS, AccountAction.CLEAR}:
            raise ValueError("rule is possible with suppress and clear only")
        if self.rule is not None and (type(self.rule) is not str or self.rule not in RULE_BY_ID):
            raise ValueError(f"rule must be one of {', '.join(RULE_BY_ID)}")

    def _check_times(self) -> None:
        issued, ends = self.issued_at_ms, self.expires_at_ms
        if type(issued) is not int or issued < MIN_EVENT_TIME_MS:
            raise ValueError("issued_at_ms must be milliseconds since the epoch, from 2000-01-01 on")
        if self.action == AccountAction.CLEAR:
            if ends is not None:
                raise ValueError("clear has no expires_at_ms")
        elif type(ends) is not int or not issued < ends <= issued + MAX_DAYS * DAY_MS:
            raise ValueError(f"expires_at_ms must be after issued_at_ms and at most {MAX_DAYS} days later")

    @property
    def id(self) -> str:
        """Id of the action; the same action always has the same id."""
        if self.given_id is not None:
            return self.given_id
        parts = (
            self.customer_id, self.action, self.scope, self.merchant or "", self.rule or "", str(self.issued_at_ms),
            str(self.expires_at_ms or ""), self.actor, self.case_id or "",
        )  # fmt: skip
        return "ac_" + blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()

    def is_future(self, now_ms: int) -> bool:
        """Return whether the action was issued more than a day after ``now_ms``, the clock: an impossible time."""
        return self.issued_at_ms > now_ms + MAX_CLOCK_SKEW_MS

    def entry(self) -> Entry:
        """Return the action as a customer's state holds it."""
        merchant = self.merchant
        ends = self.expires_at_ms
        return Entry(
            Kind[self.action.upper()],
            0 if merchant is None else fingerprint(composed_within(merchant, MAX_MERCHANT_CHARS)),
            0 if self.rule is None else fingerprint(self.rule),
            self.issued_at_ms,
            # A clear is kept while an older action can be in force.
            self.issued_at_ms + MAX_DAYS * DAY_MS if ends is None else ends,
            bytes.fromhex(self.id[3:]),
        )

    def document(self) -> UserActionDocument:
        """Return the message for the topic."""
        return {
            "schema_version": ACTION_SCHEMA_VERSION,
            "action_id": self.id,
            "customer_id": self.customer_id,
            "action": self.action,
            "scope": self.scope,
            "merchant": self.merchant,
            "rule": self.rule,
            "issued_at_ms": self.issued_at_ms,
            "expires_at_ms": self.expires_at_ms,
            "reason": self.reason,
            "case_id": self.case_id,
            "actor": self.actor,
        }


def parse_action(payload: bytes | None, now_ms: int) -> UserAction | str:
    """Return the action in some bytes, or why they are not a valid action; the text never quotes a value.

    Args:
        payload: the bytes.
        now_ms: the caller's clock, ms since the epoch: an action of the future would be the newest one until then.
    """
    document = contract_object(payload, ACTION_SCHEMA_VERSION)
    if isinstance(document, str):
        return document
    unknown = document.keys() - {*_FIELDS, "schema_version", "action_id"}
    missing = [name for name in (*_FIELDS, "action_id") if name not in document]
    if unknown or missing:
        return f"fields are missing: {', '.join(missing)}" if missing else f"{len(unknown)} fields are unknown"
    action_id = document["action_id"]
    if type(action_id) is not str or not _ID.fullmatch(action_id):
        return "action_id must be ac_ and 32 hexadecimal digits in small letters"
    try:
        fields: Any = {name: document[name] for name in _FIELDS}
        action = UserAction(**fields, given_id=action_id)
        action = replace(action, action=AccountAction(action.action), scope=ActionScope(action.scope))
    except (ValueError, TypeError) as problem:
        return str(problem) if isinstance(problem, ValueError) else "a field has the wrong type"
    return FUTURE if action.is_future(now_ms) else action
