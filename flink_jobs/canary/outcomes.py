"""Reads the outcomes of a detector job from its topics: decisions and dead letters, by the record they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from kafka import TopicPartition
from kafka.errors import KafkaError

from flink_jobs.canary.comparison import DECISION, Outcome, Place
from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import UserError
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.retries import retried
from flink_jobs.kafka.topics import admin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flink_jobs.kafka.broker import Broker
    from flink_jobs.kafka.consumer import Position

OUTPUTS: Final = ("decisions", "dlq")
MOST: Final = 500_000
"""Number of outcomes of each job that are read; about 300 MB of memory."""


def read_outcomes(
    broker: Broker, prefix: str, transactions: str, start: Mapping[Position, int] | None = None
) -> dict[Place, Outcome]:
    """Return the committed outcomes of a detector job, at most ``MOST``. A record with two outcomes counts once.

    Args:
        broker: the cluster and the account.
        prefix: of the topics that the job writes to.
        transactions: full name of the topic that the job reads.
        start: first offset of each partition of the output topics; default: all records.

    Raises:
        UserError: the broker does not answer, or a topic does not exist.
    """
    found: dict[Place, Outcome] = {}
    with CommittedReader(broker, [topic_name(prefix, suffix) for suffix in OUTPUTS], start) as reader:
        for record in reader.read_to_end():
            read = outcome_of(orjson.loads(record.value), transactions) if record.value is not None else None
            if read is not None:
                found[read[0]] = read[1]
            if len(found) >= MOST:
                break
    return found


def outcome_of(document: dict[str, Any], transactions: str) -> tuple[Place, Outcome] | None:
    """Return the outcome of a decision or dead letter; ``None`` if it is not the outcome of a transaction."""
    if "score" in document:
        source = document["source"]
        settings = (document["config_revision"], str(document.get("actions")))
        outcome = Outcome(
            DECISION,
            document["processing_time_ms"],
            document["transaction_id"],
            document["score"],
            is_alert=document["is_alert"],
            reasons=tuple(reason["code"] for reason in document["reasons"]),
            settings=settings,
        )
        return (source["partition"], source["offset"]), outcome
    # An incident is reported beside the decision on its record.
    if document["topic"] != transactions or document["disposition"] == "incident":
        return None
    letter = Outcome(document["reason"], document["processing_time_ms"])
    return (document["partition"], document["offset"]), letter


def offsets_at(broker: Broker, prefix: str, time_ms: int) -> dict[Position, int]:
    """Return, for each partition of a job's output topics, the offset of the first record of this time or later.

    Raises:
        UserError: the broker does not answer.
    """
    try:
        with (
            CommittedReader(broker, [topic_name(prefix, suffix) for suffix in OUTPUTS]) as reader,
            admin(broker) as client,
        ):
            ends = reader.end_offsets()
            wanted = {TopicPartition(*place): time_ms for place in ends}
            at = retried(lambda: client.list_partition_offsets(wanted))
    except KafkaError as cause:
        what = f"the broker at {broker} did not return its offsets ({type(cause).__name__})"
        raise UserError(what, "see `streamflow status`, and try again") from None
    found = {place: at[TopicPartition(*place)].offset for place in ends}
    return {place: ends[place] if offset < 0 else offset for place, offset in found.items()}
