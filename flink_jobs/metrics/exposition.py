"""Serves the metrics of a process to Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from flink_jobs.errors import UserError


def serve_metrics(registry: CollectorRegistry, port: int, option: str) -> None:
    """Serve metrics on a port of the loopback interface until the process ends.

    Args:
        registry: the metrics to serve.
        port: 0 to 65535; 0 serves nothing.
        option: the command-line option of the port, for the error message.

    Raises:
        UserError: the port cannot be opened.
    """
    if port == 0:
        return
    try:
        start_http_server(port, "127.0.0.1", registry)
    except OSError as cause:
        raise UserError(
            f"port {port} for metrics cannot be opened ({cause.strerror})", f"choose another with {option}"
        ) from None
