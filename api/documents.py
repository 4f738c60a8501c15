"""The bodies of answers: OpenAPI describes them, and FastAPI checks them before they are sent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.policy import Action


def _largest_first(shares: dict[str, float]) -> dict[str, float]:
    """Return shares in the order of their size, without a minus at 0: Postgres keeps neither in a JSON object."""
    ordered = sorted(shares.items(), key=lambda share: (-abs(share[1]), share[0]))
    return {name: share + 0.0 for name, share in ordered}


Shares = Annotated[dict[str, float], AfterValidator(_largest_first)]


class Reason(BaseModel):
    """One reason for a score."""

    code: str
    text: str = Field(description="the code in words")
    contribution: float | None = Field(default=None, description="share of the score, in score points")


class Answer(BaseModel):
    """The first answer on a transaction; the same transaction sent again gets it again."""

    transaction_id: str
    customer_id: str
    action: Action
    decided_by: Literal["job", "fallback"] = Field(
        description="job: the detector's decision; fallback: stateless policy, the job's decision follows"
    )
    score: float | None = Field(description="0 to 1; null for a fallback")
    threshold: float | None = Field(description="alert threshold of the job; null for a fallback")
    is_alert: bool | None
    fraud_probability: float | None = Field(
        default=None, description="probability of fraud, of a model with a calibration; null without one"
    )
    reasons: list[Reason] = Field(description="largest contribution first; each has its contribution for an alert")
    contributions: Shares | None = Field(
        default=None,
        description="share of each feature in the model score, for alerts; null without a model, and in answers of a "
        "release or of a detector without them",
    )
    model: Literal["ok", "degraded"] | None
    model_version: str | None
    ruleset_version: str | None
    config_revision: int | None
    request_id: str
    is_kept: bool = Field(description="false: Postgres did not answer; after a restart this answer may not be repeated")


class Decision(BaseModel):
    """A stored decision of the job."""

    model_config = ConfigDict(extra="allow")

    transaction_id: str
    customer_id: str
    event_time_ms: int
    processing_time_ms: int
    amount_minor: int
    currency: str
    score: float
    threshold: float
    is_alert: bool
    fraud_probability: float | None = Field(
        default=None, description="probability of fraud, of a model with a calibration; null without one"
    )
    expected_loss_minor: int | None = Field(
        default=None, description="amount times probability, minor units of the currency; null without a probability"
    )
    terminal: str | None = Field(default=None, description="id of the terminal; null where the transaction has none")
    device: str | None = Field(default=None, description="id of the cardholder's device; null as for terminal")
    card: str | None = Field(
        default=None, description="token of the card, or **** and the last four digits; null as for terminal"
    )
    ip: str | None = Field(default=None, description="IP address of the cardholder's device; null as for terminal")
    action: Action
    reasons: list[Reason]
    contributions: Shares | None = Field(description="share of each feature in the model score, for alerts")
    model_version: str | None
    ruleset_version: str
    config_revision: int


class DecisionStatus(BaseModel):
    """What is known about one transaction."""

    status: Literal["decided", "pending"] = Field(
        description="pending: the API sent the transaction, its decision is not in Postgres yet"
    )
    decision: Decision | None
    first_answer: dict[str, Any] | None = Field(description="answer of POST /v1/transactions, if it was sent there")


class DecisionList(BaseModel):
    """Decisions of one customer, newest event first."""

    decisions: list[Decision]
    next_cursor: str | None = Field(description="give it as `cursor` for the next page; null on the last page")


class ScoreRequest(BaseModel):
    """A transaction to score without effect, with a history or with the name of the history to use."""

    model_config = ConfigDict(extra="forbid")

    transaction: dict[str, Any] = Field(description="contract `transactions` v1")
    history: list[dict[str, Any]] | None = Field(
        default=None, max_length=500, description="earlier transactions of the customer, in order of arrival"
    )
    stored_history: bool = Field(
        default=False, description="use the customer's stored decisions (at most 200, without locations) as history"
    )


class ScoreAnswer(BaseModel):
    """A score without effect."""

    action: Action
    decision: dict[str, Any] = Field(description="contract `decisions`; its source is not a real record")
    reasons: list[Reason]
    contributions: Shares | None
    history_transactions: int = Field(description="transactions of the history that were used")
    history_source: Literal["given", "stored", "none"]
    model_problem: str | None = Field(
        default=None,
        description="why the champion gave no score, such as feature_mismatch, histories_not_read or "
        "histories_not_current; rules scored alone",
    )


class Health(BaseModel):
    """State of the API and of the parts it needs."""

    status: Literal["ok", "degraded", "unavailable"]
    postgres: bool | None = None
    replies: bool | None = Field(default=None, description="the job's replies are read")
    histories: bool | None = Field(
        default=None, description="the histories of STREAMFLOW_RISK_ENTITIES are read; absent where it is not set"
    )
