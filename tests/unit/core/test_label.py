"""A message on ``.labels`` is held to the contract: the reader of other programs' messages and the schema agree."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.label import label_problem
from tests.contract.conftest import StrictValidator
from tests.strategies import json_values

CONTRACT = load_contracts()["labels"]
EXAMPLE = dict(CONTRACT.examples[0].document)
VALIDATOR = StrictValidator(CONTRACT.schema())


@pytest.mark.parametrize("example", CONTRACT.examples, ids=lambda example: example.name)
def test_every_example_is_a_label(example: Any) -> None:  # noqa: ANN401
    assert label_problem(orjson.dumps(dict(example.document))) is None


@pytest.mark.parametrize("counter", CONTRACT.counter_examples, ids=lambda counter: counter.name)
def test_no_counter_example_is(counter: Any) -> None:  # noqa: ANN401
    assert label_problem(counter.payload)


@given(st.dictionaries(st.sampled_from(sorted(EXAMPLE)), json_values, min_size=1, max_size=2))
def test_what_the_schema_refuses_is_refused(changed: dict[str, Any]) -> None:
    document = {**EXAMPLE, **changed}
    if list(VALIDATOR.iter_errors(document)):
        assert label_problem(orjson.dumps(document)) is not None


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
