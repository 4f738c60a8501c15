from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict

import orjson
import pytest

from flink_jobs.cards.card_files import SourceEvent
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.transaction import Transaction
from flink_jobs.errors import UserError
from flink_jobs.traffic.fraud_patterns import PATTERNS
from flink_jobs.traffic.simulate import SimulationPlan, simulate

NOW_MS = 1_767_225_600_000
PLAN = SimulationPlan(customers=300, seed=5, fraud_rate=0.05)


@pytest.fixture(scope="module")
def events() -> list[SourceEvent]:
    return list(itertools.islice(simulate(PLAN), 30_000))


def test_the_same_plan_gives_the_same_bytes_on_every_machine() -> None:
    digest = hashlib.sha256()
    for event in itertools.islice(simulate(SimulationPlan(customers=50, seed=42)), 2_000):
        digest.update(orjson.dumps([event.transaction, event.label, event.pattern]))
    assert digest.hexdigest() == "c3c541049a3be30ae004b29a60ef64984423a0df57bc87d96e2326bb8abefd5c"


def test_another_seed_gives_other_traffic(events: list[SourceEvent]) -> None:
    other = list(itertools.islice(simulate(SimulationPlan(customers=300, seed=6, fraud_rate=0.05)), 100))
    assert other != events[:100]


def test_every_event_is_a_transaction_in_order_of_time(events: list[SourceEvent]) -> None:
    times = [event.transaction["event_time_ms"] for event in events]
    assert times == sorted(times)
    for event in events[:5_000]:
        assert isinstance(parse_transaction(orjson.dumps(event.transaction), NOW_MS), Transaction)
    assert len({event.transaction["transaction_id"] for event in events}) == len(events)


def test_labels_are_beside_the_transaction(events: list[SourceEvent]) -> None:
    assert all((event.label is True) == (event.pattern is not None) for event in events)
    assert not {"is_fraud", "label", "pattern"} & set().union(*(event.transaction for event in events))


def test_the_fraud_rate_and_every_pattern_are_there(events: list[SourceEvent]) -> None:
    frauds = [event for event in events if event.label]
    assert len(frauds) / len(events) == pytest.approx(PLAN.fraud_rate, rel=0.25)
    assert {event.pattern for event in frauds} == set(PATTERNS)


def test_no_fraud_when_none_is_wanted() -> None:
    stream = simulate(SimulationPlan(customers=50, fraud_rate=0.0))
    assert not any(event.label for event in itertools.islice(stream, 3_000))


def test_fraud_amounts_overlap_with_honest_ones(events: list[SourceEvent]) -> None:
    amounts: dict[bool, list[int]] = defaultdict(list)
    for event in events:
        if event.transaction["currency"] == "USD":
            amounts[event.label is True].append(event.transaction["amount_minor"])
    honest, stolen = sorted(amounts[False]), sorted(amounts[True])
    assert stolen[len(stolen) // 10] < honest[len(honest) // 2], "cheap frauds hide below the honest median"
    assert stolen[len(stolen) // 2] < honest[int(len(honest) * 0.999)], "honest sofas cost more than most frauds"
    assert stolen[len(stolen) // 2] > honest[len(honest) // 2], "yet fraud is larger on the whole"


def test_a_customer_has_usual_hours(events: list[SourceEvent]) -> None:
    """Most honest purchases fall into the customer's fullest twelve hours of the day."""
    hours: dict[str, list[int]] = defaultdict(lambda: [0] * 24)
    for event in events:
        if not event.label:
            hours[event.transaction["customer_id"]][event.transaction["event_time_ms"] // 3_600_000 % 24] += 1
    busy = {who: count for who, count in hours.items() if sum(count) >= 50}
    assert busy
    shares = [
        max(sum(count[(start + i) % 24] for i in range(12)) for start in range(24)) / sum(count)
        for count in busy.values()
    ]
    assert sum(shares) / len(shares) > 0.75


def test_memory_is_bounded_by_customers_not_events() -> None:
    """The queue holds the next purchase of each customer and the few steps of episodes under way."""
    stream = simulate(SimulationPlan(customers=40, fraud_rate=0.3))
    for _ in itertools.islice(stream, 5_000):
        pass
    world = stream.gi_frame.f_locals["self"]  # type: ignore[attr-defined]
    assert 40 <= len(world._queue) < 400
    assert len(world._trips) <= 40


@pytest.mark.parametrize(("customers", "rate"), [(0, 0.1), (1, -0.1), (1, 0.6), (1, float("nan"))])
def test_an_impossible_plan_is_refused(customers: int, rate: float) -> None:
    with pytest.raises(UserError, match="give"):
        SimulationPlan(customers=customers, fraud_rate=rate)


def test_one_customer_is_enough() -> None:
    assert len(list(itertools.islice(simulate(SimulationPlan(customers=1, fraud_rate=0.5)), 200))) == 200
