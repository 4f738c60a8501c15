"""Traffic that no one would send, and topics that change under the running jobs."""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError, MessageSizeTooLargeError

from flink_jobs.core.parsing.transactions import MAX_CLOCK_SKEW_MS
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.kafka.outgoing import Fate, Outgoing, encode
from flink_jobs.kafka.topics import admin
from flink_jobs.traffic.faults import FaultPlan, malformed, with_faults
from flink_jobs.traffic.malformed import MALFORMED_KINDS
from flink_jobs.waiting import wait_for
from tests.lab.faults.cases_processes import DETECTOR
from tests.lab.faults.fault_stack import PairPlan
from tests.lab.faults.finding import Case

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flink_jobs.cards.card_files import SourceEvent
    from tests.lab.faults.trial import Trial

EVENTS = 2_000
HOUR_MS = 3_600_000
MIB = 2**20
LARGE_BYTES = 50 * MIB


def changed(event: SourceEvent, **fields: object) -> SourceEvent:
    """Return an event with other values in some fields."""
    return replace(event, transaction={**event.transaction, **fields})


def on_shared_jobs(trial: Trial, records: Iterable[Outgoing]) -> None:
    """Send records to the shared jobs and settle; none of it may restart a job."""
    with trial.lab.pair() as pair:
        trial.on(pair)
        trial.send(records)
        trial.settle()
        trial.expect_restarts(0, 0)


def garbage(trial: Trial) -> None:
    """Nothing but garbage, of every kind; the first good events after it are decided."""
    rng = Random(trial.seed)  # noqa: S311 - repeatable, no secret
    weights = [kind.weight for kind in MALFORMED_KINDS]
    events = trial.events(EVENTS)
    bad = [malformed(rng.choices(MALFORMED_KINDS, weights)[0], event, rng) for event in events]
    good = [encode(event) for event in events[:100]]
    on_shared_jobs(trial, [*bad, *good])
    trial.expect(len(trial.ledger.faults) == len(MALFORMED_KINDS), "every kind of garbage was sent")
    trial.note(f"{len(trial.ledger.reasons)} reasons, then 100 good events decided")


def hot_key(trial: Trial) -> None:
    """Half of the traffic is one customer's."""
    hot = trial.events(1)[0].transaction["customer_id"]
    events = [
        changed(event, customer_id=hot) if number % 2 else event
        for number, event in enumerate(trial.events(2 * EVENTS))
    ]
    on_shared_jobs(trial, map(encode, events))
    decided = sum(item["customer_id"] == hot for item in trial.documents("decisions"))
    trial.expect(decided >= EVENTS, "half of the decisions are the one customer's")
    trial.note(f"{decided:,} decisions of one customer, in order")


def clock_jump(trial: Trial) -> None:
    """A sender's clock jumps ahead of ours, too far, and back into the past."""
    events = trial.events(EVENTS)
    now_ms = time.time_ns() // 1_000_000
    part = len(events) // 4
    ahead_ms = MAX_CLOCK_SKEW_MS - HOUR_MS
    records = [encode(event) for event in events[:part]]
    for number, event in enumerate(events[part : 2 * part]):
        records.append(encode(changed(event, event_time_ms=now_ms + ahead_ms + number)))
    for number, event in enumerate(events[2 * part : 3 * part]):
        too_far = changed(event, event_time_ms=now_ms + MAX_CLOCK_SKEW_MS + HOUR_MS + number)
        reason = DeadLetterReason.EVENT_TIME_IN_FUTURE.value
        records.append(replace(encode(too_far), fate=Fate.REJECTED, reason=reason, fault="clock", label=None))
    records += [encode(event) for event in events[3 * part :]]
    on_shared_jobs(trial, records)
    behind = [item for item in trial.documents("decisions") if item["out_of_order_ms"]]
    trial.expect(behind, "events after the jump back are decided, and marked as out of order")
    trial.note(f"23 h ahead is decided, 25 h is not; {len(behind)} decided behind their customer's clock")


def schema_change(trial: Trial) -> None:
    """A producer is upgraded twice: fields are added, then one is renamed; then it is rolled back."""
    events = trial.events(EVENTS)
    part = len(events) // 4
    records = [encode(event) for event in events[:part]]
    extra = {"terminal": {"id": 17, "firmware": [1, 2]}, "schema": 2, "loyalty": None}
    records += [encode(changed(event, **extra)) for event in events[part : 2 * part]]
    for event in events[2 * part : 3 * part]:
        renamed = {("amount" if name == "amount_minor" else name): value for name, value in event.transaction.items()}
        record = encode(replace(event, transaction=renamed))
        reason = DeadLetterReason.MISSING_FIELD.value
        records.append(replace(record, fate=Fate.REJECTED, reason=reason, fault="renamed", label=None))
    records += [encode(event) for event in events[3 * part :]]
    on_shared_jobs(trial, records)
    trial.note("added fields are decided, the renamed field is a MISSING_FIELD letter, the rollback is decided")


def duplicate_flood(trial: Trial) -> None:
    """A producer that retries everything nine times."""
    on_shared_jobs(trial, with_faults(trial.events(EVENTS // 4), FaultPlan(duplicates=0.9, seed=trial.seed)))
    trial.expect(trial.ledger.fates["duplicate"] > 5 * trial.ledger.fates["decided"], "it was a flood")


def out_of_order(trial: Trial) -> None:
    """Hours of traffic in no order at all."""
    events = trial.events(EVENTS)
    Random(trial.seed).shuffle(events)  # noqa: S311 - repeatable, no secret
    on_shared_jobs(trial, map(encode, events))
    late = [item["out_of_order_ms"] / HOUR_MS for item in trial.documents("decisions")]
    trial.expect(max(late) > 10, "some came hours late")
    trial.note(f"{sum(one > 1 for one in late):,} decided more than an hour late, at most {max(late):,.0f} h")


def idle_partition(trial: Trial) -> None:
    """All traffic in one partition: the silent ones must not hold back event time."""
    with trial.lab.pair() as pair:
        trial.on(pair)
        first_ms = time.time_ns() // 1_000_000
        trial.send(map(encode, trial.events(300, customers=1)))
        trial.settle()
        rest = trial.lab.rest
        vertex = next(item for item in rest.details(pair.detect)["vertices"] if DETECTOR in item["name"])
        metric = "0.fraud_detector.currentOutputWatermark"

        def follows() -> bool:
            answer = rest.metrics(f"/jobs/{pair.detect}/vertices/{vertex['id']}", [metric])
            return answer.get(metric, 0.0) >= first_ms - 6_000  # five seconds of disorder are allowed for

        wait_for(follows, limit_s=90, what="the watermark to pass the idle partitions")
        trial.expect(len({at[0] for at in trial.ledger.expected.coordinates()}) == 1, "one partition was written to")
        trial.expect_restarts(0, 0)
        trial.note("the watermark passed the three silent partitions")


def large_message(trial: Trial) -> None:
    """As the contract has it the broker refuses it; where somebody raised the limit, it is a dead letter."""
    with trial.lab.pair(PairPlan()) as pair:
        trial.on(pair)
        event = trial.events(1)[0]
        record = replace(
            encode(changed(event, note="x" * LARGE_BYTES)), fate=Fate.REJECTED, fault="oversize", label=None,
            reason=DeadLetterReason.OVERSIZE.value,
        )  # fmt: skip
        refused = _send_large(trial, record)
        trial.expect(isinstance(refused, MessageSizeTooLargeError), "the broker refuses it under the topic's contract")
        topic = ConfigResource(
            ConfigResourceType.TOPIC, pair.transactions, {"max.message.bytes": str(LARGE_BYTES + MIB)}
        )
        with admin(trial.lab.broker, timeout_s=30.0) as client:
            client.alter_configs([topic])
        trial.send(map(encode, trial.events(200)[1:]))
        accepted = _send_large(trial, record)
        trial.expect(accepted is None, f"the broker takes it once max.message.bytes is raised ({accepted})")
        trial.send(map(encode, trial.events(400)[200:]))
        trial.strike("refused under the contract; with max.message.bytes raised it is taken")
        trial.recovered(pair.detect)
        trial.settle()
        trial.expect_restarts(0, 0)


def _send_large(trial: Trial, record: Outgoing) -> KafkaError | None:
    """Send a record of any size; return what the broker said against it."""
    producer = KafkaProducer(
        bootstrap_servers=trial.lab.broker.servers,
        max_request_size=2 * LARGE_BYTES,
        request_timeout_ms=60_000,
        retries=3,
    )
    try:
        landed = producer.send(trial.pair.transactions, value=record.value, key=record.key).get(timeout=120)
    except KafkaError as error:
        return error
    finally:
        producer.close(timeout=10)
    trial.enter(record, landed.partition, landed.offset)
    return None


def partition_added(trial: Trial) -> None:
    """Customers move to partitions that did not exist when the job started."""
    with trial.lab.pair(PairPlan()) as pair:
        trial.on(pair)
        events = trial.events(EVENTS)
        trial.send(map(encode, events[: EVENTS // 2]))
        with admin(trial.lab.broker, timeout_s=30.0) as client:
            before = len(client.describe_topics([pair.transactions])[0]["partitions"])
            client.create_partitions({pair.transactions: before + 2})
        trial.strike(f"{before} partitions became {before + 2}")
        trial.send(map(encode, events[EVENTS // 2 :]))
        used = {at[0] for at in trial.ledger.expected.coordinates()}
        trial.expect(max(used) >= before, "the new partitions are written to")
        trial.settle()
        trial.finding.recovery_s = trial.since_fault_s()
        trial.expect_restarts(0, 0)
        trial.note("the job looks for new partitions once a minute: that is the recovery")


CASES = (
    Case("garbage", "100 % garbage, every kind", "a dead letter with its reason and bytes for each", garbage),
    Case("hot-key", "one customer makes half of the traffic", "decided in order like all others", hot_key),
    Case(
        "clock-jump", "event times jump 23 h ahead, 25 h ahead, and back to the past",
        "within a day: decided; beyond: EVENT_TIME_IN_FUTURE", clock_jump,
    ),
    Case(
        "schema-change", "fields added, then a required one renamed, then rolled back",
        "additions are decided, the renamed field is a MISSING_FIELD letter", schema_change,
    ),
    Case(
        "duplicate-flood", "every event nine times again", "decided once, each copy a counted duplicate",
        duplicate_flood,
    ),
    Case("out-of-order", "days of traffic shuffled", "all decided, marked with how late they are", out_of_order),
    Case("idle-partition", "all traffic in one of four partitions", "event time goes on", idle_partition),
)  # fmt: skip

OWN_CASES = (
    Case(
        "large-message", "a message of 50 MB",
        "the broker refuses it; with the limit raised it is an OVERSIZE letter", large_message,
    ),
    Case(
        "partition-added", "two partitions added to the transactions topic in mid-stream",
        "found and read from their first record", partition_added,
    ),
)  # fmt: skip
