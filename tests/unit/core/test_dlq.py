"""Dead letters hold the payload byte for byte, and what is needed to find and redrive it."""

import hashlib
from base64 import b64decode
from typing import Any

import fastjsonschema
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.dead_letters.letter import (
    MAX_DETAIL_CHARS,
    MAX_PAYLOAD_KEPT_BYTES,
    build_dlq_record,
    encode_dlq_record,
    encoded_letter,
)
from flink_jobs.core.parsing.source_record import SourceRecord, WholePayload
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from tests.strategies import NOW_MS, TOPIC, record_of

validate = fastjsonschema.compile(dict(load_contracts()["dlq"].schema()))


def letter(
    record: SourceRecord, reason: DeadLetterReason = DeadLetterReason.MALFORMED_JSON, detail: str = "why"
) -> dict[str, Any]:
    """Build, encode, decode and validate a letter."""
    body = build_dlq_record(record, reason, PipelineStage.PARSE, detail, Disposition.REJECTED, NOW_MS)
    document: dict[str, Any] = orjson.loads(encode_dlq_record(body))
    validate(document)
    return document


def kept(document: dict[str, Any]) -> bytes:
    if document["payload_encoding"] == "base64":
        return b64decode(document["payload"], validate=True)
    return str(document["payload"]).encode("utf-8")


@given(st.binary(max_size=MAX_PAYLOAD_KEPT_BYTES))
@example(bytes(range(256)) * 40)
@example("Grüße 😀\u2028".encode())
@example(b"\xed\xa0\x80")
@example(b"\r\n\t\\\"'")
def test_every_payload_of_10_kb_comes_back_byte_for_byte(payload: bytes) -> None:
    document = letter(record_of(payload))
    assert kept(document) == payload
    assert document["payload_length"] == len(payload)
    assert document["payload_sha256"] == hashlib.sha256(payload).hexdigest()
    assert document["payload_truncated"] is False


@pytest.mark.parametrize(("size", "truncated"), [(10_240, False), (10_241, True), (65_536, True), (1_048_576, True)])
@pytest.mark.parametrize("byte", [b"x", b"\xff"], ids=["text", "binary"])
def test_a_longer_payload_is_cut_and_says_so(size: int, byte: bytes, *, truncated: bool) -> None:
    document = letter(record_of(byte * size))
    assert kept(document) == byte * min(size, MAX_PAYLOAD_KEPT_BYTES)
    assert document["payload_truncated"] is truncated
    assert document["payload_length"] == size
    assert document["payload_sha256"] == hashlib.sha256(byte * size).hexdigest()


def test_a_cut_inside_a_character_loses_no_byte() -> None:
    payload = b"xx" + "€".encode() * 5_000
    document = letter(record_of(payload))
    assert document["payload_encoding"] == "base64"
    assert kept(document) == payload[:MAX_PAYLOAD_KEPT_BYTES]


@pytest.mark.parametrize(
    ("payload", "encoding"),
    [(b"{}", "utf-8"), ("é".encode(), "utf-8"), (b"\xe9", "base64"), (b"a\0b", "base64"), (b"", "utf-8")],
)
def test_text_where_a_database_can_hold_it(payload: bytes, encoding: str) -> None:
    assert letter(record_of(payload))["payload_encoding"] == encoding


def test_a_tombstone_is_null_and_an_empty_payload_is_empty() -> None:
    tombstone, empty = letter(record_of(None)), letter(record_of(b""))
    assert (tombstone["payload"], tombstone["payload_length"]) == (None, 0)
    assert (empty["payload"], empty["payload_length"]) == ("", 0)


def test_coordinates_and_headers() -> None:
    record = record_of(b"x", offset=9, headers='{"trace":"YWJj","a":null}', timestamp="2026-01-01 00:00:00.5")
    document = letter(record)
    assert (document["topic"], document["partition"], document["offset"]) == (TOPIC, 2, 9)
    assert document["timestamp_ms"] == NOW_MS + 500
    assert document["headers"] == [["a", None], ["trace", "YWJj"]]
    assert document["processing_time_ms"] == NOW_MS


def test_the_id_depends_on_coordinates_and_reason_only() -> None:
    first = letter(record_of(b"x"))
    assert first["dlq_id"] == letter(record_of(b"y"), detail="other")["dlq_id"]
    assert first["dlq_id"] == "dl_2c44e521c635dd0e67cb26c0ab21da7c"
    others = [
        letter(record_of(b"x", offset=8)),
        letter(record_of(b"x"), DeadLetterReason.INVALID_UTF8),
        letter(record_of(b"x")._replace(partition=3)),
        letter(record_of(b"x")._replace(topic="another")),
    ]
    assert len({first["dlq_id"], *(other["dlq_id"] for other in others)}) == 5


@pytest.mark.parametrize(
    ("record", "detail"),
    [
        (record_of(b"x", headers='{"a\\u0000":"eA=="}'), "a\0b"),
        (record_of(b"x", headers="{not json"), "\ud800"),
        (record_of(b"x", timestamp="+292278994-08-17 07:12:55.807"), "x" * 5_000),
    ],
    ids=["NUL", "surrogate and broken headers", "far timestamp and long detail"],
)
def test_a_letter_can_always_be_written(record: SourceRecord, detail: str) -> None:
    """Guards a defect: such a letter raised, or Postgres refused it, and the job went round in circles."""
    document = letter(record, detail=detail)
    assert len(document["detail"]) <= MAX_DETAIL_CHARS
    assert b"\\u0000" not in orjson.dumps(document)


@pytest.mark.parametrize("reason", DeadLetterReason)
def test_every_reason_fits_the_contract(reason: DeadLetterReason) -> None:
    assert letter(record_of(b"x"), reason)["reason"] == reason.value


@given(
    st.none() | st.binary(max_size=80) | st.text(max_size=40).map(str.encode),
    st.sampled_from(["", "{not json", '{"a":"eA==","\\u0000b":null}', '{"\\ud83d\\ude00\\"":""}']),
    st.sampled_from(["", "2026-01-01 00:00:00.123", "2026-01-01 00:00:00.5", "+292278994-08-17 07:12:55.807"]),
    st.text(max_size=20) | st.sampled_from(["\ud800", "x" * 501, 'a\0"\\']),
    st.sampled_from(DeadLetterReason),
    st.sampled_from(PipelineStage),
    st.sampled_from(Disposition),
    st.none() | st.just(WholePayload(70_000, "ab")),
)
@example(
    b"\xffx" * 6_000, "", "", "why", DeadLetterReason.INVALID_UTF8, PipelineStage.PARSE, Disposition.REJECTED, None
)
def test_the_detector_writes_the_letter_byte_for_byte(  # noqa: PLR0917
    payload: bytes | None,
    headers: str,
    timestamp: str,
    detail: str,
    reason: DeadLetterReason,
    stage: PipelineStage,
    disposition: Disposition,
    whole: WholePayload | None,
) -> None:
    record = record_of(payload, headers=headers, timestamp=timestamp)._replace(whole=whole, topic='a"b')
    body = build_dlq_record(record, reason, stage, detail, disposition, NOW_MS)
    written = encoded_letter(record, reason, stage, detail, disposition, NOW_MS)
    assert written == (body["dlq_id"], encode_dlq_record(body))
