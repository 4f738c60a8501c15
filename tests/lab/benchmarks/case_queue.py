"""Prints how long 100,000 alerts take to become cases, and the 95th percentile of a page of the queue.

Run ``python -m tests.lab.benchmarks.case_queue``: it starts a Postgres of its own and deletes it afterwards.
"""

from __future__ import annotations

import asyncio
import time

import psycopg
import typer

from api.application import build_services
from api.cases.documents import Order, Status
from api.cases.opening import Opener
from api.cases.store import QueueFilter
from api.cases.viewer import Viewer
from api.settings import ApiSettings
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from tests.stack_folder import stack_folder

ALERTS, CUSTOMERS, PAGES = 100_000, 40_000, 100
FILTERS = {
    "all": QueueFilter(),
    "open": QueueFilter(status=Status.OPEN),
    "by due time": QueueFilter(order=Order.DUE),
    "of a person": QueueFilter(assignee="user:ada"),
    "of a team, from a priority": QueueFilter(team="fraud", min_priority=500),
}
FILL = """
    INSERT INTO raw.alerts (alert_id, schema_version, transaction_id, customer_id, event_time_ms, processing_time_ms,
        amount_minor, currency, score, rule_score, threshold, reasons, model, ruleset_version, config_revision,
        loaded_at)
    SELECT 'al-' || n, 2, 't-' || n, 'customer-' || n %% %(customers)s, 1700000000000 + n, 1700000000000 + n,
        1000 + n %% 100000, 'USD', 0.4 + (n %% 60) / 100.0, 0.4, 0.4, '[]', 'ok', '2', 0,
        now() - make_interval(secs => (%(alerts)s - n) / 10.0)
    FROM generate_series(1, %(alerts)s) AS n
"""


def analyze(settings: Settings) -> None:
    """Update the statistics of the tables, as autovacuum does within a minute."""
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        connection.execute("ANALYZE")


async def measure(settings: Settings) -> None:
    """Print the measures."""
    own = ApiSettings(case_work=False)
    services = build_services(settings, own)
    await services.database.open()
    opener, viewer = Opener(services.database, own), Viewer("user:ada", "benchmark")
    for what, worker in (
        ("opened", opener),
        ("looked at by a new process", Opener(services.database, own)),
        ("present, a usual round", opener),
    ):
        started = time.perf_counter()
        count = await worker.round()
        typer.echo(f"{ALERTS:,} alerts {what}: {time.perf_counter() - started:.3f} s ({count:,} changed)")
        analyze(settings)
    for name, chosen in FILTERS.items():
        times: list[float] = []
        cursor: str | None = None
        for _ in range(PAGES):
            started = time.perf_counter()
            page = await services.cases.queue(viewer, chosen, cursor)
            times.append(1_000 * (time.perf_counter() - started))
            cursor = page.next_cursor
        typer.echo(f"page of 50 cases, {name}: p95 {sorted(times)[int(0.95 * PAGES)]:.1f} ms")
    await services.database.close()


def main() -> None:
    """Fill a database and measure."""
    with stack_folder("bench") as folder:
        stack = Stack(folder / "home")
        try:
            settings = stack.up(["postgres"])
            with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
                connection.execute(FILL.encode(), {"alerts": ALERTS, "customers": CUSTOMERS})
            asyncio.run(measure(settings))
        finally:
            stack.down(wipe=True)


if __name__ == "__main__":
    main()
