"""The plan of a redrive: which dead letters go, and how their records are read."""

from __future__ import annotations

from typing import Self

import pytest

from flink_jobs.core.dead_letters.letter import MAX_PAYLOAD_KEPT_BYTES, build_dlq_record
from flink_jobs.core.dead_letters.redrive import RedriveHistory
from flink_jobs.core.documents import DeadLetterDocument
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from flink_jobs.dead_letters import letters
from flink_jobs.dead_letters.redrive_audit import RedriveHistories
from flink_jobs.dead_letters.redrive_run import RedriveSettings, plan_redrive
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import Record

NOW_MS = 1_767_225_600_000
TOPICS = ("a.transactions", "b.transactions")
SETTINGS = RedriveSettings(Broker("b:1"), "a", 3)


class CountingReader:
    """A topic reader that holds some records and counts how often it is opened and asked."""

    opened: list[list[str]]
    asked: int
    records: dict[tuple[str, int, int], bytes]

    def __init__(self, _broker: Broker, topics: list[str]) -> None:
        CountingReader.opened.append(topics)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def read_at(self, topic: str, partition: int, offset: int) -> Record | None:
        CountingReader.asked += 1
        value = self.records.get((topic, partition, offset))
        return None if value is None else Record(topic, partition, offset, NOW_MS, None, value, ())


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> type[CountingReader]:
    CountingReader.opened, CountingReader.asked, CountingReader.records = [], 0, {}
    monkeypatch.setattr(letters, "CommittedReader", CountingReader)
    return CountingReader


def letter(offset: int, payload: bytes, topic: str = TOPICS[0]) -> DeadLetterDocument:
    record = SourceRecord(payload, 0, offset, "2026-01-01 00:00:00", "", "c", topic)
    reason = DeadLetterReason.PROCESSING_ERROR
    return build_dlq_record(record, reason, PipelineStage.SCORE, "a defect", Disposition.REJECTED, NOW_MS)


def long_payload(offset: int) -> bytes:
    return b"%d" % offset + b" " * MAX_PAYLOAD_KEPT_BYTES


def test_one_consumer_reads_the_records_of_all_truncated_letters(reader: type[CountingReader]) -> None:
    known = [letter(offset, long_payload(offset), TOPICS[offset % 2]) for offset in range(40)]
    reader.records = {(item["topic"], 0, item["offset"]): long_payload(item["offset"]) for item in known}
    plan = plan_redrive(SETTINGS, known, RedriveHistories(), now_ms=NOW_MS, is_forced=True)
    assert reader.opened == [list(TOPICS)]
    assert reader.asked == 40
    assert [item.payload for item in plan.items] == [long_payload(offset) for offset in range(40)]


def test_no_consumer_is_opened_for_whole_letters_and_for_letters_redriven_before(reader: type[CountingReader]) -> None:
    done, whole = letter(1, long_payload(1)), letter(2, b"{}")
    history = RedriveHistories({(TOPICS[0], 0, 1): RedriveHistory(is_done=True)})
    plan = plan_redrive(SETTINGS, [done, whole, whole], history, now_ms=NOW_MS, is_forced=True)
    assert reader.opened == []
    assert [verdict.why for _, verdict in plan.verdicts] == ["redriven already", "as it is, forced"]
    assert [item.payload for item in plan.items] == [b"{}"]


def test_a_record_that_is_gone_or_replaced_is_not_sent(reader: type[CountingReader]) -> None:
    gone, replaced = letter(1, long_payload(1)), letter(2, long_payload(2))
    reader.records = {(TOPICS[0], 0, 2): long_payload(3)}
    plan = plan_redrive(SETTINGS, [gone, replaced], RedriveHistories(), now_ms=NOW_MS, is_forced=True)
    assert plan.items == []
    assert all("only the beginning of the payload is stored" in verdict.why for _, verdict in plan.verdicts)
