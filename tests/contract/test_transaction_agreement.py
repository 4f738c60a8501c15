"""The published schema of a transaction and the parser that decides say the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.currencies import MINOR_UNITS
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.transaction import Rejection, Transaction
from tests.contract.conftest import StrictValidator

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from flink_jobs.contracts.topic_contracts import CounterExample, Example

NOW_MS = 1_767_225_600_000
CONTRACT = load_contracts()["transactions"]
VALIDATORS = {version: StrictValidator(schema) for version, schema in CONTRACT.schemas.items()}
# What the schema leaves to the parser: its own description says so.
BEYOND_THE_SCHEMA = {
    DeadLetterReason.UNKNOWN_CURRENCY,  # the schema knows three capitals, the parser the ISO list
    DeadLetterReason.EVENT_TIME_IN_FUTURE,  # depends on the clock
    DeadLetterReason.INVALID_IP,  # the schema knows the characters of an address
}


def is_valid(document: object) -> bool:
    """Whether a document follows the version of the contract that it declares; without a declaration, version 1."""
    declared = document.get("schema_version") if isinstance(document, dict) else None
    return bool(VALIDATORS[2 if type(declared) is int and declared == 2 else 1].is_valid(document))


@pytest.mark.parametrize("example", CONTRACT.examples, ids=lambda example: example.name)
def test_the_parser_takes_every_example(example: Example) -> None:
    assert isinstance(parse_transaction(orjson.dumps(dict(example.document)), NOW_MS), Transaction)


@pytest.mark.parametrize("counter", CONTRACT.counter_examples, ids=lambda counter: counter.name)
def test_the_parser_gives_every_counter_example_its_reason(counter: CounterExample) -> None:
    answer = parse_transaction(counter.payload, NOW_MS)
    assert isinstance(answer, Rejection)
    assert answer.reason == counter.reason


def test_every_reason_of_parsing_has_a_counter_example() -> None:
    shown = {counter.reason for counter in CONTRACT.counter_examples}
    parsing = {DeadLetterReason.INVALID_IP}
    parsing |= set(list(DeadLetterReason)[: list(DeadLetterReason).index(DeadLetterReason.KEY_MISMATCH)])
    assert parsing - shown == {DeadLetterReason.OVERSIZE}, "64 KiB do not fit a YAML file; tests of faults send it"


@pytest.mark.parametrize("counter", CONTRACT.counter_examples, ids=lambda counter: counter.name)
def test_the_schema_refuses_what_is_json_in_a_counter_example(counter: CounterExample) -> None:
    try:
        document = orjson.loads(counter.payload)
    except orjson.JSONDecodeError:
        assert counter.reason in {"EMPTY_PAYLOAD", "INVALID_UTF8", "MALFORMED_JSON", "NON_FINITE_NUMBER"}
        return
    if counter.reason in {"EVENT_TIME_IN_FUTURE", "TOO_DEEP", "INVALID_IP"} and document.get("transaction_id"):
        return  # beyond the schema
    assert not is_valid(document)


JSON_VALUES: SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
IDS = st.text(min_size=1, max_size=66) | st.sampled_from(["t-1", "", " ", "a" * 64, "a" * 65, "line\n", "\x00"])
GOOD: dict[str, SearchStrategy[Any]] = {
    "transaction_id": IDS,
    "customer_id": IDS,
    "amount_minor": st.integers(-2, 10**12 + 2) | st.sampled_from([0, 10**12, 10**12 + 1, -1]),
    "currency": st.sampled_from([*sorted(MINOR_UNITS), "usd", "USDX", "USD\n", ""]),
    "event_time_ms": st.integers(0, NOW_MS + 10**8) | st.sampled_from([946_684_799_999, 946_684_800_000]),
}
OPTIONAL: dict[str, SearchStrategy[Any]] = {
    "merchant": st.none() | st.text(max_size=130),
    "category": st.none() | st.text(max_size=66),
    "channel": st.none() | st.text(max_size=34),
    "country": st.none() | st.sampled_from(["US", "us", "USA", "U1", "ÄÖ", "US\n", ""]),
    "location": st.none()
    | st.fixed_dictionaries(
        {}, optional={"lat": st.floats(-91, 91) | st.integers(-91, 91) | JSON_VALUES, "lon": st.floats(-181, 181)}
    ),
    "extra": JSON_VALUES,
    "schema_version": st.sampled_from([2, 2, 2, None, 1, 3, "2", True]),
    "terminal": st.none() | st.text(max_size=66),
    "device": st.none() | st.text(max_size=130),
    "card": st.none() | st.text(max_size=66) | st.just("4111111111111111"),
    "ip": st.none()
    | st.ip_addresses().map(str)
    | st.text("0123456789abcdef:.%/", max_size=47)
    | st.sampled_from(["192.0.2.01", "::ffff:192.0.2.1", "fe80::1%eth0", "1.2.3.4:80", "1::" + "0" * 44]),
}
ALMOST_GOOD = st.fixed_dictionaries(GOOD, optional=OPTIONAL)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents near the border: mostly good ones, of which one field is sometimes replaced or removed."""
    document = draw(ALMOST_GOOD)
    field = draw(st.sampled_from([*GOOD, *OPTIONAL, None, None, None]))
    if field is not None and draw(st.booleans()):
        document[field] = draw(JSON_VALUES)
    elif field is not None:
        document.pop(field, None)
    return document


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_schema_and_parser_agree(document: dict[str, Any]) -> None:
    raw = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    answer = parse_transaction(raw, NOW_MS)
    valid = is_valid(document)
    if isinstance(answer, Transaction):
        assert valid, "the parser takes what the contract refuses"
    elif valid:
        assert answer.reason in BEYOND_THE_SCHEMA, f"{answer.detail}: refused, but the contract allows it"


@settings(max_examples=200)
@given(JSON_VALUES)
def test_whatever_is_no_object_is_refused_by_both(value: object) -> None:
    if not isinstance(value, dict):
        assert isinstance(parse_transaction(orjson.dumps(value), NOW_MS), Rejection)
        assert not is_valid(value)


def test_currencies_of_the_parser_have_the_shape_of_the_schema() -> None:
    assert MINOR_UNITS
    for code in MINOR_UNITS:
        assert StrictValidator(CONTRACT.schema()["properties"]["currency"]).is_valid(code)
