"""Prints how long 100,000 alerts take to become cases, and the 95th percentiles of the console's pages over HTTP.

Run ``python -m tests.lab.benchmarks.case_queue``: it starts a Postgres and an API of its own and deletes them
afterwards. The API is a process of its own, as ``streamflow up --api`` starts it; the client logs in with a one-time
login.
"""

from __future__ import annotations

import asyncio
import html
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx
import psycopg
import typer

from api.application import build_services
from api.cases.opening import Opener
from api.console.accounts import add_account, create_token
from api.console.roles import Role
from api.settings import ApiSettings
from flink_jobs.local import api_server
from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.waiting import wait_for
from flink_jobs.warehouse.partitions import create_partitions
from tests.stack_folder import stack_folder

ALERTS: Final = 100_000
"""Each of another customer: every alert is an open case."""
EARLIER: Final = 4
"""Purchases of each customer before the alert, about a day apart."""
LABELS: Final = 2_000
"""The oldest alerts have a label."""
PAGES: Final = 100
"""Requests for each kind of page."""
DECISIONS: Final = """
    INSERT INTO raw.decisions (customer_id, transaction_id, schema_version, event_time_ms, processing_time_ms,
        amount_minor, currency, merchant, category, country, score, rule_score, ml_score, alpha, threshold, is_alert,
        features, absent, reasons, model, model_version, variant, ruleset_version, config_revision, out_of_order_ms,
        source_topic, source_partition, source_offset, fraud_probability, expected_loss_minor)
    SELECT 'customer-' || n, 't-' || n || '-' || k, 5, at, at, amount, 'USD', 'Shop ' || n %% 997, 'groceries', 'DE',
        CASE k WHEN 0 THEN 0.4 + (n %% 60) / 100.0 ELSE 0.1 END, 0.4, 0.5, 0.6, 0.4, k = 0, %(features)s, '{}',
        CASE k WHEN 0 THEN %(reasons)s::jsonb ELSE '[]' END, 'ok', 'v1', 'champion', '2', 0, 0, 't', 0, 0,
        (n %% 100) / 100.0, amount * (n %% 100) / 100
    FROM generate_series(1, %(alerts)s) AS n, generate_series(0, %(earlier)s) AS k,
        LATERAL (SELECT (extract(epoch FROM now()) * 1000)::bigint - (%(alerts)s - n) * 25920::bigint
            - k * 90000000::bigint AS at, 1000 + (n * 37 + k * 911) %% 100000 AS amount) AS own
"""
FILL: Final = """
    INSERT INTO raw.alerts (alert_id, schema_version, transaction_id, customer_id, event_time_ms, processing_time_ms,
        amount_minor, currency, merchant, category, country, score, rule_score, ml_score, threshold, reasons, features,
        contributions, model, model_version, variant, ruleset_version, config_revision, loaded_at, fraud_probability,
        expected_loss_minor)
    SELECT 'al-' || transaction_id, 3, transaction_id, customer_id, event_time_ms, processing_time_ms, amount_minor,
        currency, merchant, category, country, score, rule_score, ml_score, threshold, reasons, features,
        '{"amount_ratio": 0.2, "velocity_count": 0.1}', model, model_version, variant, ruleset_version, config_revision,
        now() - make_interval(secs => (%(alerts)s - split_part(customer_id, '-', 2)::int) / 10.0), fraud_probability,
        expected_loss_minor
    FROM raw.decisions WHERE is_alert;
    INSERT INTO raw.labels (label_id, schema_version, transaction_id, customer_id, label, source, labelled_at_ms,
        labelled_by)
    SELECT alert_id, 1, transaction_id, customer_id, CASE WHEN random() < 0.7 THEN 'fraud' ELSE 'genuine' END, 'bench',
        event_time_ms, 'bench'
    FROM raw.alerts ORDER BY event_time_ms LIMIT %(labels)s
"""
FEATURES: Final = '{"amount_ratio": 8.3, "velocity_count": 6.0, "time_deviation": 0.96, "geo_speed_kmh": 0.0}'
REASONS: Final = '[{"code": "HIGH_AMOUNT", "contribution": 0.3}, {"code": "HIGH_VELOCITY", "contribution": 0.2}]'


def fill(settings: Settings) -> None:
    """Store the alerts, the decisions around them and labels, in partitions by day as the archive does."""
    given = {"alerts": ALERTS, "earlier": EARLIER, "labels": LABELS, "features": FEATURES, "reasons": REASONS}
    # The statements are constants; the client binds the values, because one text holds several statements.
    with psycopg.connect(settings.postgres_dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        for statement in (DECISIONS, FILL):
            connection.execute(statement.encode(), given)
    create_partitions(settings.postgres_dsn)
    analyze(settings)


def analyze(settings: Settings) -> None:
    """Update the statistics of the tables, as autovacuum does within a minute."""
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        connection.execute("ANALYZE")


async def open_cases(settings: Settings) -> None:
    """Bring every alert into a case and print the times."""
    own = ApiSettings(case_work=False)
    services = build_services(settings, own)
    await services.database.open()
    opener = Opener(services.database, own)
    for what, worker in (
        ("opened", opener),
        ("looked at by a new process", Opener(services.database, own)),
        ("present, a usual round", opener),
    ):
        started = time.perf_counter()
        count = await worker.round()
        typer.echo(f"{ALERTS:,} alerts {what}: {time.perf_counter() - started:.3f} s ({count:,} changed)")
        analyze(settings)
    await services.database.close()


@contextmanager
def serving(stack: Stack) -> Iterator[str]:
    """Run the API of the product as a process; yield its URL."""
    (port,) = free_ports(1)
    command = api_server.command(stack.home, port)
    with command.log.open("wb") as log:
        process = subprocess.Popen(command.argv, cwd=command.cwd, env=command.env, stdout=log, stderr=log)
    try:
        wait_for(lambda: api_server.is_ready(port), limit_s=60, what="the API")
        yield f"http://{HOST}:{port}"
    finally:
        process.terminate()
        process.wait(30)


@dataclass(slots=True)
class Client:
    """A browser's session, and the times of its requests in milliseconds, by kind of page."""

    http: httpx.Client
    times: dict[str, list[float]] = field(default_factory=dict)

    def get(self, kind: str, path: str) -> str:
        """Return a page and note its time."""
        return self._timed(kind, lambda: self.http.get(path))

    def claim(self, csrf: str) -> str:
        """Claim the next case; return its page."""
        taken = self._timed("claim the next case", lambda: self.http.post("/console/cases/next", data={"csrf": csrf}))
        return self.get("case just claimed", taken)

    def _timed(self, kind: str, call: Callable[[], httpx.Response]) -> str:
        started = time.perf_counter()
        answer = call()
        self.times.setdefault(kind, []).append(1_000 * (time.perf_counter() - started))
        if answer.is_redirect:
            return answer.headers["location"]
        answer.raise_for_status()
        return answer.text


def use_console(client: Client) -> None:
    """Ask for every page that an analyst uses with the queue."""
    chosen = [1 + place * 7_919 % ALERTS for place in range(PAGES)]
    first = client.get("first page", "/console/")
    for name, path in {
        "not closed": "/console/?list=all",
        "open": "/console/?list=open",
        "by due time": "/console/?list=all&order=due",
        "closed": "/console/?list=closed",
    }.items():
        address = path
        for _ in range(PAGES):
            page = client.get(f"queue, {name}", address)
            after = re.search(r'class="button" href="([^"]*cursor=[^"]*)"', page)
            address = path if after is None else html.unescape(after.group(1))
    for number in chosen:
        client.get("case", f"/console/cases/{number}")
        client.get("search, customer", f"/console/search?q=customer-{number}")
        client.get("search, transaction", f"/console/search?q=t-{number}-0")
        client.get("search, nothing found", f"/console/search?q=unknown-{number}")
        client.get("customer", f"/console/customers?id=customer-{number}")
    csrf = re.search(r'name="csrf" value="([^"]+)"', first)
    assert csrf is not None
    for _ in range(PAGES):
        client.claim(csrf.group(1))
        client.get("queue, mine", "/console/?list=mine")
    for _ in range(PAGES):
        client.get("feed", "/console/feed")


def main() -> None:
    """Fill a database and measure."""
    with stack_folder("bench") as folder:
        stack = Stack(folder / "home")
        try:
            settings = stack.up(["postgres"])
            fill(settings)
            asyncio.run(open_cases(settings))
            add_account(settings.postgres_dsn, "ada", [Role.SENIOR], by="benchmark")
            token = create_token(settings.postgres_dsn, "ada", by="benchmark")
            with serving(stack) as url, httpx.Client(base_url=url, timeout=60) as http:
                http.post("/console/login", data={"token": token})
                client = Client(http)
                use_console(client)
            for kind, times in client.times.items():
                ranked = sorted(times)
                p50, p95 = (ranked[int(share * len(ranked))] for share in (0.5, 0.95))
                typer.echo(f"{kind}, over HTTP: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
        finally:
            stack.down(wipe=True)


if __name__ == "__main__":
    main()
