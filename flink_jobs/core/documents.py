"""The JSON documents that the system writes to Kafka, as types: decision, alert, dead letter, audit, control, label.

Each type has the fields of the latest JSON Schema of its topic (``flink_jobs/contracts/schemas``); a test compares the
two. The types are in the core because the core builds these documents, and the core may import nothing above it. They
are one module of plain ``TypedDict`` classes, apart from the modules that build them, because those are compiled, and a
compiled ``TypedDict`` loses its annotations. At run time it is an ordinary ``dict``: a type costs nothing per event.

Two rules for readers of decoded documents:

- A field with an enum type holds the enum's member where the core built the document, and the member's text where the
  document was decoded from JSON. Compare it with ``==``, never with ``is``.
- A document of an older schema version lacks the fields that came later. Read such a field with ``get``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NotRequired, TypedDict

from flink_jobs.core.accounts.document import AppliedActionDocument
from flink_jobs.core.reasons import Disposition, PipelineStage


class Variant(StrEnum):
    """Which model scored a transaction."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    """The model under trial in an experiment, for its share of the customers."""


class ControlOutcome(StrEnum):
    """What a control message led to."""

    APPLIED = "applied"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    """A message with this ``control_id`` was applied before; nothing changed."""


class Finding(StrEnum):
    """What a label says about a transaction."""

    FRAUD = "fraud"
    """Confirmed fraud."""
    GENUINE = "genuine"
    """The cardholder's own transaction; an alert on it was a false positive."""


ModelStatus = Literal["ok", "degraded"]
"""``degraded``: no model gave a valid score, the rules decided alone."""


PayloadEncoding = Literal["utf-8", "base64"]
"""``base64`` where the bytes are not UTF-8 or hold NUL, which Postgres refuses."""


class ReasonDocument(TypedDict):
    """One reason for a score."""

    code: str
    """A ``ReasonCode``; text, because a newer release may know more codes."""
    contribution: float
    """Share of the score, in score points."""


class ShadowDocument(TypedDict):
    """The score of the shadow model; it has no effect on the decision."""

    model_version: str
    ml_score: float
    score: float
    is_alert: bool


class SourceDocument(TypedDict):
    """Coordinates of the record that a decision is about."""

    topic: str
    partition: int
    offset: int


class DecisionDocument(TypedDict):
    """The decision on one transaction (contract ``decisions`` v6)."""

    schema_version: Literal[2, 3, 4, 5, 6]
    """6 exactly with ``terminal``, else 5 exactly with ``fraud_probability``, else 4 exactly with ``traceparent``, else
    3 exactly with ``actions``: any other decision is that of version 2."""
    transaction_id: str
    customer_id: str
    event_time_ms: int
    processing_time_ms: int
    amount_minor: int
    currency: str
    merchant: str | None
    category: str | None
    channel: str | None
    country: str | None
    score: float
    rule_score: float
    ml_score: float | None
    alpha: float
    threshold: float
    is_alert: bool
    features: Mapping[str, float | None]
    """Every feature by name, ``None`` where absent."""
    absent: Mapping[str, str]
    """Why each absent feature has no value (an ``AbsenceReason``)."""
    reasons: list[ReasonDocument]
    model: ModelStatus
    model_version: str | None
    variant: Variant
    shadow: ShadowDocument | None
    ruleset_version: str
    config_revision: int
    out_of_order_ms: int
    source: SourceDocument
    actions: NotRequired[list[AppliedActionDocument]]
    """The actions on the account that applied, the deciding one first."""
    traceparent: NotRequired[str]
    """The context of the detector's span, of a record that came with a sampled trace."""
    fraud_probability: NotRequired[float]
    """Probability of fraud at this score, 0 to 1, of a model with a calibration for the ``alpha`` of the decision."""
    expected_loss_minor: NotRequired[int]
    """Amount times probability, minor units of the currency; exactly with ``fraud_probability``."""
    terminal: NotRequired[str | None]
    """As in the transaction, like ``device``, ``card`` and ``ip``: all four exactly where one of them is known."""
    device: NotRequired[str | None]
    card: NotRequired[str | None]
    ip: NotRequired[str | None]


class AlertDocument(TypedDict):
    """The alert of a decision at or above the threshold (contract ``alerts`` v4)."""

    schema_version: Literal[2, 3, 4]
    """4 exactly with ``terminal``, else 3 exactly with ``fraud_probability``: any other alert is that of version 2."""
    alert_id: str
    transaction_id: str
    customer_id: str
    event_time_ms: int
    processing_time_ms: int
    amount_minor: int
    currency: str
    merchant: str | None
    category: str | None
    country: str | None
    score: float
    rule_score: float
    ml_score: float | None
    threshold: float
    reasons: list[ReasonDocument]
    features: Mapping[str, float | None]
    contributions: dict[str, float] | None
    """Share of each feature in ``ml_score``, ``None`` where no model gave the score or it cannot explain one."""
    model: ModelStatus
    model_version: str | None
    variant: Variant
    ruleset_version: str
    config_revision: int
    fraud_probability: NotRequired[float]
    """As in the decision, like ``expected_loss_minor``."""
    expected_loss_minor: NotRequired[int]
    terminal: NotRequired[str | None]
    """As in the decision, like ``device``, ``card`` and ``ip``: all four exactly where one of them is known."""
    device: NotRequired[str | None]
    card: NotRequired[str | None]
    ip: NotRequired[str | None]


class DeadLetterDocument(TypedDict):
    """A dead letter (contract ``dlq`` v2): a rejected record, or an incident, with the bytes of its record."""

    schema_version: Literal[2]
    dlq_id: str
    disposition: Disposition
    reason: str
    """A ``DeadLetterReason``; text, because a newer release may know more reasons."""
    stage: PipelineStage
    detail: str
    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    headers: list[tuple[str, str | None]]
    """Name and base64 value of each Kafka header; decoded JSON has lists of two items."""
    payload: str | None
    payload_encoding: PayloadEncoding
    payload_length: int
    payload_sha256: str
    payload_truncated: bool
    processing_time_ms: int


class RuleChange(TypedDict, total=False):
    """New settings of one rule; a setting that is left out stays."""

    enabled: bool
    weight: float
    threshold: float


class BlacklistChange(TypedDict, total=False):
    """Entries to add to a blacklist and to remove from it."""

    add: list[str]
    remove: list[str]


class BlacklistChanges(TypedDict, total=False):
    """Changes of the blacklists, by kind of entity."""

    customer: BlacklistChange
    merchant: BlacklistChange
    country: BlacklistChange


class ModelDocument(TypedDict):
    """A model version and the SHA-256 of its arrays."""

    version: str
    digest: str


class GuardDocument(TypedDict):
    """Limits at which an experiment is stopped (see ``GuardBand``)."""

    min_decisions: int
    max_alert_rate_ratio: float
    min_alert_rate_ratio: float
    max_error_share: float


class ExperimentDocument(ModelDocument):
    """An experiment to start."""

    id: str
    share: float
    guard: GuardDocument


class ControlChanges(TypedDict, total=False):
    """The configuration that a control message changes.

    ``None`` ends a shadow model or an experiment, and lets the own blend of each model apply again.
    """

    alpha: float | None
    alert_threshold: float | None
    rules: dict[str, RuleChange]
    """By rule id."""
    blacklist: BlacklistChanges
    model_version: str
    model_digest: str
    shadow_model: ModelDocument | None
    experiment: ExperimentDocument | None


class ControlDocument(TypedDict):
    """A control message (contract ``control`` v3)."""

    schema_version: Literal[2, 3]
    control_id: str
    issued_by: str
    issued_at_ms: int
    reason: str
    expected_revision: NotRequired[int | None]
    expected_experiment: NotRequired[str | None]
    changes: ControlChanges


class AuditDocument(TypedDict):
    """The outcome of one control message (contract ``audit`` v1)."""

    schema_version: Literal[1]
    control_id: str
    revision: int
    outcome: ControlOutcome
    detail: str
    issued_by: str | None
    issued_at_ms: int | None
    reason: str | None
    applied_at_ms: int
    changes: ControlChanges
