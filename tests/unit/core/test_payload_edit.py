"""Edits of a record, and what the audit says of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given

from flink_jobs.core.dead_letters.payload_edit import changes_between, with_fields
from tests.strategies import documents

BEFORE = b'{"amount_minor":-5,"currency":"EUR","location":{"lat":1.0,"lon":2.0}}'


def test_fields_are_set_as_json_or_as_text_and_taken_away() -> None:
    after = with_fields(BEFORE, ["amount_minor=5", "currency=USD", "location.lat=3.5", "channel=", "merchant=a=b"])
    assert orjson.loads(after) == {
        "amount_minor": 5, "currency": "USD", "location": {"lat": 3.5, "lon": 2.0}, "merchant": "a=b",
    }  # fmt: skip
    assert orjson.loads(with_fields(BEFORE, ["location="])) == {"amount_minor": -5, "currency": "EUR"}
    assert orjson.loads(with_fields(b"{}", ["location.lat=1"])) == {"location": {"lat": 1}}


@pytest.mark.parametrize(
    ("payload", "assignment", "message"),
    [
        (b"[1]", "a=1", "not a JSON object"),
        (b"{", "a=1", "not a JSON object"),
        (b"{}", "a", "'a' is not name=value"),
        (b"{}", "=1", "'=1' is not name=value"),
        (b'{"a":1}', "a.b=1", "a in a.b is not a JSON object"),
    ],
)
def test_an_edit_that_is_none_says_so(payload: bytes, assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_fields(payload, [assignment])


def test_the_audit_names_each_field_with_both_values() -> None:
    after = with_fields(BEFORE, ["amount_minor=5", "currency=", "location.lat=3.5", "channel=pos"])
    assert changes_between(BEFORE, after) == [
        {"path": "amount_minor", "from": -5, "to": 5},
        {"path": "channel", "to": "pos"},
        {"path": "currency", "from": "EUR"},
        {"path": "location.lat", "from": 1.0, "to": 3.5},
    ]


@pytest.mark.parametrize(("one", "other"), [(b'{"a":1}', b'{"a":1.0}'), (b'{"a":1}', b'{"a":true}'), (b"{", b"{}")])
def test_what_is_not_the_same_json_is_a_change(one: bytes, other: bytes) -> None:
    assert changes_between(one, other)


@given(documents)
def test_a_document_does_not_differ_from_itself(document: dict[str, Any]) -> None:
    assert changes_between(orjson.dumps(document), orjson.dumps(document, option=orjson.OPT_INDENT_2)) == []
