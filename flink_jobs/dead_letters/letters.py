"""Reads dead letters from their topic, filters them, and recovers the payloads of their records."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

import orjson

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.dead_letters.letter import letter_payload
from flink_jobs.core.dead_letters.redrive import customer_of, place_of
from flink_jobs.core.documents import DeadLetterDocument
from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Conditions on dead letters; an empty set, or None, is no condition.

    Attributes:
        reasons: reason codes, in capitals.
        stages: stages.
        dispositions: rejected, duplicate, incident.
        since_ms: earliest time of the rejection, milliseconds since the epoch.
        until_ms: end of the time of the rejection (excluded).
        customers: customer ids in the payload.
        topics: full names of the records' topics.
        partitions: partitions of these topics.
        offsets: first and last offset of the record, both included.
    """

    reasons: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    dispositions: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    customers: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    partitions: frozenset[int] = frozenset()
    offsets: tuple[int, int] | None = None

    def matches(self, letter: DeadLetterDocument) -> bool:
        """Return whether a dead letter meets every condition."""
        if self.since_ms is not None and letter["processing_time_ms"] < self.since_ms:
            return False
        if self.until_ms is not None and letter["processing_time_ms"] >= self.until_ms:
            return False
        conditions = (
            (self.reasons, letter["reason"]),
            (self.stages, letter["stage"]),
            (self.dispositions, letter["disposition"]),
            (self.topics, letter["topic"]),
            (self.partitions, letter["partition"]),
        )
        if self.offsets is not None and not self.offsets[0] <= letter["offset"] <= self.offsets[1]:
            return False
        if not all(not allowed or value in allowed for allowed, value in conditions):
            return False
        return not self.customers or customer_of(letter_payload(letter)) in self.customers


def read_letters(broker: Broker, prefix: str, chosen: LetterFilter | None = None) -> Iterator[DeadLetterDocument]:
    """Yield the committed dead letters that match, partition by partition in the order of writing.

    Raises:
        UserError: no broker answers, the topic does not exist, or a record on it is not a dead letter.
    """
    topic = topic_name(prefix, "dlq")
    with CommittedReader(broker, [topic]) as reader:
        for record in reader.read_to_end():
            letter = _decode(record.value, f"{topic}, partition {record.partition}, offset {record.offset}")
            if chosen is None or chosen.matches(letter):
                yield letter


def _decode(value: bytes | None, where: str) -> DeadLetterDocument:
    try:
        letter: DeadLetterDocument = orjson.loads(value or b"")
        letter["dlq_id"], letter["processing_time_ms"], letter["reason"], letter["stage"], letter["disposition"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise UserError(
            f"the record at {where} is not a dead letter", "find the program that writes to this topic, and stop it"
        ) from None
    return letter


def find_letter(letters: Iterable[DeadLetterDocument], name: str) -> DeadLetterDocument:
    """Return the dead letter with this id, start of an id, or coordinates.

    Args:
        letters: the dead letters to search.
        name: id, start of an id, ``topic-partition@offset`` or ``partition@offset``.

    Raises:
        UserError: no dead letter matches, or more than one.
    """
    found: dict[str, DeadLetterDocument] = {}
    for letter in letters:
        place = place_of(letter)
        if letter["dlq_id"].startswith(name) or place == name or place.endswith(f"-{name}"):
            found[letter["dlq_id"]] = letter
    if not found:
        raise UserError(f"no dead letter matches {name}", "`streamflow dlq list` shows ids and coordinates")
    if len(found) > 1:
        raise UserError(f"{len(found)} dead letters match {name}", "give more characters of the id")
    return next(iter(found.values()))


def complete_payload(letter: DeadLetterDocument) -> bytes:
    """Return the whole payload of a dead letter.

    Raises:
        UserError: the dead letter holds only the beginning of the payload.
    """
    payload = letter_payload(letter)
    if letter["payload_truncated"]:
        raise UserError(
            f"{letter['dlq_id']} holds {len(payload):,} of {letter['payload_length']:,} bytes",
            f"read the whole record at {place_of(letter)} while the topic still holds it, or add --truncated",
        )
    return payload


def whole_payloads(letters: Iterable[DeadLetterDocument], broker: Broker) -> dict[str, bytes | None]:
    """Return the whole payload of each dead letter, by ``dlq_id``.

    A payload that its dead letter truncates is read from the record's topic; one consumer reads all of them. It is None
    when the topic no longer holds the record, or holds another record at its offset.

    Raises:
        UserError: no broker answers, or a topic does not exist.
    """
    payloads: dict[str, bytes | None] = {}
    truncated: list[DeadLetterDocument] = []
    for letter in letters:
        if letter["payload_truncated"]:
            truncated.append(letter)
        else:
            payloads[letter["dlq_id"]] = letter_payload(letter)
    if truncated:
        with CommittedReader(broker, sorted({letter["topic"] for letter in truncated})) as reader:
            payloads |= {letter["dlq_id"]: _record_of(letter, reader) for letter in truncated}
    return payloads


def _record_of(letter: DeadLetterDocument, reader: CommittedReader) -> bytes | None:
    record = reader.read_at(letter["topic"], letter["partition"], letter["offset"])
    if record is None or record.value is None or sha256(record.value).hexdigest() != letter["payload_sha256"]:
        return None
    return record.value


@dataclass(slots=True)
class LetterStats:
    """Counts of dead letters, and the times of the first and the last."""

    total: int = 0
    by_reason: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    first_ms: int | None = None
    last_ms: int | None = None
    truncated: int = 0

    def add(self, letter: DeadLetterDocument) -> None:
        """Count one dead letter."""
        at_ms = letter["processing_time_ms"]
        self.total += 1
        self.by_reason[letter["disposition"], letter["reason"], letter["stage"]] += 1
        self.truncated += letter["payload_truncated"] is True
        self.first_ms = at_ms if self.first_ms is None else min(self.first_ms, at_ms)
        self.last_ms = at_ms if self.last_ms is None else max(self.last_ms, at_ms)
