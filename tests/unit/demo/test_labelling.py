"""The labels that the demo sends."""

from __future__ import annotations

from itertools import islice

from flink_jobs.demo.labelling import DELAY_DAYS, run_labels
from flink_jobs.demo.plan import DemoPlan, card_events
from flink_jobs.kafka.label_sender import DAY_MS

TODAY_MS = 1_767_225_600_000


def test_every_transaction_of_the_run_gets_its_label_days_later() -> None:
    plan = DemoPlan(events=2_000)
    labels = list(run_labels(plan, "demo-1-", 2_000, TODAY_MS))
    sent = list(islice(card_events(plan.data, "demo-1-"), 2_000))
    assert [(label.customer_id, label.transaction_id, label.label == "fraud") for label in labels] == [
        (event.transaction["customer_id"], event.transaction["transaction_id"], event.label) for event in sent
    ]
    assert {
        label.labelled_at_ms - event.transaction["event_time_ms"] for label, event in zip(labels, sent, strict=True)
    } == {int(DELAY_DAYS * DAY_MS)}
    assert any(event.label for event in sent), "no fraud: the marts would show no precision"


def test_a_label_of_the_future_is_not_sent() -> None:
    plan = DemoPlan(events=10)
    first = next(card_events(plan.data, "demo-1-")).transaction["event_time_ms"]
    assert list(run_labels(plan, "demo-1-", 10, first)) == []
