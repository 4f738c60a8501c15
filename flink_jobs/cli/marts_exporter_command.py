"""`streamflow marts-exporter`: how the warehouse is, for Prometheus."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from flink_jobs.cli.output import say
from flink_jobs.settings import load_settings


def marts_exporter(
    port: Annotated[int, typer.Option(min=1, max=65535, help="on the loopback interface")] = 9188,
) -> None:
    """Show row counts, freshness, checks, dbt's results, incidents and backups until Ctrl-C.

    Everything is read from the database at each scrape.

    Example: streamflow marts-exporter --port 9188
    """
    from flink_jobs.metrics.exposition import serve_metrics
    from flink_jobs.warehouse.exporter import registry

    serve_metrics(registry(load_settings().postgres_dsn_as("transformer")), port, "--port")
    say(f"Metrics on http://127.0.0.1:{port}/metrics; Ctrl-C ends it.")
    signal.pause()
