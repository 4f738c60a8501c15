"""Read dead letters back from the topic, choose among them, and recover the bytes they keep."""

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
    """Which letters are wanted; an empty set, or None, wants all.

    Attributes:
        reasons: reason codes, in capitals.
        stages: stages.
        dispositions: rejected, duplicate, incident.
        since_ms: set aside at or after this time, milliseconds since the epoch.
        until_ms: set aside before this time.
        customers: customer ids that the payload names.
        topics: full names of the topic that the record was on.
        partitions: partitions of that topic.
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

    def wants(self, letter: DeadLetterDocument) -> bool:
        """Tell whether a letter is wanted."""
        if self.since_ms is not None and letter["processing_time_ms"] < self.since_ms:
            return False
        if self.until_ms is not None and letter["processing_time_ms"] >= self.until_ms:
            return False
        chosen = (
            (self.reasons, letter["reason"]),
            (self.stages, letter["stage"]),
            (self.dispositions, letter["disposition"]),
            (self.topics, letter["topic"]),
            (self.partitions, letter["partition"]),
        )
        if self.offsets is not None and not self.offsets[0] <= letter["offset"] <= self.offsets[1]:
            return False
        if not all(not wanted or value in wanted for wanted, value in chosen):
            return False
        return not self.customers or customer_of(letter_payload(letter)) in self.customers


def read_letters(broker: Broker, prefix: str, chosen: LetterFilter | None = None) -> Iterator[DeadLetterDocument]:
    """Yield the committed letters that are wanted, partition by partition in the order of writing.

    Raises:
        UserError: no broker, no topic, or something on the topic is not a dead letter.
    """
    topic = topic_name(prefix, "dlq")
    with CommittedReader(broker, [topic]) as reader:
        for record in reader.read_to_end():
            letter = _decode(record.value, f"{topic}, partition {record.partition}, offset {record.offset}")
            if chosen is None or chosen.wants(letter):
                yield letter


def _decode(value: bytes | None, where: str) -> DeadLetterDocument:
    try:
        letter: DeadLetterDocument = orjson.loads(value or b"")
        letter["dlq_id"], letter["processing_time_ms"], letter["reason"], letter["stage"], letter["disposition"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise UserError(f"{where} holds something that is not a dead letter", "see who else writes there") from None
    return letter


def find_letter(letters: Iterable[DeadLetterDocument], name: str) -> DeadLetterDocument:
    """Return the letter of that id, start of an id, or place (``topic-partition@offset``, or ``partition@offset``).

    Raises:
        UserError: there is none, or more than one.
    """
    found: dict[str, DeadLetterDocument] = {}
    for letter in letters:
        place = place_of(letter)
        if letter["dlq_id"].startswith(name) or place == name or place.endswith(f"-{name}"):
            found[letter["dlq_id"]] = letter
    if not found:
        raise UserError(f"no dead letter is named {name}", "`streamflow dlq list` shows ids and places")
    if len(found) > 1:
        raise UserError(f"{len(found)} dead letters match {name}", "give more of the id")
    return next(iter(found.values()))


def complete_payload(letter: DeadLetterDocument) -> bytes:
    """Return the whole payload.

    Raises:
        UserError: the letter keeps only its beginning.
    """
    payload = letter_payload(letter)
    if letter["payload_truncated"]:
        raise UserError(
            f"{letter['dlq_id']} keeps {len(payload):,} of {letter['payload_length']:,} bytes",
            f"read the whole record at {place_of(letter)} while the topic still has it, or add --truncated",
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
    """Counts of letters."""

    total: int = 0
    by_reason: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    first_ms: int | None = None
    last_ms: int | None = None
    truncated: int = 0

    def add(self, letter: DeadLetterDocument) -> None:
        """Count one letter."""
        at_ms = letter["processing_time_ms"]
        self.total += 1
        self.by_reason[letter["disposition"], letter["reason"], letter["stage"]] += 1
        self.truncated += letter["payload_truncated"] is True
        self.first_ms = at_ms if self.first_ms is None else min(self.first_ms, at_ms)
        self.last_ms = at_ms if self.last_ms is None else max(self.last_ms, at_ms)
