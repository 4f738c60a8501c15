"""The labels of the demo's transactions, as the analysts and cardholders of a bank send them days later."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final

import psycopg

from flink_jobs.demo.plan import card_events
from flink_jobs.kafka.label_sender import labels_of, send_labels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flink_jobs.core.label import Label
    from flink_jobs.demo.plan import DemoPlan
    from flink_jobs.settings import Settings

DELAY_DAYS: Final = 7.0
"""Days from a transaction to its label, in event time."""
ARCHIVE_LIMIT_S: Final = 60.0
POLL_S: Final = 0.25
_COUNT: Final = "SELECT count(*) FROM raw.labels WHERE starts_with(customer_id, %s)"


def run_labels(plan: DemoPlan, run: str, transactions: int, now_ms: int) -> Iterator[Label]:
    """Yield the labels of the first transactions of a run; a label of the future is not known yet.

    Args:
        plan: the traffic of the run.
        run: prefix of the run's ids.
        transactions: number of valid transactions that the run sent.
        now_ms: the clock, UTC milliseconds.
    """
    events = itertools.islice(card_events(plan.data, run), transactions)
    return labels_of(events, "demo", "demo", DELAY_DAYS, now_ms, lambda: None)


def label_run(plan: DemoPlan, settings: Settings, run: str, transactions: int) -> tuple[int, int]:
    """Send the labels of a run and wait until the archive has written them.

    Returns:
        The number of labels sent, and the number of labels in Postgres after at most ``ARCHIVE_LIMIT_S`` seconds.

    Raises:
        UserError: Kafka did not accept a label.
    """
    labels = run_labels(plan, run, transactions, time.time_ns() // 1_000_000)
    sent = send_labels(settings.broker(), settings.topic_prefix, labels)
    deadline = time.monotonic() + ARCHIVE_LIMIT_S
    with psycopg.connect(settings.postgres_dsn, autocommit=True, connect_timeout=5) as connection:
        while True:
            row = connection.execute(_COUNT, (run,)).fetchone()
            archived = 0 if row is None else int(row[0])
            if archived >= sent or time.monotonic() > deadline:
                return sent, archived
            time.sleep(POLL_S)
