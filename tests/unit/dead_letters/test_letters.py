from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.cli.times import moment_ms, shown
from flink_jobs.core.dead_letters.letter import MAX_PAYLOAD_KEPT_BYTES, build_dlq_record, letter_payload
from flink_jobs.core.dead_letters.redrive import place_of
from flink_jobs.core.documents import DeadLetterDocument
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from flink_jobs.dead_letters.letters import LetterFilter, LetterStats, complete_payload, find_letter
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_MS = 1_767_225_600_000
TOPIC = "streamflow.transactions"


def letter(
    payload: bytes | None = b"{}",
    *,
    offset: int = 7,
    partition: int = 1,
    reason: DeadLetterReason = DeadLetterReason.MALFORMED_JSON,
    disposition: Disposition = Disposition.REJECTED,
    now_ms: int = NOW_MS,
) -> DeadLetterDocument:
    record = SourceRecord(payload, partition, offset, "2026-01-01 00:00:00", "", "c", TOPIC)
    return build_dlq_record(record, reason, PipelineStage.PARSE, "why", disposition, now_ms)


@given(st.binary(max_size=300))
def test_the_payload_comes_back_byte_for_byte(payload: bytes) -> None:
    assert complete_payload(letter(payload)) == payload


def test_a_tombstone_has_no_bytes() -> None:
    assert complete_payload(letter(None)) == b""


def test_a_truncated_payload_is_not_taken_for_the_whole() -> None:
    long = letter(b"x" * (MAX_PAYLOAD_KEPT_BYTES + 1))
    assert len(letter_payload(long)) == MAX_PAYLOAD_KEPT_BYTES
    with pytest.raises(UserError, match=r"holds 10,240 of 10,241 bytes: read the whole record at .*-1@7"):
        complete_payload(long)


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        (LetterFilter(), True),
        (LetterFilter(reasons=frozenset({"MALFORMED_JSON", "OVERSIZE"})), True),
        (LetterFilter(reasons=frozenset({"OVERSIZE"})), False),
        (LetterFilter(stages=frozenset({"parse"})), True),
        (LetterFilter(stages=frozenset({"score"})), False),
        (LetterFilter(dispositions=frozenset({"duplicate"})), False),
        (LetterFilter(since_ms=NOW_MS), True),
        (LetterFilter(since_ms=NOW_MS + 1), False),
        (LetterFilter(until_ms=NOW_MS + 1), True),
        (LetterFilter(until_ms=NOW_MS), False),
        (LetterFilter(topics=frozenset({TOPIC}), partitions=frozenset({1}), offsets=(7, 9)), True),
        (LetterFilter(topics=frozenset({"another"})), False),
        (LetterFilter(partitions=frozenset({2})), False),
        (LetterFilter(offsets=(8, 9)), False),
        (LetterFilter(customers=frozenset({"c-1"})), True),
        (LetterFilter(customers=frozenset({"c-2"})), False),
    ],
)
def test_filters(chosen: LetterFilter, *, wanted: bool) -> None:
    assert chosen.matches(letter(b'{"customer_id":"c-1"')) is wanted


@pytest.mark.parametrize(
    "name",
    [
        lambda one: one["dlq_id"],
        lambda one: one["dlq_id"][:12],
        lambda _one: f"{TOPIC}-1@7",
        lambda _one: "1@7",
    ],
)
def test_a_letter_is_found_by_id_start_of_id_or_place(name: Callable[[DeadLetterDocument], str]) -> None:
    one = letter()
    assert find_letter([letter(offset=8), one, letter(partition=11)], name(one)) == one


def test_a_letter_written_twice_is_one() -> None:
    assert find_letter([letter(), letter()], "1@7") == letter()


def test_none_or_several_letters_say_so() -> None:
    with pytest.raises(UserError, match="no dead letter matches 9@9: `streamflow dlq list`"):
        find_letter([letter()], "9@9")
    with pytest.raises(UserError, match="2 dead letters match dl_: give more"):
        find_letter([letter(), letter(offset=8)], "dl_")


def test_place() -> None:
    assert place_of(letter()) == "streamflow.transactions-1@7"


def test_stats() -> None:
    stats = LetterStats()
    for one in (letter(), letter(offset=8, now_ms=NOW_MS + 5), letter(b"x" * 20_000, reason=DeadLetterReason.OVERSIZE)):
        stats.add(one)
    assert stats.by_reason == {("rejected", "MALFORMED_JSON", "parse"): 2, ("rejected", "OVERSIZE", "parse"): 1}
    assert (stats.total, stats.truncated, stats.first_ms, stats.last_ms) == (3, 1, NOW_MS, NOW_MS + 5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15m", NOW_MS - 900_000),
        ("2h", NOW_MS - 7_200_000),
        ("1d", NOW_MS - 86_400_000),
        ("30s", NOW_MS - 30_000),
        ("2026-01-01", NOW_MS),
        ("2026-01-01T01:00:00+01:00", NOW_MS),
    ],
)
def test_moments(text: str, expected: int) -> None:
    assert moment_ms(text, "--since", NOW_MS) == expected


def test_a_bad_moment_names_the_option() -> None:
    with pytest.raises(UserError, match="--since soon is not a time: write 15m"):
        moment_ms("soon", "--since", NOW_MS)


def test_shown() -> None:
    assert shown(NOW_MS + 7) == "2026-01-01T00:00:00.007Z"
    assert shown(None) is None
