"""Every kind of bad record the detector must refuse, each with the reason it must give.

One table, ``KINDS``: a kind takes a well-formed transaction and returns the bytes to send in its place. A record
made here never is a transaction, so it neither changes a customer's history nor a decision on a good event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from flink_jobs.core.parsing.transactions import (
    MAX_AMOUNT_MINOR,
    MAX_IDENTIFIER_CHARS,
    MAX_NESTING,
    MAX_PAYLOAD_BYTES,
)
from flink_jobs.core.reasons import DeadLetterReason as Why

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Document = dict[str, Any]
REQUIRED = ("transaction_id", "customer_id", "amount_minor", "currency", "event_time_ms")
FAR_FUTURE_MS = 4_102_444_800_000  # 2100-01-01
BEYOND_ANY_PARSER = 20_000  # nesting that overflows the stack of a recursive parser


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of bad record.

    Attributes:
        name: of the fault, in ledgers and tests.
        reason: what the dead letter must say.
        build: makes the payload from a well-formed transaction; None is a tombstone.
        weight: how often it is chosen, against the others; large payloads are rare.
    """

    name: str
    reason: Why
    build: Callable[[Random, Document], bytes | None]
    weight: int = 10


def _json(document: Document) -> bytes:
    return orjson.dumps(document)


def _set(**fields: Any) -> Callable[[Random, Document], bytes]:  # noqa: ANN401 - any JSON value
    """Return a builder that overwrites fields of the transaction."""
    return lambda _rng, document: _json({**document, **fields})


def _number(field: str, literal: bytes) -> Callable[[Random, Document], bytes]:
    """Return a builder that writes a number JSON has no way to write, such as NaN."""
    mark = "@number@"
    return lambda _rng, document: _json({**document, field: mark}).replace(orjson.dumps(mark), literal)


def _without_one(rng: Random, document: Document) -> bytes:
    gone = rng.choice(REQUIRED)
    return _json({field: value for field, value in document.items() if field != gone})


def _with_null(rng: Random, document: Document) -> bytes:
    return _json({**document, rng.choice(REQUIRED): None})


def _cut(rng: Random, document: Document) -> bytes:
    payload = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    ascii_only = payload.decode().encode("ascii", "replace")  # a cut must not fall inside a character
    return ascii_only[: rng.randrange(1, len(ascii_only) - 1)]


def _not_utf8(rng: Random, document: Document) -> bytes:
    bad = rng.choice((b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"))
    return _json({**document, "merchant": "@"}).replace(b'"@"', b'"Caf' + bad + b'"')


def _nested(levels: int, document: Document) -> bytes:
    return _json({**document, "extra": "@"}).replace(b'"@"', b"[" * levels + b"]" * levels)


def _oversize(rng: Random, document: Document) -> bytes:
    return _json({**document, "note": "x" * (MAX_PAYLOAD_BYTES + rng.randrange(1, 2_000))})


KINDS: tuple[Kind, ...] = (
    # the bytes
    Kind("empty_payload", Why.EMPTY_PAYLOAD, lambda _rng, _document: b""),
    Kind("tombstone", Why.EMPTY_PAYLOAD, lambda _rng, _document: None),
    Kind("oversize", Why.OVERSIZE, _oversize, weight=1),
    Kind("not_utf8", Why.INVALID_UTF8, _not_utf8),
    Kind("utf16", Why.INVALID_UTF8, lambda _rng, document: _json(document).decode().encode("utf-16")),
    Kind("truncated", Why.MALFORMED_JSON, _cut),
    Kind("xml", Why.MALFORMED_JSON, lambda _rng, _document: b"<transaction amount='1250'/>"),
    Kind("lone_surrogate", Why.MALFORMED_JSON, _number("merchant", rb'"\ud800"')),
    Kind("two_documents", Why.MALFORMED_JSON, lambda _rng, document: _json(document) + _json(document)),
    Kind("deep_nesting", Why.TOO_DEEP, lambda _rng, document: _nested(MAX_NESTING + 1, document)),
    Kind("stack_bomb", Why.TOO_DEEP, lambda _rng, document: _nested(BEYOND_ANY_PARSER, document), weight=1),
    Kind("array", Why.NOT_AN_OBJECT, lambda _rng, document: b"[" + _json(document) + b"]"),
    Kind("text", Why.NOT_AN_OBJECT, lambda _rng, document: orjson.dumps(_json(document).decode())),
    Kind("nan", Why.NON_FINITE_NUMBER, _number("amount_minor", b"NaN")),
    Kind("infinity", Why.NON_FINITE_NUMBER, _number("amount_minor", b"-Infinity")),
    Kind("overflow", Why.NON_FINITE_NUMBER, _number("amount_minor", b"1e400")),
    # the fields
    Kind("missing_field", Why.MISSING_FIELD, _without_one),
    Kind("half_a_location", Why.MISSING_FIELD, _set(location={"lat": 47.3})),
    Kind("null_field", Why.WRONG_TYPE, _with_null),
    Kind("amount_as_text", Why.WRONG_TYPE, _set(amount_minor="1250")),
    Kind("amount_with_fraction", Why.WRONG_TYPE, _set(amount_minor=12.5)),
    Kind("amount_true", Why.WRONG_TYPE, _set(amount_minor=True)),
    Kind("time_as_text", Why.WRONG_TYPE, _set(event_time_ms="2024-01-01T00:00:02Z")),
    Kind("location_as_pair", Why.WRONG_TYPE, _set(location=[47.3, 8.5])),
    Kind("empty_id", Why.INVALID_TEXT, _set(transaction_id="")),
    Kind("long_id", Why.INVALID_TEXT, _set(transaction_id="t" * (MAX_IDENTIFIER_CHARS + 1))),
    Kind("null_character", Why.INVALID_TEXT, _set(merchant="Caf\0")),
    Kind("negative_amount", Why.NEGATIVE_AMOUNT, _set(amount_minor=-1_250)),
    Kind("absurd_amount", Why.AMOUNT_OUT_OF_RANGE, _set(amount_minor=MAX_AMOUNT_MINOR + 1)),
    Kind("unknown_currency", Why.UNKNOWN_CURRENCY, _set(currency="ZZZ")),
    Kind("far_future", Why.EVENT_TIME_IN_FUTURE, _set(event_time_ms=FAR_FUTURE_MS)),
    Kind("time_in_seconds", Why.EVENT_TIME_OUT_OF_RANGE, _set(event_time_ms=1_704_067_202)),
    Kind("latitude_91", Why.COORDINATES_OUT_OF_RANGE, _set(location={"lat": 91.0, "lon": 8.5})),
    Kind("longitude_181", Why.COORDINATES_OUT_OF_RANGE, _set(location={"lat": 47.3, "lon": -181.0})),
    Kind("country_name", Why.INVALID_COUNTRY, _set(country="Switzerland")),
)
