from __future__ import annotations

import itertools
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_jobs.core.parsing.transactions import MAX_PAYLOAD_BYTES, parse_transaction
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.transaction import Rejection
from flink_jobs.errors import UserError
from flink_jobs.kafka.outgoing import Fate, encode
from flink_jobs.traffic.faults import FaultPlan, malformed, with_faults
from flink_jobs.traffic.malformed import MALFORMED_KINDS
from flink_jobs.traffic.purchase_ids import with_purchase_ids
from flink_jobs.traffic.simulate import SimulationPlan, simulate

if TYPE_CHECKING:
    from flink_jobs.traffic.malformed import MalformedKind

NOW_MS = 1_767_225_600_000
EVENTS = list(itertools.islice(simulate(SimulationPlan(customers=20, seed=9)), 2_000))


@pytest.mark.parametrize("kind", MALFORMED_KINDS, ids=lambda kind: kind.name)
def test_the_parser_gives_every_kind_its_reason(kind: MalformedKind) -> None:
    for seed, event in enumerate([*EVENTS[:50], *with_purchase_ids(EVENTS[:50], 1)]):
        record = malformed(kind, event, Random(seed))  # noqa: S311 - no secret
        answer = parse_transaction(record.value, NOW_MS)
        assert isinstance(answer, Rejection)
        assert answer.reason == kind.reason
        assert record.fate is Fate.REJECTED
        assert record.reason == kind.reason.value


def test_every_reason_of_parsing_is_planted() -> None:
    parsing = set(list(DeadLetterReason)[: list(DeadLetterReason).index(DeadLetterReason.KEY_MISMATCH)])
    assert {kind.reason for kind in MALFORMED_KINDS} == parsing
    assert len({kind.name for kind in MALFORMED_KINDS}) == len(MALFORMED_KINDS)


def test_oversize_is_over_the_limit_and_under_the_brokers() -> None:
    kind = next(kind for kind in MALFORMED_KINDS if kind.name == "oversize")
    payload = malformed(kind, EVENTS[0], Random(1)).value  # noqa: S311 - no secret
    assert payload is not None
    assert MAX_PAYLOAD_BYTES < len(payload) < 1_000_000


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0, 0.45), st.floats(0, 0.45), st.floats(0, 1), st.integers(1, 50), st.integers(0, 2**32),
    st.integers(0, 300),
)  # fmt: skip
def test_every_event_is_sent_once_whatever_the_faults(
    bad: float, again: float, late: float, delay: int, seed: int, count: int
) -> None:
    plan = FaultPlan(bad, again, late, delay, seed)
    records = list(with_faults(EVENTS[:count], plan))
    good = [record for record in records if record.fate is Fate.DECIDED]
    assert sorted(record.value or b"" for record in good) == sorted(
        encode(event).value or b"" for event in EVENTS[:count]
    )
    assert records == list(with_faults(EVENTS[:count], plan)), "the same seed plants the same faults"
    seen: set[bytes | None] = set()
    for record in records:
        if record.fate is Fate.DUPLICATE:
            assert record.value in seen, "a redelivery comes after what it repeats"
        elif record.fate is Fate.DECIDED:
            seen.add(record.value)


def test_a_late_event_is_overtaken_by_at_most_the_longest_delay() -> None:
    place_in_file = {event.transaction["transaction_id"]: place for place, event in enumerate(EVENTS)}
    order = list(with_faults(EVENTS, FaultPlan(late=0.1, max_delay=30)))
    overtaken = []
    for place, record in enumerate(order):
        if record.fault == "late":
            own = place_in_file[record.transaction_id]
            earlier = (other for other in order[:place] if other.fault != "late")
            overtaken.append(sum(place_in_file[other.transaction_id] > own for other in earlier))
    assert len(overtaken) == pytest.approx(200, rel=0.3)
    assert 20 < max(overtaken) <= 30
    assert sum(count > 0 for count in overtaken) > 0.9 * len(overtaken)


def test_shares_are_shares_of_all_records_sent() -> None:
    counts = Counter(record.fate for record in with_faults(EVENTS, FaultPlan(malformed=0.3, duplicates=0.1)))
    sent = sum(counts.values())
    assert counts[Fate.DECIDED] == len(EVENTS)
    assert counts[Fate.REJECTED] / sent == pytest.approx(0.3, abs=0.04)
    assert counts[Fate.DUPLICATE] / sent == pytest.approx(0.1, abs=0.03)


def test_a_duplicate_is_the_same_bytes_under_the_same_key_and_is_not_labelled() -> None:
    records = list(with_faults(EVENTS[:500], FaultPlan(duplicates=0.3)))
    originals = {record.transaction_id: record for record in records if record.fate is Fate.DECIDED}
    duplicates = [record for record in records if record.fate is Fate.DUPLICATE]
    assert duplicates
    for record in duplicates:
        original = originals[record.transaction_id]
        assert (record.key, record.value) == (original.key, original.value)
        assert record.label is None


def test_no_faults_change_nothing() -> None:
    assert list(with_faults(EVENTS, FaultPlan())) == [encode(event) for event in EVENTS]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"malformed": 1.5}, "share of malformed is 1.5: give a share between 0 and 1"),
        ({"late": -0.1}, "share of late is -0.1"),
        ({"malformed": 0.5, "duplicates": 0.45}, "make up 95% of the records: leave room"),
        ({"max_delay": 0}, "give 1 or more"),
    ],
)
def test_an_impossible_plan_is_refused(plan: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FaultPlan(**plan)  # type: ignore[arg-type]
