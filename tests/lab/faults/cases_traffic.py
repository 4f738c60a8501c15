"""Cases with extreme traffic, and with topics that change while the jobs run."""

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
from tests.lab.faults.fault_case import FaultCase
from tests.lab.faults.system_under_test import PairPlan
from tests.stack_control import flink_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flink_jobs.cards.card_files import SourceEvent
    from tests.lab.faults.trial import Trial

EVENTS = 2_000
HOUR_MS = 3_600_000
MIB = 2**20
LARGE_BYTES = 50 * MIB


def changed(event: SourceEvent, **fields: object) -> SourceEvent:
    """Return a copy of an event with some fields replaced."""
    return replace(event, transaction={**event.transaction, **fields})


def on_shared_jobs(trial: Trial, records: Iterable[Outgoing]) -> None:
    """Send records to the shared jobs and reconcile the ledger; no job may restart."""
    with trial.system.pair() as pair:
        trial.on(pair)
        trial.send(records)
        trial.settle()
        trial.expect_restarts(0, 0)


def garbage(trial: Trial) -> None:
    """Send malformed records of every kind, then valid ones, which must be scored."""
    rng = Random(trial.seed)  # noqa: S311 - repeatable, no secret
    weights = [kind.weight for kind in MALFORMED_KINDS]
    events = trial.events(EVENTS)
    bad = [malformed(rng.choices(MALFORMED_KINDS, weights)[0], event, rng) for event in events]
    good = [encode(event) for event in events[:100]]
    on_shared_jobs(trial, [*bad, *good])
    trial.expect(len(trial.ledger.faults) == len(MALFORMED_KINDS), "every malformed kind was sent")
    trial.note(f"{len(trial.ledger.reasons)} reasons, then 100 valid events scored")


def hot_key(trial: Trial) -> None:
    """Send traffic of which one customer makes half."""
    hot = trial.events(1)[0].transaction["customer_id"]
    events = [
        changed(event, customer_id=hot) if number % 2 else event
        for number, event in enumerate(trial.events(2 * EVENTS))
    ]
    on_shared_jobs(trial, map(encode, events))
    decided = sum(item["customer_id"] == hot for item in trial.documents("decisions"))
    trial.expect(decided >= EVENTS, "half of the decisions belong to the one customer")
    trial.note(f"{decided:,} decisions of one customer, in order")


def clock_jump(trial: Trial) -> None:
    """Send event times 23 h ahead, then 25 h ahead, then in the past."""
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
    trial.expect(behind, "events after the jump back are scored and marked as out of order")
    trial.note(f"23 h ahead is scored, 25 h ahead is rejected; {len(behind)} scored out of order")


def schema_change(trial: Trial) -> None:
    """Send records with added fields, then with a renamed required field, then with the original fields."""
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
    trial.note("records with added fields are scored, those with the renamed field are MISSING_FIELD dead letters")


def duplicate_flood(trial: Trial) -> None:
    """Send every event nine more times, like a producer that retries."""
    on_shared_jobs(trial, with_faults(trial.events(EVENTS // 4), FaultPlan(duplicates=0.9, seed=trial.seed)))
    trial.expect(trial.ledger.fates["duplicate"] > 5 * trial.ledger.fates["decided"], "there were many duplicates")


def out_of_order(trial: Trial) -> None:
    """Send days of traffic in random order."""
    events = trial.events(EVENTS)
    Random(trial.seed).shuffle(events)  # noqa: S311 - repeatable, no secret
    on_shared_jobs(trial, map(encode, events))
    late = [item["out_of_order_ms"] / HOUR_MS for item in trial.documents("decisions")]
    trial.expect(max(late) > 10, "some events were more than 10 h late")
    trial.note(f"{sum(one > 1 for one in late):,} scored more than an hour late, at most {max(late):,.0f} h")


def idle_partition(trial: Trial) -> None:
    """Send all traffic to one partition; the idle partitions must not hold back event time."""
    with trial.system.pair() as pair:
        trial.on(pair)
        first_ms = time.time_ns() // 1_000_000
        trial.send(map(encode, trial.events(300, customers=1)))
        trial.settle()
        rest = trial.system.rest
        vertex = next(item for item in rest.details(pair.detect)["vertices"] if DETECTOR in item["name"])
        metric = "0.fraud_detector.currentOutputWatermark"

        def follows() -> bool:
            answer = flink_metrics(rest, f"/jobs/{pair.detect}/vertices/{vertex['id']}", [metric])
            return answer.get(metric, 0.0) >= first_ms - 6_000  # the source allows five seconds of disorder

        wait_for(follows, limit_s=400, what="the watermark to pass the idle partitions")
        trial.expect(len({at[0] for at in trial.ledger.expected.coordinates()}) == 1, "only one partition has records")
        trial.expect_restarts(0, 0)
        trial.note("the watermark passed the three idle partitions")


def large_message(trial: Trial) -> None:
    """Send a message above the contract's limit, which the broker rejects; with a higher limit it is a dead letter."""
    with trial.system.pair(PairPlan()) as pair:
        trial.on(pair)
        event = trial.events(1)[0]
        record = replace(
            encode(changed(event, note="x" * LARGE_BYTES)), fate=Fate.REJECTED, fault="oversize", label=None,
            reason=DeadLetterReason.OVERSIZE.value,
        )  # fmt: skip
        refused = _send_large(trial, record)
        trial.expect(isinstance(refused, MessageSizeTooLargeError), "the broker rejects it under the topic's contract")
        topic = ConfigResource(
            ConfigResourceType.TOPIC, pair.transactions, {"max.message.bytes": str(LARGE_BYTES + MIB)}
        )
        with admin(trial.system.broker, timeout_s=30.0) as client:
            client.alter_configs([topic])
        trial.send(map(encode, trial.events(200)[1:]))
        accepted = _send_large(trial, record)
        trial.expect(accepted is None, f"the broker accepts it with a higher max.message.bytes ({accepted})")
        trial.send(map(encode, trial.events(400)[200:]))
        trial.strike("rejected under the contract; accepted with a higher max.message.bytes")
        trial.recovered(pair.detect)
        trial.settle()
        trial.expect_restarts(0, 0)


def _send_large(trial: Trial, record: Outgoing) -> KafkaError | None:
    """Send a record of any size; return the broker's error, or None if it accepted the record."""
    producer = KafkaProducer(
        bootstrap_servers=trial.system.broker.servers,
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
    """Add partitions while the jobs run; some customers move to the new partitions."""
    with trial.system.pair(PairPlan()) as pair:
        trial.on(pair)
        events = trial.events(EVENTS)
        trial.send(map(encode, events[: EVENTS // 2]))
        with admin(trial.system.broker, timeout_s=30.0) as client:
            before = len(client.describe_topics([pair.transactions])[0]["partitions"])
            client.create_partitions({pair.transactions: before + 2})
        trial.strike(f"{before} partitions became {before + 2}")
        trial.send(map(encode, events[EVENTS // 2 :]))
        used = {at[0] for at in trial.ledger.expected.coordinates()}
        trial.expect(max(used) >= before, "the new partitions have records")
        trial.settle()
        trial.result.recovery_s = trial.since_fault_s()
        trial.expect_restarts(0, 0)
        trial.note("the job looks for new partitions once a minute, which is the recovery time")


CASES = (
    FaultCase(
        "garbage", "malformed records only, of every kind", "one dead letter each, with reason and bytes", garbage,
    ),
    FaultCase("hot-key", "one customer makes half of the traffic", "scored in order like all others", hot_key),
    FaultCase(
        "clock-jump", "event times jump 23 h ahead, 25 h ahead, and back to the past",
        "up to 24 h ahead: scored; beyond: EVENT_TIME_IN_FUTURE", clock_jump,
    ),
    FaultCase(
        "schema-change", "fields added, then a required one renamed, then rolled back",
        "added fields: scored; renamed field: MISSING_FIELD dead letter", schema_change,
    ),
    FaultCase(
        "duplicate-flood", "every event nine more times", "scored once, each copy a counted duplicate",
        duplicate_flood,
    ),
    FaultCase("out-of-order", "days of traffic shuffled", "all scored and marked with their lateness", out_of_order),
    FaultCase("idle-partition", "all traffic in one of four partitions", "event time advances", idle_partition),
)  # fmt: skip

OWN_CASES = (
    FaultCase(
        "large-message", "a message of 50 MB",
        "the broker rejects it; with a higher limit it is an OVERSIZE dead letter", large_message,
    ),
    FaultCase(
        "partition-added", "two partitions added to the transactions topic while records arrive",
        "the job finds them and reads them from their first record", partition_added,
    ),
)  # fmt: skip
