"""Completeness: the offsets that the detector has read and that have no row in raw, also counted in Python."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, cast

import orjson
import psycopg
import pytest
from confluent_kafka import Producer
from psycopg import sql

from flink_jobs.core.decision import build_alert
from flink_jobs.job.archiver.tables import ARCHIVE_OF
from flink_jobs.kafka.consumer import Record
from flink_jobs.kafka.positions import READERS, PartitionPosition, committed_offsets, read_positions, waiting_records
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.waiting import wait_for
from flink_jobs.warehouse.backlog import without_row
from flink_jobs.warehouse.completeness import OffsetRange, compare, without_records
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.partitions import expire_rows
from flink_jobs.warehouse.paths import MIGRATIONS, QUALITY_CHECKS
from flink_jobs.warehouse.queries import ask, read_sql_files
from tests.account_samples import action
from tests.integration import jobs
from tests.integration.decided_cards import TOPIC, DecidedCards, Document, archive, decide, label_of, upsert

if TYPE_CHECKING:
    from flink_jobs.core.documents import DecisionDocument

pytestmark = pytest.mark.stack


def test_missing_rows_are_counted_by_offset(fresh_database: Settings) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    cards = decide(300)
    archive(dsn, cards)
    with psycopg.connect(dsn) as connection:  # delete the rows of twenty offsets, including the first ones
        for table in ("decisions", "dead_letters"):
            lost = sql.SQL("DELETE FROM raw.{} WHERE source_offset < 5 OR source_offset BETWEEN 50 AND 64")
            connection.execute(lost.format(sql.Identifier(table)))
    all_offsets = {decision["source"]["offset"] for decision in cards.decisions}
    all_offsets |= {letter["offset"] for letter in cards.dlq if letter["disposition"] != "incident"}
    end = max(all_offsets) + 1
    assert all_offsets == set(range(end)), "every record has an outcome before the deletion"
    left = {offset for offset in all_offsets if offset >= 5 and not 50 <= offset <= 64}

    def missing(first: int, read: int | None, partition: int = 0) -> int | None:
        asked = [PartitionPosition(TOPIC, partition, first, end + 9, read, 0), PartitionPosition("x", 0, 0, 3, 3, 0)]
        found, other = compare(dsn, asked, TOPIC)
        assert other.missing is None
        return found.missing

    for first, read in ((0, end), (0, 60), (30, end), (55, 62), (60, end), (0, end + 7), (end, end)):
        begin = max(first, min(left))  # offsets before the first row are not checked
        assert missing(first, read) == len(set(range(begin, read)) - left), (first, read)
    assert missing(0, None) == 0, "a job that has read nothing misses no row"
    assert missing(10, 25, partition=7) == 15, "a partition without rows misses all of them"
    with psycopg.connect(dsn) as connection:
        kept = connection.execute("SELECT topic, partition, missing FROM ops.kafka_positions ORDER BY 1, 2").fetchall()
    assert kept == [(TOPIC, 0, 0), (TOPIC, 7, 15), ("x", 0, None)]


def test_a_redelivery_that_was_decided_again_and_offsets_without_a_record_are_not_missing(
    fresh_database: Settings,
) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    cards = decide(300)
    archive(dsn, cards)
    outcomes = {decision["source"]["offset"] for decision in cards.decisions}
    end = max(outcomes | {letter["offset"] for letter in cards.dlq}) + 1

    def at(decision: Document, offset: int) -> Document:
        return {**decision, "source": {**decision["source"], "offset": offset}}

    # Offsets end to end + 9: five redeliveries, two of one transaction in one batch; then a marker; then three more.
    first = cards.decisions[0]
    again = [at(first, end), at(first, end + 1), *(at(row, end + 2 + n) for n, row in enumerate(cards.decisions[1:4]))]
    archive(dsn, DecidedCards(decisions=again))
    archive(dsn, DecidedCards(decisions=again))  # the archive repeats a batch after a failure
    later = [at(row, end + 6 + n) for n, row in enumerate(cards.decisions[4:7])]
    archive(dsn, DecidedCards(decisions=later))
    position = [PartitionPosition(TOPIC, 0, 0, end + 9, end + 9, 0)]

    (unread,) = compare(dsn, position, TOPIC)
    assert unread.missing == 1, "without a look at Kafka, the marker's offset counts as missing"
    assert unread.decided_again == 8
    (read,) = compare(dsn, position, TOPIC, lambda _: set())
    assert (read.missing, read.without_record, read.is_complete) == (0, 1, True)
    (known,) = compare(dsn, position, TOPIC)
    assert (known.missing, known.without_record) == (0, 1), "the finding is kept"
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM raw.decisions WHERE source_offset IN (%s, %s)", (end + 1, end + 7))
    (lost,) = compare(dsn, position, TOPIC, lambda ranges: {(item.partition, item.first) for item in ranges})
    assert lost.missing == 2, "rows deleted by hand are found, also where their transaction was decided twice"


def test_rows_that_retention_has_deleted_are_not_missing(fresh_database: Settings) -> None:
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    cards = decide(300)
    end = max(row["source"]["offset"] for row in cards.decisions) + 1

    def later(row: Document) -> Document:
        moved = {"offset": row["offset"] + end} if "dlq_id" in row else {}
        source = {"source": {**row["source"], "offset": row["source"]["offset"] + end}} if "source" in row else {}
        name = "dlq_id" if "dlq_id" in row else "transaction_id"
        return {**row, **moved, **source, name: f"later-{row[name]}"}

    def load_earlier(days: int) -> None:
        with psycopg.connect(dsn) as connection:
            connection.execute("SET session_replication_role = replica")  # without the trigger that sets loaded_at
            for table in ("raw.decisions", "raw.dead_letters"):
                update = sql.SQL("UPDATE {} SET loaded_at = loaded_at - make_interval(days => %s)")
                connection.execute(update.format(sql.Identifier(*table.split("."))), (days,))

    def found(*, expected: int) -> None:
        (compared,) = compare(dsn, [PartitionPosition(TOPIC, 0, 0, 2 * end, 2 * end, 0)], TOPIC)
        assert compared.missing == expected
        with psycopg.connect(dsn) as connection:
            gaps = ask(connection, read_sql_files(QUALITY_CHECKS)["offsets_without_outcome"], date(2024, 1, 1)).rows
        assert len(gaps) == expected

    archive(dsn, DecidedCards(decisions=cards.decisions, dlq=cards.dlq))
    load_earlier(399)
    archive(dsn, DecidedCards(list(map(later, cards.decisions)), [], list(map(later, cards.dlq))))
    load_earlier(2)
    found(expected=0)
    deleted = {change.table: change.rows for change in expire_rows(dsn)}
    assert deleted == {"raw.decisions": len(cards.decisions), "raw.dead_letters": len(cards.dlq)}
    found(expected=0)
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM raw.decisions WHERE source_offset = %s", (end + 20,))
        connection.execute("DELETE FROM raw.dead_letters WHERE source_offset = %s", (end + 20,))
    found(expected=1)


def test_a_record_that_has_its_row_is_not_backlog(fresh_database: Settings) -> None:
    """The committed offsets are older than the rows after a job stopped with a savepoint."""
    dsn = fresh_database.postgres_dsn
    apply_migrations(dsn, MIGRATIONS)
    cards = decide(100)
    cards.alerts = [dict(build_alert(cast("DecisionDocument", item), None)) for item in cards.decisions[:5]]
    cards.labels = [label_of(item, is_fraud=True) for item in cards.decisions[:3]]
    audit = {
        "control_id": "c", "outcome": "applied", "schema_version": 1, "revision": 1, "issued_by": "t", "detail": None,
        "issued_at_ms": 1, "reason": None, "applied_at_ms": 1, "changes": {},
    }  # fmt: skip
    actions = [dict(action(kind).document()) for kind in ("block", "watch")]
    archive(dsn, cards)
    first = cards.decisions[0]
    again = {**first, "source": {**first["source"], "offset": 10_000}}
    letter = {
        **cards.dlq[0], "dlq_id": "of-the-archive", "topic": "x.labels", "partition": 0, "offset": len(cards.labels),
        "disposition": "incident", "stage": "archive",
    }  # fmt: skip
    refused_action = {
        **letter, "dlq_id": "of-the-detector", "topic": "x.user-actions", "offset": len(actions),
        "stage": "parse", "reason": "ACTION_INVALID",
    }  # fmt: skip
    archive(dsn, DecidedCards(decisions=[again], dlq=[letter, refused_action]))
    with psycopg.connect(dsn) as connection:
        upsert(connection, ARCHIVE_OF["audit"], [audit])
        upsert(connection, ARCHIVE_OF["user-actions"], actions)

    inputs = {decision["source"]["offset"]: decision for decision in (*cards.decisions, again)}
    inputs |= {item["offset"]: item for item in cards.dlq if item["disposition"] != "incident"}
    topics: dict[str, list[tuple[int, Document]]] = {
        "decisions": list(enumerate([*cards.decisions, again])),
        "alerts": list(enumerate(cards.alerts)),
        "dlq": list(enumerate([*cards.dlq, letter, refused_action])),
        "labels": list(enumerate([*cards.labels, {"label_id": 7}])),  # the archive rejected the last one
        "audit": [(0, audit)],
        "user-actions": list(enumerate([*actions, {"action_id": 7}])),  # the detector rejected the last one
        "transactions": sorted(inputs.items()),
    }
    assert all(topics.values())
    assert topics.keys() == READERS.keys(), "every topic that a job reads is looked up"
    names = {TOPIC if suffix == "transactions" else f"x.{suffix}": suffix for suffix in topics}

    def waiting() -> dict[str, int]:
        records = [
            Record(name, 0, offset, 0, None, orjson.dumps(document))
            for name, suffix in names.items()
            for offset, document in topics[suffix]
        ]
        positions = [PartitionPosition(name, 0, 0, 99, None, len(topics[suffix])) for name, suffix in names.items()]
        return {names[item.topic]: item.waiting for item in without_row(dsn, positions, names, records)}

    assert waiting() == dict.fromkeys(topics, 0)
    with psycopg.connect(dsn) as connection:  # one row of each table, and the row that was decided again
        connection.execute(
            "DELETE FROM raw.decisions WHERE transaction_id IN (%s, %s)",
            (first["transaction_id"], cards.decisions[1]["transaction_id"]),
        )
        for table, key, value in (
            ("raw.alerts", "alert_id", cards.alerts[0]["alert_id"]),
            ("raw.dead_letters", "dlq_id", cards.dlq[0]["dlq_id"]),
            ("raw.labels", "label_id", cards.labels[0]["label_id"]),
            ("ops.control_audit", "control_id", "c"),
            ("raw.user_actions", "action_id", actions[0]["action_id"]),
        ):
            delete = sql.SQL("DELETE FROM {} WHERE {} = %s").format(
                sql.Identifier(*table.split(".")), sql.Identifier(key)
            )
            connection.execute(delete, (value,))
    # The replaced decision keeps its evidence in ops.superseded_decisions; the input also lost its dead letter.
    assert waiting() == {
        "decisions": 2,
        "alerts": 1,
        "dlq": 1,
        "labels": 1,
        "audit": 1,
        "user-actions": 1,
        "transactions": 3,
    }
    unlisted = PartitionPosition("x.alerts", 1, 0, 50_000, 0, 50_000)
    assert without_row(dsn, [unlisted], names, []) == [unlisted], "too many to read: counted by offsets"


def test_offsets_of_a_transactional_producer(stack: Stack) -> None:
    """Three committed records, three aborted ones, two committed ones: five records and five other offsets."""
    prefix = jobs.own_topics(stack, "transactional")
    topic, broker = f"{prefix}.transactions", stack.settings().broker()
    producer = Producer({**broker.librdkafka(), "transactional.id": prefix, "log_level": 0})
    producer.init_transactions(240)
    for count, is_committed in ((3, True), (3, False), (2, True)):
        producer.begin_transaction()
        for _ in range(count):
            producer.produce(topic, b"{}", partition=0)
        producer.flush(240)
        if is_committed:
            producer.commit_transaction(240)
        else:
            producer.abort_transaction(240)

    def end_offset() -> int:
        return next(p.end_offset for p in read_positions(broker, prefix) if p.topic == topic and not p.partition)

    # A commit returns before the broker has written the end of the transaction to the partition.
    wait_for(lambda: end_offset() == 11, limit_s=240, what="the end of the last transaction")
    end = end_offset()
    found = committed_offsets(broker, topic, [(0, 0, end - 1)])
    assert found == {(0, offset) for offset in (0, 1, 2, 8, 9)}
    assert without_records([OffsetRange(0, 0, end - 1)], found) == [(0, 3, 7), (0, 10, 10)]


def test_records_that_no_job_has_read_are_pending_and_not_missing(stack: Stack) -> None:
    prefix = jobs.own_topics(stack, "nobody-reads")
    jobs.send_raw(stack, f"{prefix}.transactions", [b"{}"] * 5)
    jobs.send_raw(stack, f"{prefix}.decisions", [b"{}"] * 7)
    settings = stack.settings()
    positions = read_positions(settings.broker(), prefix)
    assert {position.read_offset for position in positions} == {None}
    waiting: Counter[str] = Counter()
    for position in positions:
        waiting[position.topic.removeprefix(f"{prefix}.")] += position.waiting
    assert +waiting == Counter(transactions=5, decisions=7)
    found = Counter(record.topic for record in waiting_records(settings.broker(), positions))
    assert found == {f"{prefix}.transactions": 5, f"{prefix}.decisions": 7}
    compared = compare(settings.postgres_dsn_as("transformer"), positions, f"{prefix}.transactions")
    assert {item.missing for item in compared if item.position.topic == f"{prefix}.transactions"} == {0}
    assert not all(item.is_complete for item in compared)
