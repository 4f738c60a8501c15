"""The reference in a manifest is read as it was written, and refused when it is invalid."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import orjson
import pytest

from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.reference import MAX_EDGES, Bins, Reference, parse_reference

GOOD: dict[str, Any] = {"rows": 4, "bins": {"score": {"edges": [0.5], "shares": [0.25, 0.75], "absent": 0.0}}}


def test_a_reference_is_read_as_it_was_written() -> None:
    bins = {"a": Bins((-1.0, 2.5), (0.5, 0.25, 0.25), 0.125), "b": Bins((), (0.0,), 1.0)}
    reference = Reference(12, bins)
    assert parse_reference(orjson.loads(orjson.dumps(asdict(reference)))) == reference


@pytest.mark.parametrize(
    "change",
    [
        {"edges": [0.5, 0.5], "shares": [0.2, 0.3, 0.5]},
        {"edges": [0.5], "shares": [1.0]},
        {"edges": [0.5], "shares": [1.5, -0.5]},
        {"edges": [0.5], "shares": [0.5, 0.4]},
        {"edges": [True], "shares": [0.5, 0.5]},
        {"edges": ["0.5"]},
        {"edges": None},
        {"absent": 1.5},
        {"absent": None},
        {"edges": list(range(MAX_EDGES + 1)), "shares": [1.0] + [0.0] * (MAX_EDGES + 1)},
    ],
)
def test_invalid_bins_are_refused(change: dict[str, Any]) -> None:
    document = {**GOOD, "bins": {"score": {**GOOD["bins"]["score"], **change}}}
    with pytest.raises(ModelError) as caught:
        parse_reference(document)
    assert caught.value.reason is ModelFault.BAD_MANIFEST


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"rows": 1}, {**GOOD, "rows": -1}, {**GOOD, "rows": True}, {**GOOD, "bins": {"score": 1}}],
)
def test_an_invalid_reference_is_refused(document: object) -> None:
    with pytest.raises(ModelError):
        parse_reference(document)


def test_the_valid_example_is_accepted() -> None:
    assert parse_reference(GOOD).bins["score"].shares == (0.25, 0.75)
