"""What holds of parsing for any bytes at all."""

import json
import math

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flink_jobs.core.parsing.json_faults import MAX_NESTING, is_too_deep, why_not_json
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.transaction import Rejection, Transaction
from tests.strategies import (
    KNOWN_FIELDS,
    NOW_MS,
    Document,
    as_transaction,
    document_of,
    documents,
    mutated_documents,
    unknown_fields,
    wire,
)

CARD_NUMBER = "4111111111111111"


@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 65_536)
@example(b'{"a":' * 13_107)
@example(b"\\" * 50 + b"[" * 50)
@example(b"1" * 60_000)
@example(b"1e" + b"9" * 60_000)
def test_no_bytes_raise(raw: bytes) -> None:
    assert isinstance(parse_transaction(raw, NOW_MS), Transaction | Rejection)


@given(st.text(st.sampled_from('{}[]":,\\ue0123456789-+.ENaIntfrls\n '), max_size=60))
def test_nothing_like_json_raises(text: str) -> None:
    assert isinstance(parse_transaction(text.encode(), NOW_MS), Transaction | Rejection)


def fault_of(text: str) -> tuple[DeadLetterReason, str | None]:
    """The fault that Python's parser finds in one pass, and its detail where the parser gives one."""
    numbers: list[float] = []

    def note(number: str) -> None:
        numbers.append(float(number))

    try:
        json.loads(text, parse_constant=note, parse_float=note, parse_int=note)
    except json.JSONDecodeError as error:
        return DeadLetterReason.MALFORMED_JSON, f"{error.msg} at character {error.pos}"
    is_finite = all(map(math.isfinite, numbers))
    return DeadLetterReason.MALFORMED_JSON if is_finite else DeadLetterReason.NON_FINITE_NUMBER, None


@given(st.text(st.sampled_from('{}[]":,\\ud8e0123456789-+.ENaIntfrlsy\n \x01\ufeff'), max_size=40))
@example("\ufeff{}")
@example('{"a":NaN,"b":-Infinity}')
@example('{"a":NaN,}')
@example('{"a":1e400,"b":' + "9" * 5_000 + "}")
@example('{"a":' + "9" * 5_000 + "}{}")
@example('"\\ud800"')
def test_the_fault_is_the_one_of_a_parser_that_reads_once(text: str) -> None:
    reason, detail = fault_of(text)
    found = why_not_json(text.encode())
    assert found.reason is reason
    assert detail in {found.detail, None}


def depth(text: str) -> int:
    """The deepest nesting, by reading character after character."""
    now = deepest = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            in_string = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            in_string = True
        elif char in "[{":
            now += 1
            deepest = max(deepest, now)
        elif char in "]}":
            now -= 1
    return deepest


@given(st.lists(st.sampled_from(["[" * 11, "{" * 17, '"', "\\", "]", "}" * 5, "[" * 33, "é", "\n"]), max_size=14))
def test_nesting_is_counted_outside_strings(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert is_too_deep(text.encode()) is (depth(text) > MAX_NESTING)


@given(documents)
def test_a_valid_document_is_what_it_says_and_comes_back(document: Document) -> None:
    transaction = parse_transaction(wire(document), NOW_MS)
    assert transaction == as_transaction(document)
    assert isinstance(transaction, Transaction)
    assert parse_transaction(wire(document_of(transaction)), NOW_MS) == transaction


@given(documents, unknown_fields)
def test_unknown_fields_change_nothing(document: Document, extra: Document) -> None:
    assert parse_transaction(wire({**extra, **document}), NOW_MS) == as_transaction(document)


@given(mutated_documents())
def test_a_mutated_document_is_a_transaction_or_a_rejection(document: Document) -> None:
    answer = parse_transaction(wire(document), NOW_MS)
    if isinstance(answer, Transaction):
        assert answer == as_transaction(document)
    else:
        assert isinstance(answer, Rejection)


@given(documents, st.integers(0, 400), st.integers(0, 255))
def test_one_changed_byte_never_raises(document: Document, position: int, byte: int) -> None:
    raw = bytearray(wire(document))
    raw[position % len(raw)] = byte
    assert isinstance(parse_transaction(bytes(raw), NOW_MS), Transaction | Rejection)


@pytest.mark.parametrize("field", KNOWN_FIELDS)
@pytest.mark.parametrize(
    "value",
    [
        CARD_NUMBER,
        CARD_NUMBER * 10,
        CARD_NUMBER + "\n",
        int(CARD_NUMBER),
        -int(CARD_NUMBER),
        float(CARD_NUMBER) + 0.5,
        [CARD_NUMBER],
        {"lat": CARD_NUMBER, "lon": 1.0},
        {"lat": 1.0, "lon": int(CARD_NUMBER)},
    ],
    ids=repr,
)
def test_details_hold_no_value_of_a_field(field: str, value: object) -> None:
    document = {
        "transaction_id": "t",
        "customer_id": "c",
        "amount_minor": 1,
        "currency": "USD",
        "event_time_ms": NOW_MS,
        field: value,
    }
    answer = parse_transaction(wire(document), NOW_MS)
    assert isinstance(answer, Transaction) or CARD_NUMBER not in answer.detail


@pytest.mark.parametrize("number", [CARD_NUMBER * 30, CARD_NUMBER + "e999", "-" + CARD_NUMBER + "e999"])
def test_details_hold_no_digits_of_a_number_too_large(number: str) -> None:
    """Guards a defect: the digits that made a number infinite stood in the detail."""
    answer = parse_transaction(b'{"amount_minor":' + number.encode() + b"}", NOW_MS)
    assert isinstance(answer, Rejection)
    assert "4111" not in answer.detail


@given(st.integers(1, 200))
def test_details_of_a_cut_document_hold_no_value(length: int) -> None:
    raw = orjson.dumps({"transaction_id": CARD_NUMBER, "customer_id": CARD_NUMBER, "merchant": CARD_NUMBER * 6})
    answer = parse_transaction(raw[:length], NOW_MS)
    assert isinstance(answer, Rejection)
    assert "4111" not in answer.detail
