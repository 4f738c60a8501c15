"""Records with actions on accounts: parsed, or rejected as an incident."""

from typing import Final

from flink_jobs.core.accounts.action import UserAction, parse_action
from flink_jobs.core.accounts.standing import MAX_ENTRIES
from flink_jobs.core.dead_letters.rejections import incident
from flink_jobs.core.outcome import ActionOutcome, Outcome
from flink_jobs.core.parsing.source_record import SourceRecord, WholePayload
from flink_jobs.core.reasons import DeadLetterReason, PipelineStage

TOO_MANY_ACTIONS: Final = (
    f"the customer has {MAX_ENTRIES} actions already; clear some of them, or block the whole customer"
)


def readable_action(record: SourceRecord, whole: WholePayload, now_ms: int) -> UserAction | str:
    """Return the action of a record, or why it is not valid."""
    payload = record.payload
    if payload is not None and len(payload) < whole.length:
        return f"the payload has {whole.length:,} bytes, which is too long for an action"
    return parse_action(payload, now_ms)


def refused_action(record: SourceRecord, stage: PipelineStage, detail: str, now_ms: int) -> Outcome:
    """Return the outcome of an action that is not applied: a dead letter with its bytes.

    It is an incident, not a rejection: the ledger counts transactions only.
    """
    letter = incident(record, DeadLetterReason.ACTION_INVALID, stage, detail, now_ms)
    return Outcome(letters=(letter,), account_action=ActionOutcome.REJECTED)
