"""Every kind of malformed record that the detector must reject, each with the reason of its dead letter.

Each kind in the table ``MALFORMED_KINDS`` takes a valid transaction and returns malformed bytes. The detector rejects
these bytes, so they change neither a customer's state nor the decision on a valid event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from flink_jobs.core.parsing.json_faults import MAX_NESTING
from flink_jobs.core.parsing.transactions import MAX_AMOUNT_MINOR, MAX_IDENTIFIER_CHARS, MAX_PAYLOAD_BYTES
from flink_jobs.core.reasons import DeadLetterReason as Reason
from flink_jobs.traffic.purchase_ids import IDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Document = dict[str, Any]
REQUIRED = ("transaction_id", "customer_id", "amount_minor", "currency", "event_time_ms")
FAR_FUTURE_MS = 4_102_444_800_000  # 2100-01-01
BEYOND_ANY_PARSER = 20_000  # nesting that overflows the stack of a recursive parser


@dataclass(frozen=True, slots=True)
class MalformedKind:
    """One kind of malformed record.

    Attributes:
        name: name of the fault, in ledgers and tests.
        reason: reason that the dead letter must have.
        build: makes the payload from a valid transaction; None is a tombstone.
        weight: relative frequency; large payloads are rare.
    """

    name: str
    reason: Reason
    build: Callable[[Random, Document], bytes | None]
    weight: int = 10


def _json(document: Document) -> bytes:
    return orjson.dumps(document)


def _set(**fields: Any) -> Callable[[Random, Document], bytes]:  # noqa: ANN401 - any JSON value
    """Return a builder that overwrites fields of the transaction."""
    return lambda _rng, document: _json({**document, **fields})


def _number(field: str, literal: bytes) -> Callable[[Random, Document], bytes]:
    """Return a builder that writes a literal that JSON does not allow, such as NaN."""
    mark = "@number@"
    return lambda _rng, document: _json({**document, field: mark}).replace(orjson.dumps(mark), literal)


def _without_one(rng: Random, document: Document) -> bytes:
    gone = rng.choice(REQUIRED)
    return _json({field: value for field, value in document.items() if field != gone})


def _with_null(rng: Random, document: Document) -> bytes:
    return _json({**document, rng.choice(REQUIRED): None})


def _cut(rng: Random, document: Document) -> bytes:
    # Without ids, so that the place of the cut, and with it every later fault, is the same with them and without them.
    plain = {field: value for field, value in document.items() if field not in {*IDS, "schema_version"}}
    payload = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
    ascii_only = payload.decode().encode("ascii", "replace")  # a cut must not fall inside a character
    return ascii_only[: rng.randrange(1, len(ascii_only) - 1)]


def _not_utf8(rng: Random, document: Document) -> bytes:
    bad = rng.choice((b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"))
    return _json({**document, "merchant": "@"}).replace(b'"@"', b'"Caf' + bad + b'"')


def _nested(levels: int, document: Document) -> bytes:
    return _json({**document, "extra": "@"}).replace(b'"@"', b"[" * levels + b"]" * levels)


def _oversize(rng: Random, document: Document) -> bytes:
    return _json({**document, "note": "x" * (MAX_PAYLOAD_BYTES + rng.randrange(1, 2_000))})


MALFORMED_KINDS: tuple[MalformedKind, ...] = (
    # the bytes
    MalformedKind("empty_payload", Reason.EMPTY_PAYLOAD, lambda _rng, _document: b""),
    MalformedKind("tombstone", Reason.EMPTY_PAYLOAD, lambda _rng, _document: None),
    MalformedKind("oversize", Reason.OVERSIZE, _oversize, weight=1),
    MalformedKind("not_utf8", Reason.INVALID_UTF8, _not_utf8),
    MalformedKind("utf16", Reason.INVALID_UTF8, lambda _rng, document: _json(document).decode().encode("utf-16")),
    MalformedKind("truncated", Reason.MALFORMED_JSON, _cut),
    MalformedKind("xml", Reason.MALFORMED_JSON, lambda _rng, _document: b"<transaction amount='1250'/>"),
    MalformedKind("lone_surrogate", Reason.MALFORMED_JSON, _number("merchant", rb'"\ud800"')),
    MalformedKind("two_documents", Reason.MALFORMED_JSON, lambda _rng, document: _json(document) + _json(document)),
    MalformedKind("deep_nesting", Reason.TOO_DEEP, lambda _rng, document: _nested(MAX_NESTING + 1, document)),
    MalformedKind("stack_bomb", Reason.TOO_DEEP, lambda _rng, document: _nested(BEYOND_ANY_PARSER, document), weight=1),
    MalformedKind("array", Reason.NOT_AN_OBJECT, lambda _rng, document: b"[" + _json(document) + b"]"),
    MalformedKind("text", Reason.NOT_AN_OBJECT, lambda _rng, document: orjson.dumps(_json(document).decode())),
    MalformedKind("nan", Reason.NON_FINITE_NUMBER, _number("amount_minor", b"NaN")),
    MalformedKind("infinity", Reason.NON_FINITE_NUMBER, _number("amount_minor", b"-Infinity")),
    MalformedKind("overflow", Reason.NON_FINITE_NUMBER, _number("amount_minor", b"1e400")),
    # the fields
    MalformedKind("missing_field", Reason.MISSING_FIELD, _without_one),
    MalformedKind("half_a_location", Reason.MISSING_FIELD, _set(location={"lat": 47.3})),
    MalformedKind("null_field", Reason.WRONG_TYPE, _with_null),
    MalformedKind("amount_as_text", Reason.WRONG_TYPE, _set(amount_minor="1250")),
    MalformedKind("amount_with_fraction", Reason.WRONG_TYPE, _set(amount_minor=12.5)),
    MalformedKind("amount_true", Reason.WRONG_TYPE, _set(amount_minor=True)),
    MalformedKind("time_as_text", Reason.WRONG_TYPE, _set(event_time_ms="2024-01-01T00:00:02Z")),
    MalformedKind("location_as_pair", Reason.WRONG_TYPE, _set(location=[47.3, 8.5])),
    MalformedKind("empty_id", Reason.INVALID_TEXT, _set(transaction_id="")),
    MalformedKind("long_id", Reason.INVALID_TEXT, _set(transaction_id="t" * (MAX_IDENTIFIER_CHARS + 1))),
    MalformedKind("null_character", Reason.INVALID_TEXT, _set(merchant="Caf\0")),
    MalformedKind("negative_amount", Reason.NEGATIVE_AMOUNT, _set(amount_minor=-1_250)),
    MalformedKind("absurd_amount", Reason.AMOUNT_OUT_OF_RANGE, _set(amount_minor=MAX_AMOUNT_MINOR + 1)),
    MalformedKind("unknown_currency", Reason.UNKNOWN_CURRENCY, _set(currency="ZZZ")),
    MalformedKind("far_future", Reason.EVENT_TIME_IN_FUTURE, _set(event_time_ms=FAR_FUTURE_MS)),
    MalformedKind("time_in_seconds", Reason.EVENT_TIME_OUT_OF_RANGE, _set(event_time_ms=1_704_067_202)),
    MalformedKind("latitude_91", Reason.COORDINATES_OUT_OF_RANGE, _set(location={"lat": 91.0, "lon": 8.5})),
    MalformedKind("longitude_181", Reason.COORDINATES_OUT_OF_RANGE, _set(location={"lat": 47.3, "lon": -181.0})),
    MalformedKind("country_name", Reason.INVALID_COUNTRY, _set(country="Switzerland")),
)
