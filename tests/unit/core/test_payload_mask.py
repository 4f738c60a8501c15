"""Copies of rejected messages have no card number, and else are the message byte for byte."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flink_jobs.core.dead_letters.letter import build_dlq_record, encode_dlq_record
from flink_jobs.core.dead_letters.payload_mask import masked_letter, masked_text, masked_value
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from flink_jobs.job.archiver.stored_form import stored_forms
from tests.avro_samples import avro
from tests.strategies import NOW_MS, record_of
from tests.unit.core.test_purchase_ids import IDS, LEAST

NUMBER = "4111111111111111"
TEXTS = {
    "a field": (f'{{"card":"{NUMBER}","n":1.0}}', '{"card":"****1111","n":1.0}'),
    "groups": ('{ "card" : "4111 1111 1111 1111" }', '{ "card" : "****1111" }'),
    "a number": (f'{{"card": {NUMBER},"a":1}}', '{"card": "****1111","a":1}'),
    "another name": (f'{{"pan":"{NUMBER}","cardNumber":"{NUMBER}"}}', '{"pan":"****1111","cardNumber":"****1111"}'),
    "an object": (f'{{"card":{{"number":"{NUMBER}","of":"c"}}}}', '{"card":{"number":"****1111","of":"c"}}'),
    "a list": (f'{{"cards":[{NUMBER}]}}', '{"cards":["****1111"]}'),
    "an escaped name": (f'{{"c\\u0061rd":"{NUMBER}"}}', '{"card":"****1111"}'),
    "escaped digits": ('{"card":"4111\\u00201111 1111 1111"}', '{"card":"****1111"}'),
    "the first of two": (f'{{"card":"{NUMBER}","card":"tok"}}', '{"card":"****1111","card":"tok"}'),
    "damaged": (f'{{"card":"{NUMBER}"', '{"card":"****1111"'),
    "cut in the number": ('{"amount":1,"card":"4111111111', '{"amount":1,"card":"****'),
    "quoted JSON": (f'{{"payload":"{{\\"card\\":\\"{NUMBER}\\"}}"}}', '{"payload":"{\\"card\\":\\"****1111\\"}"}'),
    "free text": (f'{{"reason":"{NUMBER} stolen"}}', '{"reason":"[card number] stolen"}'),
    "free text, damaged": (f'"comment":"on {NUMBER}"', '"comment":"on [card number]"'),
    "too long to be valid": (f'{{"card":"{NUMBER}{"x" * 60}"}}', f'{{"card":"****1111{"x" * 60}"}}'),
}


@pytest.mark.parametrize(("payload", "expected"), TEXTS.values(), ids=TEXTS)
def test_a_card_number_is_kept_as_its_last_four_digits(payload: str, expected: str) -> None:
    assert masked_text(payload) == expected
    assert masked_text(expected) == expected


@pytest.mark.parametrize(
    "payload",
    ["", "{", '{"card":"tok_4111111111111111"}', '{"card":"4111111111111112"}', '{"card":null,"card_present":true}',
     f'{{"transaction_id":"{NUMBER}","event_time_ms":1111111111111}}', "[" * 2_000, '{"card":"****1111"}',
     '{"reason":"order 4111111111111112","amount":1.50}', '"card":"'],
)  # fmt: skip
def test_a_message_without_one_is_unchanged(payload: str) -> None:
    assert masked_text(payload) == payload


@given(st.text(max_size=300))
@example('{"card":"\ud800"}'.encode("utf-8", "replace").decode())
def test_no_text_is_an_error(text: str) -> None:
    assert masked_text(masked_text(text)) == masked_text(text)


@pytest.mark.parametrize(
    "payload",
    ["\\" * 10_240 + "card", '"' + "card" * 2_500, '"card":"' * 1_400, f'"card":"{"1 " * 5_000}"',
     '"card"' + " " * 10_000, f'{{"reason":"{"1 " * 5_000}"}}', '{"card":' + "[" * 500 + "]" * 500 + "}"],
    ids=["backslashes", "names", "no ends", "groups", "spaces", "text", "nested"],
)  # fmt: skip
def test_payloads_for_which_a_search_of_all_places_takes_minutes(payload: str) -> None:
    assert masked_text(masked_text(payload)) == masked_text(payload)


def letter_of(payload: bytes) -> dict[str, Any]:
    body = build_dlq_record(
        record_of(payload), DeadLetterReason.WRONG_TYPE, PipelineStage.PARSE, "why", Disposition.REJECTED, NOW_MS
    )
    document: dict[str, Any] = orjson.loads(encode_dlq_record(body))
    return document


def bytes_of(letter: dict[str, Any]) -> bytes:
    return b64decode(letter["payload"]) if letter["payload_encoding"] == "base64" else letter["payload"].encode()


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (TEXTS["a field"][0].encode(), TEXTS["a field"][1].encode()),
        (b'{"m":"Caf\xff","card":"4111111111111111"}', b'{"m":"Caf\xff","card":"****1111"}'),
        ('{"card":"4111111111111111"}'.encode("utf-16"), '{"card":"****1111"}'.encode("utf-16")),
        (b"\0\0\0\0\7 4111111111111111\2", b"\0\0\0\0\7 ************1111\2"),
        (b"\0\0\0\0\7" + b"no number \xff", b"\0\0\0\0\7" + b"no number \xff"),
        (b'{"m":"\xff","card":"tok"}', b'{"m":"\xff","card":"tok"}'),
    ],
)
def test_the_copy_of_a_dead_letter_differs_in_its_payload_only(payload: bytes, expected: bytes) -> None:
    letter = letter_of(payload)
    copy = masked_letter(letter)
    assert bytes_of(copy) == expected
    assert {**copy, "payload": ""} == {**letter, "payload": ""}
    outer = letter_of(orjson.dumps(letter))  # a dead letter about a dead letter
    assert NUMBER not in str(masked_letter(outer)) + bytes_of(orjson.loads(bytes_of(masked_letter(outer)))).decode(
        "latin-1"
    )


def test_avro_stays_readable_with_its_schema() -> None:
    record = avro({**LEAST, **IDS, "schema_version": 2, "card": NUMBER})
    copy = bytes_of(masked_letter(letter_of(record)))
    assert copy == record.replace(NUMBER.encode(), b"************1111")


def test_a_tombstone_and_a_damaged_letter_are_unchanged() -> None:
    for letter in ({"payload": None}, {}, {"payload": "%", "payload_encoding": "base64"}):
        assert masked_letter(letter) is letter


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [("card", NUMBER, "****1111"), ("card.number", int(NUMBER), "****1111"), ("a.pan", NUMBER, "****1111"),
     ("reason", NUMBER, "[card number]"), ("merchant", NUMBER, NUMBER), ("card", "tok", "tok"), ("card", None, None)],
)  # fmt: skip
def test_the_value_of_one_field(path: str, value: object, expected: object) -> None:
    assert masked_value(path, value) == expected


def test_each_topic_is_stored_without_numbers_and_decisions_are_not_touched() -> None:
    text, expected = TEXTS["free text"]
    letter = orjson.dumps(letter_of(TEXTS["a field"][0].encode())).decode()
    encoded = b64encode(b"\xff" + TEXTS["a field"][0].encode()).decode()
    for topic in ("labels", "user-actions", "audit"):
        assert stored_forms(topic, [text, "{"]) == [expected, "{"]
    assert [NUMBER in message for message in stored_forms("dlq", [letter, letter[:-1]])] == [False, False]
    assert stored_forms("dlq", ["[1]", '{"payload":"x"}', encoded]) == ["[1]", '{"payload":"x"}', encoded]
    assert stored_forms("dlq", [f"[{TEXTS['a field'][0]}]"]) == [f"[{TEXTS['a field'][1]}]"], "no letter"
    messages = ["{}"]
    assert stored_forms("decisions", messages) is messages
