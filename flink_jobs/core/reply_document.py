"""The JSON document of a reply, as a type; ``documents`` has the other types and the rules for readers."""

from enum import StrEnum
from typing import Literal, NotRequired, TypedDict

from flink_jobs.core.documents import SourceDocument


class ReplyOutcome(StrEnum):
    """The outcome of a record whose producer waits for it."""

    DECIDED = "decided"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    """The transaction was scored before; its decision is on the decisions topic."""


class ReplyDocument(TypedDict):
    """A compact decision, or the reason of a rejection, for a producer that waits for it (contract ``replies`` v3)."""

    schema_version: Literal[1, 2, 3]
    """3 for an alert; otherwise 2 exactly with ``fraud_probability``, and 1 without."""
    request_id: str
    route: str
    """The message key, which selects the partition."""
    outcome: ReplyOutcome
    transaction_id: str | None
    """``None`` for a rejected record: its content is not valid."""
    customer_id: str | None
    score: float | None
    threshold: float | None
    is_alert: bool | None
    reasons: list[str]
    """``ReasonCode`` values, largest contribution first; text, because a newer release may know more codes."""
    rejection: str | None
    """A ``DeadLetterReason`` if the record was not decided."""
    detail: str | None
    """The rejection in words."""
    model: str | None
    """``ok`` or ``degraded``, as in the decision."""
    model_version: str | None
    ruleset_version: str | None
    config_revision: int | None
    processing_time_ms: int
    source: SourceDocument
    fraud_probability: NotRequired[float]
    """As in the decision."""
    reason_contributions: NotRequired[list[float]]
    """Of an alert: score points of each reason, in the order of ``reasons``."""
    contributions: NotRequired[dict[str, float] | None]
    """Of an alert: share of each feature in the model score, as in the alert."""
