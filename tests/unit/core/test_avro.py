"""Avro bytes to transaction: a case for every reason, and schemas that changed."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest

from flink_jobs.core.dead_letters.redrive import NO_HISTORY, customer_of, judge
from flink_jobs.core.evaluator import TransactionEvaluator
from flink_jobs.core.parsing.avro import WriterSchemas
from flink_jobs.core.parsing.avro_resolution import IncompatibleSchemaError, resolve
from flink_jobs.core.parsing.json_faults import MAX_NESTING
from flink_jobs.core.parsing.transactions import MAX_PAYLOAD_BYTES, parse_transaction
from flink_jobs.core.reasons import DeadLetterReason as Why
from flink_jobs.core.transaction import Rejection, Transaction
from tests.avro_samples import READER, SCHEMA_ID, Schema, avro, body, framed, knowing, our_schema
from tests.strategies import NOW_MS, record_of, wire
from tests.unit.core.evaluation import Stream, parts
from tests.unit.core.test_evaluator import only_letter
from tests.unit.core.test_redrive import letter

VALID: dict[str, Any] = {
    "transaction_id": "t-1",
    "customer_id": "c-1",
    "amount_minor": 1250,
    "currency": "USD",
    "event_time_ms": 1_704_067_202_000,
}
FULL: dict[str, Any] = {
    **VALID,
    "merchant": "Café Zoë",
    "category": "gas",
    "location": {"lat": 42.5, "lon": -84.25},
    "channel": "pos",
    "country": "US",
}


def with_field(name: str, kind: object, **more: object) -> Schema:
    """The contract's schema with a field added in front, or with another type for one."""
    schema = our_schema()
    schema["fields"] = [field for field in schema["fields"] if field["name"] != name]
    schema["fields"].insert(0, {"name": name, "type": kind, **more})
    return schema


def parse(raw: bytes, schema: Schema | None = None) -> Transaction | Rejection:
    return knowing(schema or our_schema()).parse(raw, NOW_MS)


def rejection(raw: bytes, schema: Schema | None = None) -> Rejection:
    answer = parse(raw, schema)
    assert isinstance(answer, Rejection), answer
    return answer


@pytest.mark.parametrize("document", [VALID, FULL], ids=["required only", "every field"])
def test_an_avro_record_is_the_same_transaction_as_its_json(document: dict[str, Any]) -> None:
    assert parse(avro(document)) == parse_transaction(wire(document), NOW_MS)
    assert isinstance(parse(avro(document)), Transaction)


def test_json_is_read_beside_avro_with_its_own_reasons() -> None:
    assert parse(b" \n" + wire(VALID)) == parse(avro(VALID))
    assert rejection(b"").reason is Why.EMPTY_PAYLOAD
    assert rejection(b"<x/>").reason is Why.MALFORMED_JSON
    answer = WriterSchemas().parse(None, NOW_MS)
    assert isinstance(answer, Rejection)
    assert answer.reason is Why.EMPTY_PAYLOAD


LATITUDE = struct.pack("<d", FULL["location"]["lat"])

FAULTS: dict[str, tuple[bytes, Why, str]] = {
    "only the magic byte": (b"\0", Why.MALFORMED_AVRO, "ends before the id of its schema"),
    "half an id": (b"\0\0\0\0", Why.MALFORMED_AVRO, "ends before the id of its schema"),
    "another schema": (framed(b"x", 99), Why.UNKNOWN_SCHEMA, "schema 99, which the job does not have"),
    "no body": (framed(b""), Why.MALFORMED_AVRO, "cut off, in the field transaction_id of schema 7"),
    "cut": (avro(FULL)[:-1], Why.MALFORMED_AVRO, "cut off, in the field schema_version of schema 7"),
    "bytes after it": (avro(VALID) + b"\0", Why.MALFORMED_AVRO, "1 bytes follow the record"),
    "negative length": (framed(b"\x01"), Why.MALFORMED_AVRO, "a length is negative, in the field transaction_id"),
    "huge length": (framed(b"\xfe\xff\xff\xff\x0f"), Why.MALFORMED_AVRO, "cut off, in the field transaction_id"),
    "11 bytes of integer": (framed(b"\xff" * 11), Why.MALFORMED_AVRO, "more than 64 bits"),
    "65 bits": (framed(b"\xff" * 9 + b"\x7f"), Why.MALFORMED_AVRO, "more than 64 bits"),
    "no such branch": (avro(VALID)[:-5] + b"\x04" * 5, Why.MALFORMED_AVRO, "a union has no such branch"),
    "not UTF-8": (avro(VALID).replace(b"c-1", b"c\xff1"), Why.INVALID_UTF8, "invalid UTF-8 in the field customer_id"),
    "NaN": (
        avro(FULL).replace(LATITUDE, struct.pack("<d", float("nan"))),
        Why.NON_FINITE_NUMBER,
        "NaN or infinite, in the field lat",
    ),
    "oversize": (avro({**VALID, "merchant": "x" * MAX_PAYLOAD_BYTES}), Why.OVERSIZE, "the limit is 65536"),
    "negative amount": (avro({**VALID, "amount_minor": -(2**63)}), Why.NEGATIVE_AMOUNT, "amount_minor is negative"),
    "amount": (avro({**VALID, "amount_minor": 2**63 - 1}), Why.AMOUNT_OUT_OF_RANGE, "above"),
    "currency": (avro({**VALID, "currency": "ZZZ"}), Why.UNKNOWN_CURRENCY, "ISO 4217"),
    "control character": (avro({**VALID, "customer_id": "a\0"}), Why.INVALID_TEXT, "control characters"),
    "latitude": (
        avro({**VALID, "location": {"lat": 91.0, "lon": 0.0}}),
        Why.COORDINATES_OUT_OF_RANGE,
        "lat must be in",
    ),
}


@pytest.mark.parametrize(("raw", "reason", "detail"), FAULTS.values(), ids=FAULTS.keys())
def test_a_faulty_record_says_why(raw: bytes, reason: Why, detail: str) -> None:
    answer = rejection(raw)
    assert answer.reason is reason
    assert detail in answer.detail


def test_a_record_that_is_cut_anywhere_is_rejected() -> None:
    raw = avro(FULL)
    for length in range(1, len(raw)):
        assert rejection(raw[:length]).reason is Why.MALFORMED_AVRO, length


EVOLVED: dict[str, Schema] = {
    "int for long": with_field("amount_minor", "int"),
    "bytes for string": with_field("currency", "bytes"),
    "logical type": with_field("event_time_ms", {"type": "long", "logicalType": "timestamp-millis"}),
    "string that may be null": with_field("customer_id", ["null", "string"]),
    "required merchant": with_field("merchant", "string"),
    "added text": with_field("shelf", ["null", "string"], default=None),
    "added everything": with_field(
        "extra",
        {
            "type": "record",
            "name": "Extra",
            "fields": [
                {"name": "flag", "type": "boolean"},
                {"name": "many", "type": {"type": "array", "items": ["null", "double", "float"]}},
                {"name": "by_name", "type": {"type": "map", "values": "bytes"}},
                {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}},
                {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 4}},
                {"name": "other", "type": "Hash"},
                {"name": "next", "type": ["null", "Extra"]},
            ],
        },
    ),
}
INNER = {
    "flag": True, "many": [None, 1.5, 2.5], "by_name": {"a": b"x", "b": b""}, "kind": "B", "hash": b"1234",
    "other": b"5678", "next": None,
}  # fmt: skip
MORE: dict[str, Any] = {"shelf": "t-9", "extra": {**INNER, "next": INNER}, "currency": b"USD"}


@pytest.mark.parametrize("name", EVOLVED)
def test_records_of_another_schema_are_resolved(name: str) -> None:
    schema = EVOLVED[name]
    names = {field["name"] for field in schema["fields"]}
    document = {**FULL, **{key: value for key, value in MORE.items() if key in names}}
    if name != "bytes for string":
        document["currency"] = "USD"
    assert parse(avro(document, schema), schema) == parse(avro(FULL))


def test_a_writer_without_the_optional_fields_and_with_integer_degrees_is_resolved() -> None:
    schema = our_schema()
    place = {"type": "record", "name": "Location", "fields": [{"name": n, "type": "int"} for n in ("lon", "lat")]}
    schema["fields"] = [*schema["fields"][:5], {"name": "location", "type": place}]
    answer = parse(avro({**VALID, "location": {"lat": 42, "lon": -84}}, schema), schema)
    assert isinstance(answer, Transaction)
    assert (answer.latitude, answer.longitude, answer.merchant) == (42.0, -84.0, None)
    assert type(answer.latitude) is float


def test_a_null_in_a_required_field_is_the_wrong_type() -> None:
    schema = with_field("customer_id", ["null", "string"])
    answer = rejection(avro({**VALID, "customer_id": None}, schema), schema)
    assert answer == Rejection(Why.WRONG_TYPE, "customer_id must be a string, not an Avro null")


def renamed(name: str) -> Schema:
    return {**our_schema(), "name": name}


INCOMPATIBLE: dict[str, tuple[object, str]] = {
    "no customer": (
        {**our_schema(), "fields": [f for f in our_schema()["fields"] if f["name"] != "customer_id"]},
        "has no field customer_id, which is required",
    ),
    "text as amount": (with_field("amount_minor", "string"), "amount_minor must be an integer, not an Avro string"),
    "double as amount": (with_field("amount_minor", "double"), "amount_minor must be an integer, not an Avro double"),
    "enum as channel": (
        with_field("channel", {"type": "enum", "name": "Channel", "symbols": ["pos"]}),
        "channel must be a string, not an Avro enum",
    ),
    "another record": (renamed("Payment"), "its name must be Transaction"),
    "no record": ("string", "must be a record"),
    "an unknown type": (with_field("extra", "Elsewhere"), "names a type that it does not define"),
    "not Avro": ({"type": "record"}, "not valid Avro"),
    "a type that does not exist": (with_field("extra", {"type": "tuple"}), "has a type that Avro does not have"),
}


@pytest.mark.parametrize(("schema", "detail"), INCOMPATIBLE.values(), ids=INCOMPATIBLE.keys())
def test_a_schema_that_the_contract_cannot_read_says_why(schema: object, detail: str) -> None:
    with pytest.raises(IncompatibleSchemaError, match=detail):
        resolve(json.dumps(schema), READER)
    answer = rejection(avro(VALID), schema)  # type: ignore[arg-type]
    assert answer.reason is Why.INCOMPATIBLE_SCHEMA
    assert detail in answer.detail
    assert answer.detail.startswith("schema 7: ")


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ud800".encode("utf-8", "surrogatepass"), "x" * 1_000_001])
def test_a_text_that_is_no_schema_is_refused(text: str | bytes) -> None:
    with pytest.raises(IncompatibleSchemaError):
        resolve(text, READER)


def test_endless_arrays_and_deep_values_end() -> None:
    nothing = with_field("extra", {"type": "array", "items": "null"})
    many = framed(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")
    assert rejection(many, nothing).detail.startswith(
        "fields that the contract does not have hold more than 65536 items"
    )
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    chain = with_field("extra", node)
    assert rejection(framed(b"\x02" * 40 + b"\0"), chain).reason is Why.TOO_DEEP
    itself = with_field("extra", {"type": "record", "name": "Loop", "fields": [{"name": "next", "type": "Loop"}]})
    assert rejection(framed(b""), itself).reason is Why.TOO_DEEP
    assert MAX_NESTING == 32
    doubled: object = "null"
    for level in range(20):
        fields = [{"name": "a", "type": doubled}, {"name": "b", "type": f"Level{level - 1}" if level else "null"}]
        doubled = {"type": "record", "name": f"Level{level}", "fields": fields}
    assert "more than 65536 items" in rejection(framed(b""), with_field("extra", doubled)).detail


def test_blocks_with_their_size_are_skipped() -> None:
    schema = with_field("extra", {"type": "array", "items": "long"})
    rest = body(VALID, our_schema())
    block = b"\x03\x04\x02\x04"  # 2 items, 2 bytes: 1, 2
    assert isinstance(parse(framed(block + b"\0" + rest), schema), Transaction)
    assert rejection(framed(b"\x03\x01" + rest), schema).detail.startswith("a length is negative")


def test_the_evaluator_scores_avro_and_keeps_the_bytes_of_a_rejected_record() -> None:
    stream = Stream(TransactionEvaluator(parse=knowing(our_schema()).parse))
    decision, _, letters = parts(stream.send(record_of(avro(VALID))))
    assert decision is not None
    assert (decision["customer_id"], letters) == ("c-1", [])
    unknown = framed(body(VALID, our_schema()), 99)
    refused = only_letter(stream.send(record_of(unknown, offset=8)))
    assert (refused["reason"], refused["stage"], refused["payload_encoding"]) == ("UNKNOWN_SCHEMA", "parse", "base64")
    other = only_letter(stream.send(record_of(avro(VALID), routing_key="c-2", offset=9)))
    assert other["reason"] == "KEY_MISMATCH"
    assert "message key, which must be its customer_id" in other["detail"]


def test_a_redrive_needs_the_schema_and_no_edit() -> None:
    raw, knows = avro(VALID), knowing(our_schema()).parse
    for reason in (Why.UNKNOWN_SCHEMA, Why.KEY_MISMATCH):
        item = letter(raw, reason)
        assert judge(item, raw, NO_HISTORY, 3, NOW_MS, parse=knows).is_allowed
        assert not judge(item, raw, NO_HISTORY, 3, NOW_MS, parse=WriterSchemas().parse).is_allowed
    assert customer_of(raw, knows) == "c-1"
    assert customer_of(raw) is None
    assert SCHEMA_ID == 7
