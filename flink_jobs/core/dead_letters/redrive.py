"""Decide whether a dead letter can be redriven, and build the headers of the record that is sent.

A redriven record is a new Kafka record. Its headers name the dead letter that it comes from, the coordinates of the
record that was rejected first, and the number of replays. The detector copies headers into dead letters, so a dead
letter holds its own history.
"""

import re
import sys
from base64 import b64decode
from typing import Final, NamedTuple

import orjson

from flink_jobs.core.dead_letters.policies import RedriveMethod, policy_of
from flink_jobs.core.documents import DeadLetterDocument
from flink_jobs.core.label import label_problem
from flink_jobs.core.parsing.avro import MAGIC
from flink_jobs.core.parsing.transactions import Parser, parse_transaction
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.transaction import Rejection

HEADER_PREFIX: Final = "streamflow-redrive-"
HEADER_LETTER: Final = f"{HEADER_PREFIX}of"
"""``dlq_id`` of the dead letter that was redriven."""
HEADER_ORIGIN: Final = f"{HEADER_PREFIX}origin"
"""``topic-partition@offset`` of the record that was rejected first."""
HEADER_REPLAY: Final = f"{HEADER_PREFIX}replay"
"""How often the record was sent again, including this time."""
HEADER_RUN: Final = f"{HEADER_PREFIX}run"

_CUSTOMER: Final = re.compile(r'"customer_id"\s*:\s*"([^"\\]{1,64})"')


class RedriveHistory(NamedTuple):
    """Earlier redrives of one record."""

    is_done: bool = False
    """The record was sent again, or its row was written."""
    refusals: int = 0
    """How often its row was written again and rejected again."""


NO_HISTORY: Final = RedriveHistory()


class RedriveVerdict(NamedTuple):
    """Whether a dead letter is redriven now."""

    is_allowed: bool
    why: str
    """In a few words: the method, or the obstacle."""


def replays_of(letter: DeadLetterDocument, history: RedriveHistory = NO_HISTORY) -> int:
    """Return how often the record of a dead letter was sent again, or its row written again."""
    count = _headers(letter).get(HEADER_REPLAY, b"0")
    return (int(count) if count.isdigit() else 0) + history.refusals


def is_parked(letter: DeadLetterDocument, limit: int, history: RedriveHistory = NO_HISTORY) -> bool:
    """Return whether a dead letter has reached the limit of replays, so that only ``is_forced`` sends it again."""
    return (
        policy_of(letter).method is not RedriveMethod.NEVER
        and not history.is_done
        and replays_of(letter, history) >= limit
    )


def judge(
    letter: DeadLetterDocument,
    payload: bytes | None,
    history: RedriveHistory,
    limit: int,
    now_ms: int,
    *,
    is_edited: bool = False,
    is_forced: bool = False,
    parse: Parser = parse_transaction,
) -> RedriveVerdict:
    """Decide whether a dead letter is redriven.

    Args:
        letter: the dead letter (contract ``dlq``).
        payload: the complete bytes to send; ``None`` where only their beginning is available.
        history: earlier redrives of the dead letter's record.
        limit: number of replays after which a dead letter is parked.
        now_ms: the caller's clock, ms since the epoch.
        is_edited: the payload differs from the dead letter's own.
        is_forced: also send parked dead letters and payloads that the parser rejects. Transactions that were scored
            and records that were redriven stay excluded.
        parse: the parser; ``WriterSchemas.parse`` also reads Avro records.
    """
    method = policy_of(letter).method
    obstacle = _obstacle(letter, payload, history, is_edited=is_edited)
    if obstacle is None and not is_forced:
        if is_parked(letter, limit, history):
            obstacle = f"parked: became a dead letter again after {replays_of(letter, history)} replays"
        elif method is not RedriveMethod.ROW:
            rejection = parse(payload, now_ms)
            if isinstance(rejection, Rejection):
                obstacle = f"would be rejected again: {rejection.reason}, {rejection.detail}"
    if obstacle is not None:
        return RedriveVerdict(is_allowed=False, why=obstacle)
    row = method.value if method is RedriveMethod.ROW else RedriveMethod.AS_IT_IS.value
    how = "edited" if is_edited else row
    return RedriveVerdict(is_allowed=True, why=how + (", forced" if is_forced else ""))


def _obstacle(
    letter: DeadLetterDocument, payload: bytes | None, history: RedriveHistory, *, is_edited: bool
) -> str | None:
    """Return why a dead letter is not redriven even with ``is_forced``, ``None`` if nothing prevents it."""
    method, why = policy_of(letter)
    problem: str | None = None
    if method is RedriveMethod.NEVER:
        problem = f"never: {why}"
    elif history.is_done:
        problem = "redriven already"
    elif payload is None:
        problem = "only the beginning of the payload is stored: edit it, with the complete payload from its producer"
    elif method is RedriveMethod.EDITED and not is_edited and not _is_avro(payload):
        problem = f"edited only: {why}"
    elif letter["reason"] == DeadLetterReason.LABEL_INVALID:
        invalid = label_problem(payload)
        problem = None if invalid is None else f"would be rejected again: {invalid}"
    return problem


def redrive_headers(letter: DeadLetterDocument, run: str) -> list[tuple[str, bytes]]:
    """Return the headers of the record that is sent: those of the original record, and its redrive history."""
    known = _headers(letter)
    origin = known.get(HEADER_ORIGIN, place_of(letter).encode())
    kept = [(name, value) for name, value in known.items() if not name.startswith(HEADER_PREFIX)]
    ours = {
        HEADER_LETTER: letter["dlq_id"].encode(),
        HEADER_ORIGIN: origin,
        HEADER_REPLAY: str(replays_of(letter) + 1).encode(),
        HEADER_RUN: run.encode(),
    }
    return [*kept, *ours.items()]


def parent_of(letter: DeadLetterDocument) -> str | None:
    """Return the ``dlq_id`` of the dead letter whose redriven record was rejected as this one; ``None`` without one."""
    name = _headers(letter).get(HEADER_LETTER)
    return None if name is None else name.decode("ascii", "replace")


def place_of(letter: DeadLetterDocument) -> str:
    """Return the coordinates of the rejected record: ``topic-partition@offset``."""
    return f"{letter['topic']}-{letter['partition']}@{letter['offset']}"


def customer_of(payload: bytes, parse: Parser = parse_transaction) -> str | None:
    """Return the ``customer_id`` of a payload, also where invalid JSON holds the field; ``None`` without one.

    The ``customer_id`` of an Avro record is found only by a parser with its schema, in a valid record.
    """
    if _is_avro(payload):
        transaction = parse(payload, sys.maxsize)
        return None if isinstance(transaction, Rejection) else transaction.customer_id
    try:
        document = orjson.loads(payload)
    except ValueError:
        found = _CUSTOMER.search(payload.decode("utf-8", "replace"))
        return found[1] if found else None
    name = document.get("customer_id") if type(document) is dict else None
    return name if type(name) is str else None


def _is_avro(payload: bytes) -> bool:
    return payload[:1] == bytes([MAGIC])


def _headers(letter: DeadLetterDocument) -> dict[str, bytes]:
    return {name: b64decode(value or "") for name, value in letter["headers"]}
