"""Actions on accounts (contract ``user-actions`` v1 and v2), and the check of bytes that should be one.

Payment systems write to ``.user-actions`` too, and an action changes what happens to a customer's payments: every field
is checked against the contract.
"""

import re
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

from flink_jobs.core.accounts.document import AccountAction, ActionScope, UserActionDocument
from flink_jobs.core.accounts.standing import DAY_MS, MAX_DAYS, Entry, Kind, card_fingerprint, fingerprint
from flink_jobs.core.parsing.contract_object import contract_object
from flink_jobs.core.parsing.purchase_ids import MAX_CARD_CHARS, card_token
from flink_jobs.core.parsing.transactions import MAX_CLOCK_SKEW_MS, MAX_MERCHANT_CHARS, MIN_EVENT_TIME_MS
from flink_jobs.core.rules import RULE_BY_ID
from flink_jobs.core.texts import composed_within, has_no_control

ACTION_SCHEMA_VERSION: Final = 1
ACTION_WITH_CARD: Final = 2
"""Schema version of an action with scope ``card``; every other action is written in version 1."""
_LIMITS: Final = {
    "customer_id": 64, "merchant": MAX_MERCHANT_CHARS, "reason": 1_000, "case_id": 64, "actor": 256,
    "card": MAX_CARD_CHARS,
}  # fmt: skip
_OPTIONAL: Final = {"merchant", "case_id", "card"}
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
    card: str | None = None

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
        if self.scope not in list(ActionScope):
            raise ValueError(f"scope must be one of {', '.join(ActionScope)}")
        if (self.scope == ActionScope.MERCHANT) != (self.merchant is not None):
            raise ValueError("merchant must be set with scope merchant, and only then")
        if (self.scope == ActionScope.CARD) != (self.card is not None):
            raise ValueError("card must be set with scope card, and only then")
        if self.card is not None and card_token(self.card) != self.card:
            raise ValueError("card is a card number in the clear; give its token, or **** and its last four digits")
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
        parts: tuple[str, ...] = (
            self.customer_id, self.action, self.scope, self.merchant or "", self.rule or "", str(self.issued_at_ms),
            str(self.expires_at_ms or ""), self.actor, self.case_id or "",
        )  # fmt: skip
        if self.card is not None:  # the ids of other actions stay as they are
            parts = (*parts, self.card)
        return "ac_" + blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()

    def is_future(self, now_ms: int) -> bool:
        """Return whether the action was issued more than a day after ``now_ms``, the clock: an impossible time."""
        return self.issued_at_ms > now_ms + MAX_CLOCK_SKEW_MS

    def entry(self) -> Entry:
        """Return the action as a customer's state holds it."""
        subject, ends = 0, self.expires_at_ms
        if self.merchant is not None:
            subject = fingerprint(composed_within(self.merchant, MAX_MERCHANT_CHARS))
        elif self.card is not None:
            subject = card_fingerprint(composed_within(self.card, MAX_CARD_CHARS))
        return Entry(
            Kind[self.action.upper()],
            subject,
            0 if self.rule is None else fingerprint(self.rule),
            self.issued_at_ms,
            # A clear is kept while an older action can be in force.
            self.issued_at_ms + MAX_DAYS * DAY_MS if ends is None else ends,
            bytes.fromhex(self.id[3:]),
        )

    def document(self) -> UserActionDocument:
        """Return the message for the topic."""
        document: UserActionDocument = {
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
        if self.card is not None:
            document["schema_version"] = ACTION_WITH_CARD
            document["card"] = self.card
        return document


def parse_action(payload: bytes | None, now_ms: int) -> UserAction | str:
    """Return the action in some bytes, or why they are not a valid action; the text never quotes a value.

    Args:
        payload: the bytes.
        now_ms: the caller's clock, ms since the epoch: an action of the future would be the newest one until then.
    """
    document = contract_object(payload, ACTION_SCHEMA_VERSION, ACTION_WITH_CARD)
    if isinstance(document, str):
        return document
    has_card = document["schema_version"] == ACTION_WITH_CARD
    known = (*_FIELDS, "card") if has_card else _FIELDS
    unknown = document.keys() - {*known, "schema_version", "action_id"}
    missing = [name for name in (*known, "action_id") if name not in document]
    if unknown or missing:
        return f"fields are missing: {', '.join(missing)}" if missing else f"{len(unknown)} fields are unknown"
    action_id = document["action_id"]
    if type(action_id) is not str or not _ID.fullmatch(action_id):
        return "action_id must be ac_ and 32 hexadecimal digits in small letters"
    try:
        fields: Any = {name: document[name] for name in known}
        action = UserAction(**fields, given_id=action_id)
        action = replace(action, action=AccountAction(action.action), scope=ActionScope(action.scope))
    except (ValueError, TypeError) as problem:
        return str(problem) if isinstance(problem, ValueError) else "a field has the wrong type"
    if has_card != (action.scope is ActionScope.CARD):
        return f"schema_version must be {ACTION_WITH_CARD} with scope card, and only then"
    return FUTURE if action.is_future(now_ms) else action
