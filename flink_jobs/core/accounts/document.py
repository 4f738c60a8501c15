"""The JSON document of an action on an account, as a type; ``documents`` has the rules for readers."""

from enum import StrEnum
from typing import Literal, NotRequired, TypedDict


class AccountAction(StrEnum):
    """What an action does."""

    BLOCK = "block"
    """The customer's transactions are to be declined."""
    ALLOW = "allow"
    """The customer's transactions raise no alert; their scores stay."""
    WATCH = "watch"
    """The customer's transactions are to be reviewed at least."""
    SUPPRESS = "suppress"
    """One rule does not apply to the customer."""
    CLEAR = "clear"
    """Ends earlier actions."""


class ActionScope(StrEnum):
    """Which transactions of the customer an action concerns."""

    CUSTOMER = "customer"
    """All of them."""
    MERCHANT = "merchant"
    """Those with one merchant."""
    CARD = "card"
    """Those with one card of the customer (version 2)."""


class UserActionDocument(TypedDict):
    """An action on an account (contract ``user-actions`` v2)."""

    schema_version: Literal[1, 2]
    """2 exactly with scope ``card``: any other action is that of version 1."""
    action_id: str
    customer_id: str
    action: AccountAction
    scope: ActionScope
    merchant: str | None
    """Set exactly with scope ``merchant``."""
    rule: str | None
    """Id of a rule; set with ``suppress``, and with a ``clear`` that ends only the suppression of this rule."""
    issued_at_ms: int
    expires_at_ms: int | None
    """``None`` exactly for ``clear``, which needs no end."""
    reason: str
    case_id: str | None
    actor: str
    """Person or system responsible for the action."""
    card: NotRequired[str]
    """Token of the card; set exactly with scope ``card``."""


class AppliedActionDocument(TypedDict):
    """An action on the account that applied to a decision."""

    action_id: str
    action: AccountAction
    scope: ActionScope
    rule: str | None
    expires_at_ms: int
