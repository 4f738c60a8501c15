"""From a score to an action, and the action without the job's decision."""

from __future__ import annotations

from collections.abc import Container, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from api.settings import ApiSettings
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.currencies import major_amount
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.transaction import Transaction


class Action(StrEnum):
    """What a payment system should do with a transaction."""

    APPROVE = "approve"
    REVIEW = "review"
    DECLINE = "decline"


WORDS: Final[Mapping[str, str]] = {
    ReasonCode.HIGH_AMOUNT: "the amount is far above the customer's usual amounts",
    ReasonCode.HIGH_VELOCITY: "many transactions within one hour",
    ReasonCode.UNUSUAL_TIME: "the customer rarely pays at this hour",
    ReasonCode.IMPOSSIBLE_TRAVEL: "too far from the previous transaction for the time between them",
    ReasonCode.BLACKLISTED: "the customer, merchant or country is on a blacklist",
    ReasonCode.MODEL_ANOMALY: "the model gives a high score",
    ReasonCode.ACCOUNT_BLOCKED: "an analyst or a payment system blocked the customer",
    ReasonCode.ACCOUNT_ALLOWED: "an analyst allowed the customer's transactions: no alert",
    ReasonCode.ACCOUNT_WATCHED: "an analyst has the customer's transactions reviewed",
}
"""Each reason code in words."""


class FallbackAction(NamedTuple):
    """An action without the job's decision, and the reasons for it."""

    action: Action
    reasons: tuple[ReasonCode, ...]


def in_words(code: str) -> str:
    """Return a reason code in words; a code of a newer release stays as it is.

    >>> in_words("HIGH_VELOCITY"), in_words("NEW_CODE")
    ('many transactions within one hour', 'NEW_CODE')
    """
    return WORDS.get(code, code)


def action_of(
    score: float,
    *,
    is_alert: bool,
    settings: ApiSettings,
    codes: Container[str] = frozenset(),
    probability: float | None = None,
) -> Action:
    """Return the action for a score; an alert is reviewed at least, whatever the thresholds of the API.

    An action on the account goes before the score: a block declines, an allow approves, a watch reviews at least.

    Args:
        score: the blended score.
        is_alert: whether the score reached the alert threshold.
        settings: the policy.
        codes: reason codes of the decision.
        probability: the decision's probability of fraud; ``None`` without one: the score is compared.
    """
    value = score if probability is None or settings.thresholds_on == "score" else probability
    if ReasonCode.ACCOUNT_BLOCKED in codes:
        return Action.DECLINE
    if ReasonCode.ACCOUNT_ALLOWED in codes:
        return Action.APPROVE
    if value >= settings.decline_from:
        return Action.DECLINE
    if ReasonCode.ACCOUNT_WATCHED in codes:
        return Action.REVIEW
    return Action.REVIEW if is_alert or value >= settings.review_from else Action.APPROVE


def fallback(
    transaction: Transaction, config: DetectionConfig, settings: ApiSettings, account: ReasonCode | None = None
) -> FallbackAction:
    """Return the action without the job: by the account, the blacklist, the limit for small amounts, or the default.

    Args:
        transaction: the transaction.
        config: the configuration in force.
        settings: the policy.
        account: reason code of the leading action on the account, ``None`` without one.
    """
    if account is ReasonCode.ACCOUNT_BLOCKED:
        return FallbackAction(Action.DECLINE, (account,))
    if config.rules["blacklist"].enabled and config.blacklist.matches(transaction):
        return FallbackAction(Action.DECLINE, (ReasonCode.BLACKLISTED,))
    if account is ReasonCode.ACCOUNT_ALLOWED:
        return FallbackAction(Action.APPROVE, (account,))
    if account is ReasonCode.ACCOUNT_WATCHED:
        declines = settings.fallback_action == "decline"
        return FallbackAction(Action.DECLINE if declines else Action.REVIEW, (account,))
    limit = settings.fallback_approve_below
    if limit is not None and major_amount(transaction.amount_minor, transaction.currency) < limit:
        return FallbackAction(Action.APPROVE, ())
    return FallbackAction(Action(settings.fallback_action), ())
