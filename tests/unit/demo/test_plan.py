from __future__ import annotations

import gzip
import itertools

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.demo import plan
from flink_jobs.demo.plan import CARD_FILE, DemoPlan, card_events, run_prefix


def test_each_run_has_ids_of_its_own() -> None:
    prefix = run_prefix(1_700_000_000.9)
    assert prefix == "demo-6553f100-"
    assert run_prefix(1_700_000_001.0) != prefix
    events = list(itertools.islice(card_events(CARD_FILE, prefix), 100))
    assert all(event.transaction["customer_id"].startswith(prefix) for event in events)
    assert max(len(event.transaction["transaction_id"]) for event in events) <= 64, "the contract's limit"


def test_a_short_file_is_repeated_with_other_customers() -> None:
    with gzip.open(CARD_FILE, "rt") as file:
        rows = sum(1 for _ in file) - 1
    events = list(itertools.islice(card_events(CARD_FILE, "r-"), rows + 10))
    first, again = events[0].transaction, events[rows].transaction
    assert again["transaction_id"] == first["transaction_id"].replace("r-", "r-1-", 1)
    assert len({event.transaction["transaction_id"] for event in events}) == len(events)


def test_the_default_plan_injects_every_fault() -> None:
    faults = DemoPlan().faults
    assert min(faults.malformed, faults.duplicates, faults.late) > 0
    assert "transactions" in load_contracts("streamflow")
    assert plan.EVENTS / plan.RATE < 30, "a warm demo must end within a minute"
