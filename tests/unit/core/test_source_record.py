"""One string per record: nothing is lost on the way from the JVM."""

from base64 import b64decode, b64encode
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.core.parsing.source_record import SourceRecord, WholePayload, unpack_record
from tests.packed_records import pack_record
from tests.strategies import TOPIC, record_of

keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=20)
headers = st.dictionaries(st.text(max_size=8), st.binary(max_size=20), max_size=3)


def header_text(values: dict[str, bytes]) -> str:
    return orjson.dumps({name: b64encode(value).decode() for name, value in values.items()}).decode() if values else ""


def test_all_256_bytes_come_through() -> None:
    record = record_of(bytes(range(256)))
    assert unpack_record(pack_record(record), TOPIC) == record


@given(st.none() | st.binary(max_size=300), keys, headers, st.integers(0, 10_000), st.integers(0, 2**63 - 1))
def test_round_trip(payload: bytes | None, key: str, values: dict[str, bytes], partition: int, offset: int) -> None:
    record = SourceRecord(payload, partition, offset, "2026-01-01 00:00:00.123", header_text(values), key, TOPIC)
    line = pack_record(record)
    assert unpack_record(line, TOPIC) == record
    assert {name: b64decode(value or "") for name, value in record.header_list} == values


@pytest.mark.parametrize("payload", [b"\n", b"\n\n\nV", b"N", b"V", b""])
def test_a_payload_like_the_format_itself(payload: bytes) -> None:
    assert unpack_record(pack_record(record_of(payload)), TOPIC).payload == payload


def test_a_tombstone_is_not_an_empty_payload() -> None:
    assert unpack_record(pack_record(record_of(None)), TOPIC).payload is None
    assert unpack_record(pack_record(record_of(b"")), TOPIC).payload == b""


def test_the_format_is_pinned() -> None:
    """The SQL of the source writes it."""
    assert pack_record(record_of(b"\xffx", "c-1", 7, '{"a":"eA=="}')) == (
        '2\n7\n2026-01-01 00:00:00.123\n{"a":"eA=="}\nc-1\nV\xffx'
    )


def test_the_format_of_what_is_too_large_is_pinned() -> None:
    record = record_of(b"\n\xffx")._replace(whole=WholePayload(50_000_000, "ab"))
    line = pack_record(record)
    assert line == "2\n7\n2026-01-01 00:00:00.123\n\nc-1\nL50000000\nab\n\n\xffx"
    assert unpack_record(line, TOPIC) == record


def test_a_key_with_a_line_feed_is_refused_before_it_can_write_a_payload() -> None:
    with pytest.raises(ValueError, match="line feed"):
        pack_record(record_of(b"{}", "c-1\nV{}"))


@pytest.mark.parametrize("line", ["", "1\n2\n3", "x\n7\n\n\nc-1\nV", "0\n\n\n\nc-1\nV", "0\n7\n\n\nc-1\nL5\nab"])
def test_what_the_source_cannot_have_written_is_an_error(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is Python's
        unpack_record(line, TOPIC)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("", None),
        ("1970-01-01 00:00:00", 0),
        ("1970-01-01 00:00:00.001", 1),
        ("2026-11-21 03:46:16.123", 1_795_232_776_123),
        ("2026-11-21 03:46:16.12", 1_795_232_776_120),
        ("1969-12-31 23:59:59.999", -1),
        ("9999-12-31 23:59:59.999", 253_402_300_799_999),
        ("+292278994-08-17 07:12:55.807", None),
        ("-0001-01-01 00:00:00.000", None),
        ("10000-01-01 00:00:00.000", None),
        ("0000-01-01 00:00:00.000", None),
        ("soon", None),
    ],
)
def test_timestamps(text: str, milliseconds: int | None) -> None:
    """Guards a defect: a producer may send any 64-bit timestamp, and years no calendar knows stopped the job."""
    record = SourceRecord(b"", 0, 0, text, "", "c-1", TOPIC)
    assert record.timestamp_ms == milliseconds


def test_headers_are_sorted_and_may_have_no_value() -> None:
    assert record_of(b"", headers='{"b":"eA==","a":null}').header_list == [("a", None), ("b", "eA==")]
    assert record_of(b"").header_list == []


@pytest.mark.parametrize("text", ["{", "[1]", "null", "\ud800"])
def test_unreadable_headers_are_kept_as_they_are(text: str) -> None:
    [(name, value)] = record_of(b"", headers=text).header_list
    assert name == "unreadable"
    assert b64decode(value or "") == text.encode("utf-8", "replace")


def test_a_nul_in_a_header_name_does_not_reach_postgres() -> None:
    """Guards the archive: jsonb refuses U+0000, and the job would restart on it forever."""
    record = SourceRecord(b"{}", 0, 0, "", '{"trace\\u0000id":"AA=="}', "c", "t")
    assert record.header_list == [("trace\ufffdid", "AA==")]


@given(
    st.datetimes()
    | st.sampled_from(["2026-02-30 00:00:00.123", "2026-01-01 00:00:00.1\u0662\u0663", "x" * 23, "+29.807", ""])
)
def test_a_timestamp_is_the_same_from_the_cache_of_seconds(moment: datetime | str) -> None:
    texts = (
        [moment]
        if isinstance(moment, str)
        else [f"{moment:%Y-%m-%d %H:%M:%S}.{ms:03d}".rjust(23, "0") for ms in (7, 999, 0)]
    )
    for text in texts:
        try:
            expected = round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
        except ValueError:
            expected = None
        assert record_of(b"x")._replace(timestamp=text).timestamp_ms == expected


@pytest.mark.parametrize("text", ["20261121T034616.0001234", "2026-11-21 03:46:16,123", "2026-11-21 03:46:16+123"])
def test_a_timestamp_in_another_form_is_read_as_before(text: str) -> None:
    try:
        expected = round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        expected = None
    assert record_of(b"x")._replace(timestamp=text).timestamp_ms == expected
