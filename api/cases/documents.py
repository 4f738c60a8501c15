"""The documents of cases, for routes and pages."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from api.cases.card_numbers import has_card_number
from api.documents import Decision
from flink_jobs.core.texts import has_no_control

LONGEST_REASON = 1_000
LONGEST_NOTE = 10_000


class Status(StrEnum):
    """Where a case is."""

    OPEN = "open"
    """In the queue of its team."""
    CLAIMED = "claimed"
    """An analyst works on it."""
    SNOOZED = "snoozed"
    """Out of the queue until a time, or until the next alert."""
    CLOSED = "closed"


class Verdict(StrEnum):
    """What an analyst found out about the transactions of a case."""

    FRAUD = "fraud"
    GENUINE = "genuine"
    UNSURE = "unsure"
    """Closes the case without labels."""


class Order(StrEnum):
    """The order of a list of cases."""

    PRIORITY = "priority"
    """Highest expected loss first."""
    DUE = "due"
    """Earliest due time first; without closed cases."""


def _text(text: str) -> str:
    text = text.strip()
    lines = text.replace("\r\n", "\n").replace("\n", " ").replace("\t", " ")
    if not text or not has_no_control(lines):
        message = "must not be blank or have control characters"
        raise ValueError(message)
    if has_card_number(text):
        message = "contains a card number; remove it"
        raise ValueError(message)
    return text


def _line(text: str) -> str:
    if not has_no_control(text):
        message = "must not have control characters"
        raise ValueError(message)
    return _text(text)


Note = Annotated[str, Field(min_length=1, max_length=LONGEST_NOTE), AfterValidator(_text)]
Line = Annotated[str, Field(min_length=1, max_length=LONGEST_REASON), AfterValidator(_line)]
Person = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_line)]
Team = Annotated[str, Field(pattern="^[a-z0-9-]{1,32}$")]


class Case(BaseModel):
    """One case."""

    case_id: int
    customer_id: str = Field(description="masked, unless the caller may see it")
    team: str
    status: Status
    priority: float = Field(description="expected loss of the alerts, in main currency units")
    assignee: str | None
    opened_at: datetime
    due_at: datetime
    snoozed_until: datetime | None
    closed_at: datetime | None
    alert_count: int
    last_alert_at: datetime | None
    verdict: Verdict | None
    verdict_reason: str | None
    verdict_by: str | None
    verdict_at: datetime | None
    undo_until: datetime | None = Field(description="the verdict can be undone until then")
    version: int = Field(description="send it as If-Match with a change")


class CaseAlert(BaseModel):
    """One alert of a case."""

    alert_id: str
    transaction_id: str
    event_time_ms: int
    amount_minor: int
    currency: str
    score: float
    expected_loss: float
    fraud_probability: float | None = Field(
        default=None, description="probability of fraud, of a model with a calibration; null without one"
    )
    joined_at: datetime
    label: str | None = Field(description="the valid label of the transaction, as far as it is archived")
    decision: Decision | None = Field(description="null after retention deleted it")


class CaseEvent(BaseModel):
    """One change of a case."""

    event_id: int
    happened_at: datetime
    actor: str
    action: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class CaseNote(BaseModel):
    """One note."""

    note_id: int
    written_at: datetime
    author: str
    body: str


class CaseDetail(BaseModel):
    """A case with its alerts, newest first, its events and its notes."""

    case: Case
    alerts: list[CaseAlert] = Field(description="the newest 200")
    events: list[CaseEvent] = Field(description="the newest 500, oldest first")
    notes: list[CaseNote] = Field(description="the newest 500, oldest first")


class CaseList(BaseModel):
    """One page of the queue."""

    cases: list[Case]
    next_cursor: str | None = Field(description="null on the last page")


class CaseChange(BaseModel):
    """A change of a case; fields that are absent stay as they are.

    ``assignee`` alone claims the case for a person, or returns it to the queue with null. ``status`` ``open`` ends a
    snooze or opens a closed case again; ``snoozed`` needs ``snoozed_until``.
    """

    model_config = ConfigDict(extra="forbid")

    assignee: Person | None = None
    status: Status | None = None
    snoozed_until: AwareDatetime | None = None
    team: Team | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("the change is empty")
        if self.status is Status.CLOSED:
            raise ValueError("status: a verdict closes a case")
        if (self.status is Status.SNOOZED) != (self.snoozed_until is not None):
            raise ValueError("status snoozed and snoozed_until belong together")
        if self.status is Status.CLAIMED and self.assignee is None:
            raise ValueError("status claimed needs an assignee")
        if self.status is Status.OPEN and self.assignee is not None:
            raise ValueError("a case with an assignee is claimed")
        return self


class VerdictRequest(BaseModel):
    """A verdict on the transactions of a case."""

    model_config = ConfigDict(extra="forbid")

    verdict: Verdict
    reason: Line
    transaction_ids: list[str] | None = Field(
        default=None, min_length=1, max_length=500, description="those to label; default: all of the case"
    )


class NoteRequest(BaseModel):
    """A note to add."""

    model_config = ConfigDict(extra="forbid")

    body: Note
