"""Labels: only what the contract allows is sent, and the same label is the same message."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.documents import Finding
from flink_jobs.core.label import Label
from flink_jobs.kafka.label_sender import DAY_MS, labels_of
from tests.contract.conftest import StrictValidator

LABEL = Label("t-1", "c-1", Finding.FRAUD, "analyst", 1_700_000_000_000, "somebody")
VALIDATOR = StrictValidator(load_contracts()["labels"].schema())


@given(
    st.text(max_size=70), st.sampled_from(Finding), st.text(max_size=70), st.integers(-10, 10**15),
    st.none() | st.text(max_size=20),
)  # fmt: skip
def test_every_label_follows_the_contract(
    name: str, finding: Finding, source: str, time_ms: int, comment: str | None
) -> None:
    try:
        label = Label(name, name, finding, source, time_ms, "somebody", comment)
    except ValueError:
        return
    assert list(VALIDATOR.iter_errors(label.document())) == []


@pytest.mark.parametrize(
    "change",
    [
        {"transaction_id": ""}, {"customer_id": "x" * 65}, {"source": "a\nb"}, {"labelled_by": ""},
        {"labelled_at_ms": -1}, {"labelled_at_ms": 2**63}, {"labelled_at_ms": 1_704_067_200},
        {"comment": ""}, {"comment": "x" * 1_001},
        {"event_time_ms": LABEL.labelled_at_ms}, {"event_time_ms": 1, "terminal": "t-1"},
        {"card": "4111111111111111", "event_time_ms": LABEL.labelled_at_ms},
    ],
    ids=str,
)  # fmt: skip
def test_a_document_outside_the_contract_is_no_label(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(LABEL, **change)


def test_the_label_id_is_pinned_and_unique() -> None:
    assert LABEL.id == replace(LABEL, comment="later", labelled_by="another").id
    others = [
        replace(LABEL, label=Finding.GENUINE), replace(LABEL, customer_id="c-2"), replace(LABEL, transaction_id="t-2"),
        replace(LABEL, source="chargeback"), replace(LABEL, labelled_at_ms=LABEL.labelled_at_ms + 1),
    ]  # fmt: skip
    assert len({LABEL.id, *(other.id for other in others)}) == len(others) + 1


def test_labels_of_a_file_are_delayed_and_rows_without_a_label_are_skipped() -> None:
    given_labels = {"t-1": True, "t-2": None, "t-3": False}
    start = LABEL.labelled_at_ms
    events = [
        SourceEvent({"transaction_id": name, "customer_id": "c", "event_time_ms": start}, label)
        for name, label in given_labels.items()
    ]
    later = SourceEvent({"transaction_id": "t-4", "customer_id": "c", "event_time_ms": start + 1}, label=True)
    known_ms, early = start + int(2.5 * DAY_MS), Counter[str]()
    labels = list(labels_of([*events, later], "chargeback", "desk", 2.5, known_ms, lambda: early.update(["early"])))
    assert [(label.transaction_id, label.label) for label in labels] == [("t-1", "fraud"), ("t-3", "genuine")]
    assert {label.labelled_at_ms for label in labels} == {known_ms}
    assert early["early"] == 1, "the label of t-4 becomes known one millisecond after the clock"


@pytest.mark.parametrize(
    ("ids", "version", "sent"),
    [
        ({}, 1, {}),
        ({"ip": "192.0.2.1"}, 1, {}),
        ({"merchant": "Cafe\u0301"}, 2, {"merchant": "Caf\u00e9"}),
        ({"terminal": "till-4"}, 3, {"terminal": "till-4"}),
        (
            {"merchant": "m-1", "device": "phone-7", "card": "4111 1111 1111 1111", "terminal": ""}, 3,
            {"merchant": "m-1", "device": "phone-7", "card": "****1111"},
        ),
    ],
)  # fmt: skip
def test_a_label_of_a_file_names_what_its_decision_names(
    ids: dict[str, str], version: int, sent: dict[str, str]
) -> None:
    start = LABEL.labelled_at_ms
    row = {"transaction_id": "t-1", "customer_id": "c", "event_time_ms": start, **ids}
    (label,) = labels_of([SourceEvent(row, label=True)], "chargeback", "desk", 0.0, start, lambda: None)
    document: dict[str, Any] = {**label.document()}
    assert list(VALIDATOR.iter_errors(document)) == []
    named = {name: document[name] for name in ("merchant", "terminal", "device", "card", "ip") if name in document}
    assert (document["schema_version"], named) == (version, sent)
    assert document.get("event_time_ms") == (start if sent else None)
