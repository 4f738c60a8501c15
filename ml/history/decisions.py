"""Reads recorded decisions one by one: transaction, features as served, decision and label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict, cast

from flink_jobs.core.documents import Finding
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.own_features.declaration import is_own
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.transaction import Transaction

if TYPE_CHECKING:
    from flink_jobs.core.documents import ReasonDocument
    from ml.history.connection import Connection

ROWS_AT_ONCE: Final = 5_000
_LABEL_THAT_HOLDS: Final = """
    SELECT DISTINCT ON (customer_id, transaction_id) customer_id, transaction_id, label
    FROM raw.labels
    WHERE %(labels_until_ms)s::bigint IS NULL OR labelled_at_ms <= %(labels_until_ms)s
    ORDER BY customer_id, transaction_id, labelled_at_ms DESC, label_id DESC"""
_IN_PERIOD: Final = """
    (%(since_ms)s::bigint IS NULL OR event_time >= to_timestamp(%(since_ms)s / 1000.0))
    AND (%(until_ms)s::bigint IS NULL OR event_time < to_timestamp(%(until_ms)s / 1000.0))
    AND (%(model_version)s::text IS NULL OR model_version = %(model_version)s)"""
_DECISIONS: Final = f"""
    SELECT decisions.*, labels.label
    FROM raw.decisions AS decisions
    LEFT JOIN ({_LABEL_THAT_HOLDS}) AS labels USING (customer_id, transaction_id)
    WHERE {_IN_PERIOD}
    ORDER BY event_time_ms, customer_id, transaction_id"""  # noqa: S608 - constants
_COUNT: Final = f"""
    SELECT count(*) AS decisions, min(event_time_ms) AS first_ms, max(event_time_ms) AS last_ms
    FROM raw.decisions WHERE {_IN_PERIOD}"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Period:
    """Selects decisions.

    Attributes:
        since_ms: start in event time, inclusive, UTC milliseconds; None: from the first decision.
        until_ms: end in event time, exclusive, UTC milliseconds; None: to the last decision.
        labels_until_ms: use only labels made until this time, UTC milliseconds; None: all labels.
        model_version: only decisions of this model; None: of any model, and decisions without one.
    """

    since_ms: int | None = None
    until_ms: int | None = None
    labels_until_ms: int | None = None
    model_version: str | None = None

    def parameters(self) -> dict[str, int | str | None]:
        """Return the parameters of the queries."""
        return {
            "since_ms": self.since_ms,
            "until_ms": self.until_ms,
            "labels_until_ms": self.labels_until_ms,
            "model_version": self.model_version,
        }


class Extent(NamedTuple):
    """Number of decisions in a period, with their first and last event time."""

    decisions: int
    first_ms: int | None
    last_ms: int | None


class _DecisionRow(TypedDict):
    """The columns of ``raw.decisions`` that are read, and the label that counts; see ``DecisionDocument``."""

    transaction_id: str
    customer_id: str
    amount_minor: int
    currency: str
    event_time_ms: int
    merchant: str | None
    category: str | None
    channel: str | None
    country: str | None
    terminal: str | None
    device: str | None
    card: str | None
    ip: str | None
    features: Mapping[str, float | None]
    score: float
    rule_score: float
    ml_score: float | None
    alpha: float
    threshold: float
    is_alert: bool
    reasons: list[ReasonDocument]
    model_version: str | None
    config_revision: int
    processing_time_ms: int
    label: Finding | None


class RecordedDecision(NamedTuple):
    """A row of ``raw.decisions``. The transaction has no location, because the job records only features made of it."""

    transaction: Transaction
    features: FeatureVector
    score: float
    rule_score: float
    ml_score: float | None
    alpha: float
    threshold: float
    is_alert: bool
    reasons: tuple[ReasonCode, ...]
    model_version: str | None
    config_revision: int
    processing_time_ms: int
    is_fraud: bool | None
    own: Mapping[str, float | None] = MappingProxyType({})
    """Own features as served, by name."""


def measure_period(connection: Connection, period: Period) -> Extent:
    """Return the number of decisions in a period, and their first and last event time."""
    row = connection.execute(_COUNT, period.parameters()).fetchone() or {}
    return Extent(int(row["decisions"]), row["first_ms"], row["last_ms"])


def read_decisions(connection: Connection, period: Period) -> Iterator[RecordedDecision]:
    """Yield the decisions of a period by event time, with at most 5,000 rows in memory."""
    with connection.cursor(name="decisions") as cursor:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(_DECISIONS, period.parameters())
        for row in cursor:
            yield _decision(cast("_DecisionRow", row))


def _decision(row: _DecisionRow) -> RecordedDecision:
    served = row["features"]
    return RecordedDecision(
        transaction=Transaction(
            row["transaction_id"], row["customer_id"], row["amount_minor"], row["currency"], row["event_time_ms"],
            merchant=row["merchant"], category=row["category"], channel=row["channel"], country=row["country"],
            terminal=row["terminal"], device=row["device"], card=row["card"], ip=row["ip"],
        ),
        # A feature that an older release did not record is absent. Postgres returns whole numbers as int.
        features=FeatureVector(*[_number(served.get(name)) for name in FEATURE_NAMES]),
        score=row["score"],
        rule_score=row["rule_score"],
        ml_score=row["ml_score"],
        alpha=row["alpha"],
        threshold=row["threshold"],
        is_alert=row["is_alert"],
        reasons=tuple(ReasonCode(reason["code"]) for reason in row["reasons"]),
        model_version=row["model_version"],
        config_revision=row["config_revision"],
        processing_time_ms=row["processing_time_ms"],
        is_fraud=None if row["label"] is None else row["label"] == Finding.FRAUD,
        own={name: _number(value) for name, value in served.items() if is_own(name)},
    )  # fmt: skip


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)
