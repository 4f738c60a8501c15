"""Reads the outputs of an engine: append times, and a digest that shows whether the decisions are correct."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.waiting import WaitTimeoutError, wait_for

if TYPE_CHECKING:
    from flink_jobs.kafka.consumer import Record


@dataclass(frozen=True, slots=True)
class Written:
    """The committed outputs of a run: one decision or one dead letter for every event."""

    appended_ms: list[int]
    decisions: int
    digest: str
    """Digest of all transaction ids and scores; engines that did the same work have the same digest."""


class WrongOutputError(Exception):
    """An engine lost or duplicated an output, or its decisions differ from those of the evaluator."""


def read_written(broker: Broker, prefix: str, events: int, *, limit_s: float = 60.0) -> Written:
    """Wait for one committed output per published event and return the outputs.

    Raises:
        WrongOutputError: there are too few outputs after ``limit_s`` seconds, or too many.
    """
    decisions_topic = topic_name(prefix, "decisions")
    found: list[Record] = []
    with CommittedReader(broker, [decisions_topic, topic_name(prefix, "dlq")]) as reader:

        def complete() -> bool:
            found.extend(reader.read_to_end())
            return len(found) >= events

        try:
            wait_for(complete, limit_s=limit_s, what=f"{events} outputs", interval_s=0.5)
        except WaitTimeoutError:
            raise WrongOutputError(f"{len(found)} outputs of {events} events under {prefix}") from None
    if len(found) != events:
        raise WrongOutputError(f"{len(found)} outputs of {events} events under {prefix}")
    decided = [record.value for record in found if record.topic == decisions_topic]
    return Written([record.timestamp_ms for record in found], len(decided), digest(decided))


def require_equal(written: Written, expected: str, engine: str) -> None:
    """Compare the decisions of an engine with those of the evaluator, by their digests.

    Raises:
        WrongOutputError: the digests differ.
    """
    if written.digest != expected:
        raise WrongOutputError(f"{engine}: decisions differ from those of the evaluator, so its rate is not valid")


def digest(decisions: list[bytes | None]) -> str:
    """Return a digest of the ids and scores of decisions; it does not depend on their order."""
    documents = (orjson.loads(body or b"null") for body in decisions)
    lines = sorted(f"{document['transaction_id']} {document['score']!r}" for document in documents)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
