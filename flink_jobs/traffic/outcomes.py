"""The detector's side of the reconciliation: the outcome of every coordinate, read from the output topics."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.dead_letters.letter import letter_payload
from flink_jobs.core.documents import AlertDocument, DeadLetterDocument, DecisionDocument
from flink_jobs.core.reasons import Disposition
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader, Position, Record
from flink_jobs.kafka.outgoing import Fate
from flink_jobs.traffic.ledger import FATE_CODE, NOTHING, ByteMap, Coordinate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flink_jobs.traffic.ledger import SentLedger

AlertKey = tuple[str, str, int]  # customer id, transaction id, time of scoring
TransactionKey = tuple[str, str]  # customer id, transaction id
OUTPUTS = ("decisions", "alerts", "dlq")
FATE_OF_DISPOSITION = {Disposition.REJECTED: Fate.REJECTED, Disposition.DUPLICATE: Fate.DUPLICATE}


@dataclass(slots=True)
class Outcomes:
    """The outcomes of the coordinates of one ledger.

    Outcomes of other coordinates (another run, another sender) are only counted, in ``foreign``.

    Attributes:
        seen: the first outcome of each coordinate.
        repeated: coordinates with more than one outcome, and the outcomes after the first.
        alerted: coordinates whose decision is an alert.
        problems: dead letters without their record's exact bytes, or with an unexpected reason.
    """

    ledger: SentLedger
    topic: str
    fates: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seen: ByteMap = field(default_factory=ByteMap)
    repeated: list[tuple[Coordinate, str]] = field(default_factory=list)
    alerted: set[Coordinate] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    incidents: int = 0
    degraded: int = 0
    foreign: int = 0
    alerts_decided: set[AlertKey] = field(default_factory=set)
    alerts_sent: Counter[AlertKey] = field(default_factory=Counter)
    _decided_ids: set[int] = field(default_factory=set)
    repeated_transactions: int = 0

    def add_decision(self, document: DecisionDocument) -> None:
        """Add one decision."""
        source = document["source"]
        at = self._ours(source["topic"], source["partition"], source["offset"])
        if at is None:
            return
        self._enter(at, Fate.DECIDED)
        identity = hash((document["customer_id"], document["transaction_id"]))
        if identity in self._decided_ids:
            self.repeated_transactions += 1
        self._decided_ids.add(identity)
        if document["model"] == "degraded":
            self.degraded += 1
        if document["is_alert"]:
            self.alerted.add(at)
            self.alerts_decided.add(_alert_key(document))

    def add_letter(self, document: DeadLetterDocument) -> None:
        """Add one dead letter."""
        at = self._ours(document["topic"], document["partition"], document["offset"])
        if at is None:
            return
        if document["disposition"] == Disposition.INCIDENT:
            self.incidents += 1
            return
        self._enter(at, FATE_OF_DISPOSITION[document["disposition"]])
        self.reasons[document["reason"]] += 1
        expected = self.ledger.letters.get(at)
        if expected is not None and document["disposition"] == Disposition.REJECTED:
            where = f"{self.topic}-{at[0]}@{at[1]} ({expected.fault})"
            if document["reason"] != expected.reason:
                self.problems.append(f"{where}: reason {document['reason']}, expected {expected.reason}")
            if not keeps_bytes(document, expected.sha256, expected.length):
                self.problems.append(f"{where}: the dead letter does not keep the record's bytes")

    def add_alert(self, document: AlertDocument) -> None:
        """Add one alert; an alert has no coordinate, but the ids and the time of scoring of its decision.

        After a failure, a record is scored again: its first alert, without a decision of the same time, stays.
        """
        self.alerts_sent[_alert_key(document)] += 1

    def alerts_repeated(self) -> set[TransactionKey]:
        """Return the transactions whose decision is an alert that is on its topic more than once."""
        times: Counter[TransactionKey] = Counter()
        for alert, count in self.alerts_sent.items():
            times[alert[:2]] += count
        return {alert[:2] for alert in self.alerts_decided if times[alert[:2]] > 1}

    def alerts_withdrawn(self) -> set[TransactionKey]:
        """Return the transactions with an alert whose decision is no alert."""
        alerted = {alert[:2] for alert in self.alerts_decided}
        others = {alert[:2] for alert in self.alerts_sent} - alerted
        return {key for key in others if hash(key) in self._decided_ids}

    def _ours(self, topic: str, partition: int, offset: int) -> Coordinate | None:
        at = (partition, offset)
        if topic != self.topic or self.ledger.expected.get(at) == NOTHING:
            self.foreign += 1
            return None
        return at

    def _enter(self, at: Coordinate, fate: Fate) -> None:
        self.fates[fate.value] += 1
        if self.seen.get(at) == NOTHING:
            self.seen.set(at, FATE_CODE[fate])
        else:
            self.repeated.append((at, fate.value))

    @property
    def answered(self) -> int:
        """Return the number of outcomes; it equals the number of sent records if none is missing or repeated."""
        return sum(self.fates.values())


def _alert_key(document: DecisionDocument | AlertDocument) -> AlertKey:
    return document["customer_id"], document["transaction_id"], document["processing_time_ms"]


def keeps_bytes(letter: DeadLetterDocument, sha256: str, length: int) -> bool:
    """Return whether a dead letter holds the payload of this digest and length, byte for byte unless truncated."""
    if letter["payload_sha256"] != sha256 or letter["payload_length"] != length:
        return False
    kept = letter_payload(letter)
    if letter["payload_truncated"]:
        return 0 < len(kept) < length
    return len(kept) == length and hashlib.sha256(kept).hexdigest() == sha256


def output_ends(broker: Broker, prefix: str) -> dict[Position, int]:
    """Return the end offsets of the output topics; a reader that starts there skips the outcomes of earlier runs."""
    with CommittedReader(broker, [topic_name(prefix, suffix) for suffix in OUTPUTS]) as reader:
        return reader.end_offsets()


class OutcomeReader:
    """Follows the output topics and adds their documents to ``Outcomes``."""

    def __init__(
        self, broker: Broker, prefix: str, ledger: SentLedger, start: Mapping[Position, int] | None = None
    ) -> None:
        """Connect to ``.decisions``, ``.alerts`` and ``.dlq``, at the given offsets or at the beginning."""
        self._add: dict[str, Callable[[Outcomes, Any], None]] = {
            topic_name(prefix, "decisions"): Outcomes.add_decision,
            topic_name(prefix, "alerts"): Outcomes.add_alert,
            topic_name(prefix, "dlq"): Outcomes.add_letter,
        }
        self.outcomes = Outcomes(ledger, topic_name(prefix, "transactions"))
        self._reader = CommittedReader(broker, list(self._add), start)

    def read(self) -> Outcomes:
        """Add every record committed by now and return the outcomes so far."""
        for record in self._reader.read_to_end():
            self.add(record)
        return self.outcomes

    def add(self, record: Record) -> None:
        """Add one record of an output topic."""
        self._add[record.topic](self.outcomes, orjson.loads(record.value or b"null"))

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
