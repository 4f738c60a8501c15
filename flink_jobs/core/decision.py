"""Builds decisions and alerts (contracts ``decisions`` and ``alerts``)."""

from hashlib import blake2b
from typing import Final, NamedTuple

import orjson

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.documents import AlertDocument, DecisionDocument, ShadowDocument, Variant
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.features.vector import FeatureVector, absences
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.probability import ALERT_WITH_PROBABILITY
from flink_jobs.core.rules import RuleVerdict
from flink_jobs.core.scoring import Score
from flink_jobs.core.transaction import Transaction

DECISION_SCHEMA_VERSION: Final = 2
DECISION_WITH_IDS: Final = 6
"""Schema version of a decision on a transaction with a terminal, device, card or IP address."""
ALERT_SCHEMA_VERSION: Final = 2
ALERT_WITH_IDS: Final = 4
"""Schema version of the alert of such a decision."""


class ShadowScore(NamedTuple):
    """The score of the shadow model; it is recorded and has no effect."""

    model_version: str
    ml_score: float
    score: float
    """The blend of this model score with the same rules, under the ``alpha`` in force for this model."""
    is_alert: bool


class Opinion(NamedTuple):
    """The model scores of one transaction."""

    ml_score: float | None = None
    """Score of the champion or challenger, 0 to 1; ``None`` without a valid one: the rules decide alone, degraded."""
    model_version: str | None = None
    """The model that gave ``ml_score``; ``None`` when degraded."""
    variant: Variant = Variant.CHAMPION
    shadow: ShadowScore | None = None


def build_decision(  # noqa: PLR0913, PLR0917 - one argument for each part of a decision
    transaction: Transaction,
    features: FeatureVector,
    verdict: RuleVerdict,
    opinion: Opinion,
    score: Score,
    threshold: float,
    config: DetectionConfig,
    source: SourceRecord,
    out_of_order_ms: int,
    now_ms: int,
) -> DecisionDocument:
    """Build the decision on one transaction.

    Args:
        transaction: the transaction.
        features: its features.
        verdict: the rule score.
        opinion: the model scores.
        score: the blend and its reasons.
        threshold: the alert threshold for this score.
        config: the configuration in force.
        source: the record of the transaction.
        out_of_order_ms: time from this event to the customer's latest event; 0 when in order.
        now_ms: the job's clock, ms since the epoch.
    """
    ml_score, model_version, variant, shadow = opinion
    (transaction_id, customer_id, amount_minor, currency, time_ms, merchant, category, _, _, channel, country,
     terminal, device, card, ip) = transaction  # fmt: skip
    decision: DecisionDocument = {
        "schema_version": DECISION_SCHEMA_VERSION,
        "transaction_id": transaction_id,
        "customer_id": customer_id,
        "event_time_ms": time_ms,
        "processing_time_ms": now_ms,
        "amount_minor": amount_minor,
        "currency": currency,
        "merchant": merchant,
        "category": category,
        "channel": channel,
        "country": country,
        "score": score.score,
        "rule_score": verdict.score,
        "ml_score": ml_score,
        "alpha": score.alpha,
        "threshold": threshold,
        "is_alert": score.score >= threshold,
        "features": _named(features),
        "absent": absences(features, transaction) if None in features else {},
        "reasons": [{"code": code, "contribution": contribution} for code, contribution in score.reasons],
        "model": "degraded" if ml_score is None else "ok",
        "model_version": model_version,
        "variant": variant,
        "shadow": None if shadow is None else _shadow_document(shadow),
        "ruleset_version": config.ruleset_version,
        "config_revision": config.revision,
        "out_of_order_ms": out_of_order_ms,
        "source": {"topic": source.topic, "partition": source.partition, "offset": source.offset},
    }
    return _with_ids(decision, terminal, device, card, ip)


def _with_ids(
    decision: DecisionDocument, terminal: str | None, device: str | None, card: str | None, ip: str | None
) -> DecisionDocument:
    """Return a decision with the four ids if one of them is known, else as it is."""
    if terminal is not None or device is not None or card is not None or ip is not None:
        decision["schema_version"] = DECISION_WITH_IDS
        decision["terminal"] = terminal
        decision["device"] = device
        decision["card"] = card
        decision["ip"] = ip
    return decision


def _named(features: FeatureVector) -> dict[str, float | None]:
    """Return the features by name; compiled, the loop is faster than ``dict(zip(...))``."""
    named: dict[str, float | None] = {}
    for place in range(len(features)):
        named[FEATURE_NAMES[place]] = features[place]
    return named


def build_alert(decision: DecisionDocument, contributions: dict[str, float] | None) -> AlertDocument:
    """Build the alert of a decision at or above the threshold.

    Args:
        decision: the result of ``build_decision``.
        contributions: share of each feature in ``ml_score``; ``None`` without a model score.
    """
    alert: AlertDocument = {
        "schema_version": ALERT_SCHEMA_VERSION,
        "alert_id": alert_id(decision["customer_id"], decision["transaction_id"]),
        "transaction_id": decision["transaction_id"],
        "customer_id": decision["customer_id"],
        "event_time_ms": decision["event_time_ms"],
        "processing_time_ms": decision["processing_time_ms"],
        "amount_minor": decision["amount_minor"],
        "currency": decision["currency"],
        "merchant": decision["merchant"],
        "category": decision["category"],
        "country": decision["country"],
        "score": decision["score"],
        "rule_score": decision["rule_score"],
        "ml_score": decision["ml_score"],
        "threshold": decision["threshold"],
        "reasons": decision["reasons"],
        "features": decision["features"],
        "model": decision["model"],
        "model_version": decision["model_version"],
        "variant": decision["variant"],
        "ruleset_version": decision["ruleset_version"],
        "config_revision": decision["config_revision"],
        "contributions": contributions,
    }
    if "fraud_probability" in decision:
        alert["schema_version"] = ALERT_WITH_PROBABILITY
        alert["fraud_probability"] = decision["fraud_probability"]
        alert["expected_loss_minor"] = decision["expected_loss_minor"]
    if "terminal" in decision:
        alert["schema_version"] = ALERT_WITH_IDS
        alert["terminal"] = decision["terminal"]
        alert["device"] = decision["device"]
        alert["card"] = decision["card"]
        alert["ip"] = decision["ip"]
    return alert


def alert_id(customer_id: str, transaction_id: str) -> str:
    """Return the id of a transaction's alert; the same transaction always has the same id."""
    return "al_" + transaction_digest(customer_id, transaction_id)


def transaction_digest(customer_id: str, transaction_id: str) -> str:
    """Return the digest that names a transaction where its ids must not be shown; 32 hexadecimal digits."""
    return blake2b(f"{customer_id}\x1f{transaction_id}".encode(), digest_size=16).hexdigest()


def encode(document: DecisionDocument | AlertDocument) -> str:
    """Encode a decision or an alert for its topic."""
    return orjson.dumps(document).decode()


def _shadow_document(shadow: ShadowScore) -> ShadowDocument:
    return {
        "model_version": shadow.model_version,
        "ml_score": shadow.ml_score,
        "score": shadow.score,
        "is_alert": shadow.is_alert,
    }
