"""Completeness: the offsets that the detector has read and that have no row in raw, also counted in Python."""

from __future__ import annotations

from collections import Counter

import psycopg
import pytest
from psycopg import sql

from flink_jobs.kafka.positions import PartitionPosition, read_positions
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.warehouse.completeness import compare
from flink_jobs.warehouse.migrations import apply_migrations
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.integration import jobs
from tests.integration.decided_cards import TOPIC, archive, decide

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
    compared = compare(settings.postgres_dsn_as("transformer"), positions, f"{prefix}.transactions")
    assert {item.missing for item in compared if item.position.topic == f"{prefix}.transactions"} == {0}
    assert not all(item.is_complete for item in compared)
