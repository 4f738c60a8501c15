"""A message on ``.labels`` is held to the contract: the reader of other programs' messages and the schema agree."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.documents import Finding
from flink_jobs.core.label import Label, label_problem
from flink_jobs.core.parsing.purchase_ids import ID_LIMITS, purchase_id
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.transaction import Transaction
from tests.contract.conftest import StrictValidator
from tests.strategies import NOW_MS, json_values

CONTRACT = load_contracts()["labels"]
EXAMPLES = [dict(example.document) for example in CONTRACT.examples]
EXAMPLE = EXAMPLES[0]
FIELDS = sorted({name for document in EXAMPLES for name in document})
VALIDATOR = StrictValidator(CONTRACT.schema())


@pytest.mark.parametrize("example", CONTRACT.examples, ids=lambda example: example.name)
def test_every_example_is_a_label(example: Any) -> None:  # noqa: ANN401
    assert label_problem(orjson.dumps(dict(example.document))) is None


@pytest.mark.parametrize("counter", CONTRACT.counter_examples, ids=lambda counter: counter.name)
def test_no_counter_example_is(counter: Any) -> None:  # noqa: ANN401
    assert label_problem(counter.payload)


@given(
    st.sampled_from(EXAMPLES),
    st.dictionaries(st.sampled_from(FIELDS), json_values | st.sampled_from([1, 2, 3, "x"]), min_size=1, max_size=3),
    st.sets(st.sampled_from(["merchant", "event_time_ms", *ID_LIMITS]), max_size=2),
)
def test_what_the_schema_refuses_is_refused(
    example: dict[str, Any], changed: dict[str, Any], removed: set[str]
) -> None:
    document = {name: value for name, value in {**example, **changed}.items() if name not in removed}
    if list(VALIDATOR.iter_errors(document)):
        assert label_problem(orjson.dumps(document)) is not None


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("card", "4111 1111 1111 1111", "not a card number"),
        ("terminal", "cafe\u0301", "Unicode normal form C"),
        ("device", "  ", "device must be 1 to 128 characters"),
        ("card", "x" * 65, "card must be 1 to 64 characters"),
        ("event_time_ms", None, "event_time_ms must have a value"),
        ("event_time_ms", 1_705_276_800, "event_time_ms must be milliseconds"),
        ("merchant", None, "leave it out where it is unknown"),
    ],
)
def test_ids_have_the_form_of_the_decision(field: str, value: object, problem: str) -> None:
    (example,) = (document for document in EXAMPLES if "card" in document)
    found = str(label_problem(orjson.dumps({**example, field: value})))
    assert problem in found
    assert "4111" not in found, "an error never quotes a value"


@given(st.sampled_from(sorted(ID_LIMITS)), st.text(max_size=130) | st.from_regex(r"[0-9]{13,19}", fullmatch=True))
def test_an_id_of_a_transaction_is_valid_in_a_label_in_the_form_of_its_decision(field: str, text: str) -> None:
    row = {"transaction_id": "t", "customer_id": "c", "amount_minor": 1, "currency": "USD", "event_time_ms": NOW_MS}
    parsed = parse_transaction(orjson.dumps({**row, field: text}), NOW_MS)
    assert isinstance(parsed, Transaction)
    known = purchase_id(field, text)
    assert known == getattr(parsed, field)
    if known is not None:
        label = Label("t", "c", Finding.FRAUD, "analyst", NOW_MS, "a", event_time_ms=NOW_MS, **{field: known})
        document = orjson.dumps(label.document())
        assert label_problem(document) is None
        assert list(VALIDATOR.iter_errors(orjson.loads(document))) == []


@pytest.mark.parametrize("payload", [None, b"", b"\xff", b"[]", b"null", b'{"schema_version":2}'])
def test_other_bytes_are_no_label(payload: bytes | None) -> None:
    assert label_problem(payload)


def test_label_times_in_seconds_and_in_the_future_are_refused_by_name() -> None:
    now_ms = EXAMPLE["labelled_at_ms"]
    day_ms = 86_400_000
    seconds = orjson.dumps({**EXAMPLE, "labelled_at_ms": now_ms // 1_000})
    assert "in seconds instead of milliseconds" in str(label_problem(seconds))
    tomorrow = orjson.dumps({**EXAMPLE, "labelled_at_ms": now_ms + day_ms})
    later = orjson.dumps({**EXAMPLE, "labelled_at_ms": now_ms + day_ms + 1})
    assert label_problem(tomorrow, now_ms) is None, "clocks differ: a day of skew is allowed"
    assert label_problem(later, now_ms) == "labelled_at_ms is more than a day in the future"
    assert label_problem(later) is None, "without a clock the time is not checked"
