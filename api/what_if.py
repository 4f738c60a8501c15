"""Scores a transaction without effect: the core's evaluator on a state that is built from a history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

import orjson

from api.in_force import InForce
from flink_jobs.core.currencies import major_amount
from flink_jobs.core.documents import AlertDocument, DeadLetterDocument, DecisionDocument
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.features.vector import extract_features, surprise_of
from flink_jobs.core.outcome import Outcome
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.transaction import Rejection, Transaction

SOURCE: Final = "what-if"
"""Topic in the decision's coordinates: it is on no topic."""


class WhatIf(NamedTuple):
    """A score without effect."""

    decision: DecisionDocument
    contributions: dict[str, float] | None
    """Share of each feature in the model's score; only for a decision at or above the threshold."""
    model_problem: str | None
    """Why the model gave no score; ``None`` if it gave one."""


class InvalidHistoryError(Exception):
    """A transaction of the history is not valid."""


def parse_history(documents: Sequence[Any], customer_id: str, now_ms: int) -> list[Transaction]:
    """Return the transactions of a history in the order given.

    Raises:
        InvalidHistoryError: one is not valid, or belongs to another customer.
    """
    history = []
    for number, document in enumerate(documents, start=1):
        parsed = parse_transaction(orjson.dumps(document), now_ms)
        if isinstance(parsed, Rejection):
            message = f"transaction {number} of the history: {parsed.reason}: {parsed.detail}"
            raise InvalidHistoryError(message)
        if parsed.customer_id != customer_id:
            message = f"transaction {number} of the history has another customer_id"
            raise InvalidHistoryError(message)
        history.append(parsed)
    return history


def state_of(history: Sequence[Transaction], in_force: InForce) -> CustomerFraudState:
    """Return the state of a customer after these transactions; one that repeats an id is left out, as in the job."""
    state = CustomerFraudState()
    for transaction in history:
        fingerprint = transaction_fingerprint(transaction.transaction_id)
        if state.has_seen(fingerprint):
            continue
        amount = major_amount(transaction.amount_minor, transaction.currency)
        features = extract_features(state, transaction, amount, in_force.config.blacklist.matches)
        state.observe(transaction, amount, fingerprint, surprise_of(features))
    return state


def score(payload: bytes, transaction: Transaction, history: Sequence[Transaction], in_force: InForce) -> WhatIf | str:
    """Score a transaction against a history.

    Args:
        payload: the transaction as JSON.
        transaction: the same, parsed.
        history: earlier transactions of the customer, in the order of their arrival.
        in_force: the configuration and the model.

    Returns:
        The decision, or why there is none, such as a transaction that the history has already.
    """
    evaluator = TransactionEvaluator(in_force.config, in_force.model, own=in_force.own)
    record = SourceRecord(payload, 0, 0, "", "", transaction.customer_id, SOURCE)
    blob = state_of(history, in_force).to_bytes() if history else None
    # The clock only limits event times, and the transaction was parsed with the real one.
    outcome = evaluator.evaluate(record, lambda: blob, transaction.event_time_ms)
    if outcome.decision is None:
        letter = cast("DeadLetterDocument", orjson.loads(outcome.letters[-1].body))
        return f"{letter['reason']}: {letter['detail']}"
    alert = cast("AlertDocument | None", orjson.loads(outcome.alert) if outcome.alert else None)
    contributions = None if alert is None else alert["contributions"]
    return WhatIf(orjson.loads(outcome.decision), contributions, _problem(in_force, transaction, outcome))


def _problem(in_force: InForce, transaction: Transaction, outcome: Outcome) -> str | None:
    """Return why the model gave no score: it is not loaded, has no current histories, or failed."""
    model, histories = in_force.model, in_force.histories
    if model is None:
        return in_force.problem
    if not outcome.is_degraded:
        return None
    if outcome.notices:
        return outcome.notices[0].fault.value
    return None if histories is None else histories.why_not_ready(model.manifest.feature_names, transaction)
