"""The documents of actions on accounts, for routes and pages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from api.cases.documents import Line
from flink_jobs.core.accounts.document import AccountAction, ActionScope
from flink_jobs.core.accounts.standing import MAX_DAYS
from flink_jobs.core.parsing.purchase_ids import MAX_CARD_CHARS
from flink_jobs.core.parsing.transactions import MAX_MERCHANT_CHARS
from flink_jobs.core.rules import RULE_BY_ID
from flink_jobs.core.texts import has_no_control


def _merchant(text: str) -> str:
    if not has_no_control(text) or text.isspace():
        message = "must not be blank or have control characters"
        raise ValueError(message)
    return text


def _rule(text: str) -> str:
    if text not in RULE_BY_ID:
        message = f"must be one of {', '.join(RULE_BY_ID)}"
        raise ValueError(message)
    return text


Merchant = Annotated[str, Field(min_length=1, max_length=MAX_MERCHANT_CHARS), AfterValidator(_merchant)]
Card = Annotated[str, Field(min_length=1, max_length=MAX_CARD_CHARS), AfterValidator(_merchant)]
RuleId = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_rule)]


class ActionRequest(BaseModel):
    """An action on the account of a case's customer."""

    model_config = ConfigDict(extra="forbid")

    action: AccountAction
    reason: Line
    merchant: Merchant | None = Field(default=None, description="only transactions with this merchant; default: all")
    card: Card | None = Field(default=None, description="only transactions with this card; default: all")
    rule: RuleId | None = Field(default=None, description="with suppress, and with a clear of one rule")
    days: float | None = Field(default=None, ge=0.001, le=MAX_DAYS, description="length in days; not with expires_at")
    expires_at: AwareDatetime | None = Field(default=None, description="end, by the event time of transactions")

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        has_end = (self.days is not None, self.expires_at is not None)
        if self.action is AccountAction.CLEAR and any(has_end):
            raise ValueError("clear has no end")
        if self.action is not AccountAction.CLEAR and sum(has_end) != 1:
            raise ValueError("give days or expires_at")
        if self.action is AccountAction.SUPPRESS and self.rule is None:
            raise ValueError("suppress needs a rule")
        if self.rule is not None and self.action not in {AccountAction.SUPPRESS, AccountAction.CLEAR}:
            raise ValueError("rule is possible with suppress and clear only")
        if self.merchant is not None and self.card is not None:
            raise ValueError("give merchant or card, not both")
        return self

    @property
    def scope(self) -> ActionScope:
        """The transactions that the action concerns."""
        if self.card is not None:
            return ActionScope.CARD
        return ActionScope.CUSTOMER if self.merchant is None else ActionScope.MERCHANT


class TakenAction(BaseModel):
    """One action on an account."""

    action_id: str
    action: AccountAction
    scope: ActionScope
    merchant: str | None
    card: str | None
    rule: str | None
    issued_at: datetime
    expires_at: datetime | None
    reason: str
    case_id: str | None
    actor: str
    is_in_force: bool = Field(description="not expired, replaced or ended by a clear")
    is_sent: bool = Field(description="false while the relay has not sent it to the detector")


class Account(BaseModel):
    """The account of a case's customer."""

    risk: str = Field(description="blocked, watch or none: by actions on the whole customer")
    since: datetime | None
    until: datetime | None
    why: str | None
    actions: list[TakenAction] = Field(description="the newest 100, newest first")
