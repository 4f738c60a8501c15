"""The detector's side of the account: which coordinate got which outcome, as far as the output topics say."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import orjson

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.dead_letters.letter import letter_payload
from flink_jobs.core.documents import DeadLetterDocument
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader, Position, Record
from flink_jobs.kafka.outgoing import Fate
from flink_jobs.traffic.ledger import FATE_CODE, NOTHING, ByteMap, Coordinate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flink_jobs.traffic.ledger import SentLedger

AlertKey = tuple[str, str, int]  # customer, transaction, time of scoring
OUTPUTS = ("decisions", "alerts", "dlq")
FATE_OF_DISPOSITION = {"rejected": Fate.REJECTED, "duplicate": Fate.DUPLICATE}


@dataclass(slots=True)
class Outcomes:
    """What the output topics hold about the coordinates of one ledger.

    Records about coordinates outside the ledger (another run, another sender) are counted in ``foreign`` only.

    Attributes:
        seen: the first outcome of each coordinate.
        repeated: coordinates that got more than one outcome, with the outcomes after the first.
        alerted: coordinates whose decision is an alert.
        problems: dead letters that do not keep their record's bytes or name another reason than expected.
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

    def add_decision(self, document: Mapping[str, Any]) -> None:
        """Enter one decision."""
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

    def add_letter(self, document: Mapping[str, Any]) -> None:
        """Enter one dead letter."""
        at = self._ours(document["topic"], document["partition"], document["offset"])
        if at is None:
            return
        if document["disposition"] == "incident":
            self.incidents += 1
            return
        self._enter(at, FATE_OF_DISPOSITION[document["disposition"]])
        self.reasons[document["reason"]] += 1
        expected = self.ledger.letters.get(at)
        if expected is not None and document["disposition"] == "rejected":
            where = f"{self.topic}-{at[0]}@{at[1]} ({expected.fault})"
            if document["reason"] != expected.reason:
                self.problems.append(f"{where}: reason {document['reason']}, expected {expected.reason}")
            if not keeps_bytes(document, expected.sha256, expected.length):
                self.problems.append(f"{where}: the dead letter does not keep the record's bytes")

    def add_alert(self, document: Mapping[str, Any]) -> None:
        """Enter one alert; it has no coordinate, but shares ids and the time of scoring with its decision."""
        self.alerts_sent[_alert_key(document)] += 1

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
        """Return how many outcomes were entered; with none missing and none repeated it equals what was sent."""
        return sum(self.fates.values())


def _alert_key(document: Mapping[str, Any]) -> AlertKey:
    return document["customer_id"], document["transaction_id"], document["processing_time_ms"]


def keeps_bytes(letter: Mapping[str, Any], sha256: str, length: int) -> bool:
    """Tell whether a dead letter keeps a payload of this digest and length, byte for byte unless truncated."""
    if letter["payload_sha256"] != sha256 or letter["payload_length"] != length:
        return False
    kept = letter_payload(cast("DeadLetterDocument", letter))
    if letter["payload_truncated"]:
        return 0 < len(kept) < length
    return len(kept) == length and hashlib.sha256(kept).hexdigest() == sha256


def output_ends(broker: Broker, prefix: str) -> dict[Position, int]:
    """Return where the output topics end now: a reader that starts there skips the outcomes of earlier runs."""
    with CommittedReader(broker, [topic_name(prefix, suffix) for suffix in OUTPUTS]) as reader:
        return reader.end_offsets()


class OutcomeReader:
    """Follows the output topics and enters what it reads into `Outcomes`."""

    def __init__(
        self, broker: Broker, prefix: str, ledger: SentLedger, start: Mapping[Position, int] | None = None
    ) -> None:
        """Connect; reading starts at ``start``, or at the beginning of ``.decisions``, ``.alerts`` and ``.dlq``."""
        self._enter = {
            topic_name(prefix, "decisions"): Outcomes.add_decision,
            topic_name(prefix, "alerts"): Outcomes.add_alert,
            topic_name(prefix, "dlq"): Outcomes.add_letter,
        }
        self.outcomes = Outcomes(ledger, topic_name(prefix, "transactions"))
        self._reader = CommittedReader(broker, list(self._enter), start)

    def read(self) -> Outcomes:
        """Enter everything committed by now and return the account so far."""
        for record in self._reader.read_to_end():
            self.add(record)
        return self.outcomes

    def add(self, record: Record) -> None:
        """Enter one record of an output topic."""
        self._enter[record.topic](self.outcomes, orjson.loads(record.value or b"null"))

    def close(self) -> None:
        """Close the connection."""
        self._reader.close()
