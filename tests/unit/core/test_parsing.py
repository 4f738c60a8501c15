"""Bytes to transaction: one case or more for every reason, and the boundaries on both sides."""

import json
from typing import Any

import pytest

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.parsing.json_faults import MAX_NESTING
from flink_jobs.core.parsing.transactions import MAX_PAYLOAD_BYTES, parse_transaction
from flink_jobs.core.reasons import DeadLetterReason as Why
from flink_jobs.core.transaction import Rejection, Transaction
from tests.strategies import LATEST_MS, NOW_MS

VALID: dict[str, Any] = {
    "transaction_id": "t-1",
    "customer_id": "c-1",
    "amount_minor": 1250,
    "currency": "USD",
    "event_time_ms": 1_704_067_202_000,
}


def payload(**fields: object) -> bytes:
    return json.dumps({**VALID, **fields}).encode()


def without(field: str) -> bytes:
    return json.dumps({name: value for name, value in VALID.items() if name != field}).encode()


def literal(field: str, text: str) -> bytes:
    """Write a value as Python's encoder would not."""
    return payload(**{field: "@"}).replace(b'"@"', text.encode())


def nested(levels: int) -> bytes:
    """A valid transaction whose unknown field nests so deep that the document has ``levels`` levels."""
    return literal("extra", "[" * (levels - 1) + "]" * (levels - 1))


NO_TEXTS: tuple[object, ...] = (1, 1.5, True, [], {})

CASES: list[tuple[Why, str, bytes | None]] = [
    (Why.EMPTY_PAYLOAD, "tombstone", None),
    (Why.EMPTY_PAYLOAD, "no bytes", b""),
    (Why.OVERSIZE, "one byte too many", payload(pad="").replace(b'"pad": ""', b'"pad": "' + b"x" * 65_411 + b'"')),
    (Why.OVERSIZE, "a megabyte of brackets", b"[" * 1_000_000),
    (Why.INVALID_UTF8, "0xff", payload(merchant="@").replace(b"@", b"\xff")),
    (Why.INVALID_UTF8, "overlong slash", payload(merchant="@").replace(b"@", b"\xc0\xaf")),
    (Why.INVALID_UTF8, "encoded surrogate", payload(merchant="@").replace(b"@", b"\xed\xa0\x80")),
    (Why.INVALID_UTF8, "UTF-16", payload().decode().encode("utf-16")),
    (Why.MALFORMED_JSON, "spaces", b"   "),
    (Why.MALFORMED_JSON, "xml", b"<transaction/>"),
    (Why.MALFORMED_JSON, "cut", payload()[:-1]),
    (Why.MALFORMED_JSON, "two documents", payload() * 2),
    (Why.MALFORMED_JSON, "comma at the end", payload()[:-1] + b",}"),
    (Why.MALFORMED_JSON, "single quotes", payload().replace(b'"', b"'")),
    (Why.MALFORMED_JSON, "byte order mark", b"\xef\xbb\xbf" + payload()),
    (Why.MALFORMED_JSON, "lone surrogate", literal("merchant", r'"\ud800"')),
    (Why.MALFORMED_JSON, "raw control character", literal("merchant", '"a\tb"')),
    (Why.MALFORMED_JSON, "leading zero", literal("amount_minor", "01")),
    (Why.MALFORMED_JSON, "brackets closed too often", b"]" * 40 + b"[" * 35),
    (Why.MALFORMED_JSON, "cut inside a string of brackets", b'{"a":"' + b"[" * 50),
    (Why.TOO_DEEP, "33 levels", nested(MAX_NESTING + 1)),
    (Why.TOO_DEEP, "33 levels of objects", literal("extra", '{"a":' * 32 + "1" + "}" * 32)),
    (Why.TOO_DEEP, "stack bomb", b"[" * 60_000),
    (Why.TOO_DEEP, "deep and escaped quotes", literal("extra", r'["a\"]", ' + "[" * 32 + "]" * 32 + "]")),
    (Why.NOT_AN_OBJECT, "null", b"null"),
    (Why.NOT_AN_OBJECT, "true", b"true"),
    (Why.NOT_AN_OBJECT, "integer", b"17"),
    (Why.NOT_AN_OBJECT, "number", b"1.5"),
    (Why.NOT_AN_OBJECT, "text", b'"x"'),
    (Why.NOT_AN_OBJECT, "list", b"[" + payload() + b"]"),
    (Why.NON_FINITE_NUMBER, "NaN", literal("amount_minor", "NaN")),
    (Why.NON_FINITE_NUMBER, "Infinity", literal("amount_minor", "Infinity")),
    (Why.NON_FINITE_NUMBER, "-Infinity", literal("location", '{"lat": -Infinity, "lon": 0}')),
    (Why.NON_FINITE_NUMBER, "1e400", literal("amount_minor", "1e400")),
    (Why.NON_FINITE_NUMBER, "5,000 digits", literal("amount_minor", "9" * 5_000)),
    *[(Why.MISSING_FIELD, f"no {field}", without(field)) for field in VALID],
    (Why.MISSING_FIELD, "no fields", b"{}"),
    (Why.MISSING_FIELD, "no lat", payload(location={"lon": 1.0})),
    (Why.MISSING_FIELD, "null lon", payload(location={"lat": 1.0, "lon": None})),
    (Why.MISSING_FIELD, "empty location", payload(location={})),
    *[(Why.WRONG_TYPE, f"null {field}", payload(**{field: None})) for field in VALID],
    *[(Why.WRONG_TYPE, f"list as {field}", payload(**{field: []})) for field in VALID],
    *[(Why.WRONG_TYPE, f"true as {field}", payload(**{field: True})) for field in VALID],
    (Why.WRONG_TYPE, "amount with a fraction", payload(amount_minor=12.5)),
    (Why.WRONG_TYPE, "amount in quotes", payload(amount_minor="1250")),
    (Why.WRONG_TYPE, "amount 12.0", payload(amount_minor=12.0)),
    (Why.WRONG_TYPE, "time in words", payload(event_time_ms="2024-01-01")),
    (Why.WRONG_TYPE, "time with a fraction", payload(event_time_ms=1_704_067_202_000.5)),
    *[
        (Why.WRONG_TYPE, f"{field} {value!r}", payload(**{field: value}))
        for field in ("merchant", "category", "channel", "country")
        for value in NO_TEXTS
    ],
    *[(Why.WRONG_TYPE, f"location {value!r}", payload(location=value)) for value in (1, "x", True, [1.0, 2.0])],
    (Why.WRONG_TYPE, "lat in quotes", payload(location={"lat": "1", "lon": 1.0})),
    (Why.WRONG_TYPE, "lon true", payload(location={"lat": 1.0, "lon": True})),
    *[
        (Why.INVALID_TEXT, f"{field} {value[:3]!r}", payload(**{field: value}))
        for field in ("transaction_id", "customer_id")
        for value in ("", " ", "x" * 65, "a\0", "a\n", "a\t", "a\x85", "\u2028")
    ],
    *[
        (Why.INVALID_TEXT, f"{field} of {len(value)}", payload(**{field: value}))
        for field, limit in (("merchant", 128), ("category", 64), ("channel", 32))
        for value in ("", "x" * (limit + 1), "a\0b")
    ],
    (Why.NEGATIVE_AMOUNT, "-1", payload(amount_minor=-1)),
    (Why.NEGATIVE_AMOUNT, "below int64", literal("amount_minor", "-" + "9" * 30)),
    (Why.AMOUNT_OUT_OF_RANGE, "10^12 + 1", payload(amount_minor=10**12 + 1)),
    (Why.AMOUNT_OUT_OF_RANGE, "beyond int64", literal("amount_minor", "9" * 30)),
    *[
        (Why.UNKNOWN_CURRENCY, value or "empty", payload(currency=value))
        for value in ("", "usd", "ZZZ", "USDX", "XXX", "XDR", "840")
    ],
    (Why.EVENT_TIME_IN_FUTURE, "a day and a millisecond", payload(event_time_ms=LATEST_MS + 1)),
    (Why.EVENT_TIME_IN_FUTURE, "microseconds", payload(event_time_ms=1_704_067_202_000_000)),
    (Why.EVENT_TIME_IN_FUTURE, "beyond int64", literal("event_time_ms", "9" * 30)),
    (Why.EVENT_TIME_OUT_OF_RANGE, "seconds", payload(event_time_ms=1_704_067_202)),
    (Why.EVENT_TIME_OUT_OF_RANGE, "1999", payload(event_time_ms=946_684_799_999)),
    (Why.EVENT_TIME_OUT_OF_RANGE, "negative", payload(event_time_ms=-1)),
    (Why.EVENT_TIME_OUT_OF_RANGE, "below int64", literal("event_time_ms", "-" + "9" * 30)),
    *[
        (Why.COORDINATES_OUT_OF_RANGE, f"{lat}, {lon}", payload(location={"lat": lat, "lon": lon}))
        for lat, lon in ((90.001, 0), (-90.001, 0.0), (0.0, 180.001), (0, -181), (1e300, 0.0))
    ],
    *[
        (Why.INVALID_COUNTRY, value or "empty", payload(country=value))
        for value in ("", "us", "Us", "USA", "U", "ÄÖ", "1A", "Germany", "U ")
    ],
]


@pytest.mark.parametrize(("reason", "raw"), [pytest.param(why, raw, id=f"{why}-{name}") for why, name, raw in CASES])
def test_what_is_no_transaction_says_why(reason: Why, raw: bytes | None) -> None:
    answer = parse_transaction(raw, NOW_MS)
    assert isinstance(answer, Rejection)
    assert answer.reason is reason
    assert answer.detail


def test_every_reason_of_the_parse_stage_has_a_case() -> None:
    members = list(Why)
    parse_stage = members[: members.index(Why.KEY_MISMATCH)]
    assert len(parse_stage) >= 17
    assert set(parse_stage) == {reason for reason, _, _ in CASES}


BOUNDARIES: dict[str, bytes] = {
    "nothing optional": payload(),
    "all optional null": payload(merchant=None, category=None, channel=None, country=None, location=None),
    "longest ids": payload(transaction_id="t" * 64, customer_id="c" * 64),
    "longest ids of four-byte characters": payload(transaction_id="😀" * 64, customer_id="😀" * 64),
    "inner space": payload(customer_id="c 1"),
    "zero amount": payload(amount_minor=0),
    "largest amount": payload(amount_minor=10**12),
    "earliest": payload(event_time_ms=946_684_800_000),
    "latest": payload(event_time_ms=LATEST_MS),
    "poles and date line": payload(location={"lat": -90, "lon": 180}),
    "floats at the edge": payload(location={"lat": 90.0, "lon": -180.0, "accuracy_m": 5}),
    "longest texts": payload(merchant="m" * 128, category="c" * 64, channel="h" * 32),
    "32 levels": nested(MAX_NESTING),
    "brackets in a string do not nest": payload(note="[" * 500 + '\\"{' * 50),
    "unknown fields": payload(label=True, nested={"a": [1]}),
    "space around": b" \r\n\t" + payload() + b"\n",
}


@pytest.mark.parametrize("raw", BOUNDARIES.values(), ids=BOUNDARIES.keys())
def test_what_is_just_allowed_is_a_transaction(raw: bytes) -> None:
    answer = parse_transaction(raw, NOW_MS)
    assert isinstance(answer, Transaction), answer


@pytest.mark.parametrize(("size", "is_read"), [(MAX_PAYLOAD_BYTES, True), (MAX_PAYLOAD_BYTES + 1, False)])
def test_size_limit(size: int, *, is_read: bool) -> None:
    head = payload(pad="")
    raw = head[:-2] + b"x" * (size - len(head)) + head[-2:]
    assert len(raw) == size
    assert isinstance(parse_transaction(raw, NOW_MS), Transaction) is is_read


def test_all_fields_are_read() -> None:
    raw = payload(
        merchant="Kuvalis Ltd", category="gas", channel="pos", country="US", location={"lat": 42, "lon": -84.25}
    )
    assert parse_transaction(raw, NOW_MS) == Transaction(
        "t-1", "c-1", 1250, "USD", 1_704_067_202_000, "Kuvalis Ltd", "gas", 42.0, -84.25, "pos", "US"
    )


def test_integer_degrees_become_floats() -> None:
    answer = parse_transaction(payload(location={"lat": 42, "lon": -84}), NOW_MS)
    assert isinstance(answer, Transaction)
    assert type(answer.latitude) is float
    assert type(answer.longitude) is float


def test_the_contract_examples_and_counter_examples() -> None:
    contract = load_contracts()["transactions"]
    assert contract.examples
    assert contract.counter_examples
    for example in contract.examples:
        answer = parse_transaction(json.dumps(dict(example.document)).encode(), NOW_MS)
        assert isinstance(answer, Transaction), example.name
    for counter in contract.counter_examples:
        refusal = parse_transaction(counter.payload, NOW_MS)
        assert isinstance(refusal, Rejection), counter.name
        assert refusal.reason == counter.reason, counter.name


@pytest.mark.parametrize(
    "merchant",
    [
        "Lawson\u3000Shibuya", "Caf\u00a0Noir", "a\u202fb", "Blu\u200bte", "\u05d7\u05e0\u05d5\u05ea\u200f",
        "soft\u00adhyphen",
        "\U0001f468\u200d\U0001f469 toys", "\ufeffShop", "A\u2060B",
    ],
    ids=ascii,
)  # fmt: skip
def test_characters_that_python_does_not_print_are_part_of_honest_names(merchant: str) -> None:
    fields = {"merchant": merchant, "category": merchant, "transaction_id": merchant, "customer_id": merchant}
    answer = parse_transaction(payload(**fields), NOW_MS)
    assert isinstance(answer, Transaction)
    assert (answer.merchant, answer.category, answer.customer_id) == (merchant, merchant, merchant)


@pytest.mark.parametrize("code", [0, 7, 9, 10, 13, 31, 127, 0x80, 0x85, 0x9F])
def test_control_characters_are_rejected(code: int) -> None:
    for name in (f"a{chr(code)}b", f"\u3000{chr(code)}"):
        answer = parse_transaction(payload(merchant=name), NOW_MS)
        assert isinstance(answer, Rejection)
        assert answer.reason == Why.INVALID_TEXT


def test_texts_have_one_unicode_form_and_ids_keep_their_bytes() -> None:
    answer = parse_transaction(payload(merchant="Cafe\u0301", customer_id="Zoe\u0308"), NOW_MS)
    assert isinstance(answer, Transaction)
    assert (answer.merchant, answer.customer_id) == ("Caf\u00e9", "Zoe\u0308")
    long = parse_transaction(payload(merchant="\u0958" * 128), NOW_MS)
    assert isinstance(long, Transaction), "its normal form has 256 characters; the name was valid before"
    assert long.merchant == "\u0958" * 128


def test_zero_zero_is_no_location() -> None:
    nowhere = parse_transaction(payload(location={"lat": 0, "lon": -0.0}), NOW_MS)
    equator = parse_transaction(payload(location={"lat": 0, "lon": 6.7}), NOW_MS)
    assert isinstance(nowhere, Transaction)
    assert isinstance(equator, Transaction)
    assert (nowhere.latitude, nowhere.longitude) == (None, None)
    assert (equator.latitude, equator.longitude) == (0.0, 6.7)


@pytest.mark.parametrize(("factor", "unit"), [(1_000, "microseconds"), (1_000_000, "nanoseconds")])
def test_a_time_in_a_smaller_unit_gets_a_hint(factor: int, unit: str) -> None:
    answer = parse_transaction(payload(event_time_ms=1_704_067_200_000 * factor), NOW_MS)
    assert isinstance(answer, Rejection)
    assert answer.detail.endswith(f"is it in {unit} instead of milliseconds?")
