"""``streamflow marts-exporter``: serves the warehouse's metrics to Prometheus."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from flink_jobs.cli.output import say
from flink_jobs.settings import load_settings


def marts_exporter(
    port: Annotated[int, typer.Option(min=1, max=65535, help="port on the address STREAMFLOW_METRICS_HOST")] = 9188,
) -> None:
    """Serve Prometheus metrics until Ctrl-C: row counts, freshness, checks, dbt results, incidents and backups.

    Each scrape reads the values from the database.

    Example: streamflow marts-exporter --port 9188
    """
    from flink_jobs.metrics.exposition import serve_metrics
    from flink_jobs.warehouse.exporter import registry

    settings = load_settings()
    serve_metrics(registry(settings.postgres_dsn_as("transformer")), port, "--port", settings.metrics_host)
    say(f"Metrics are on http://{settings.metrics_host}:{port}/metrics. Press Ctrl-C to stop.")
    signal.pause()
