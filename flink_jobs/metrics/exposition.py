"""Shows a process's own metrics to Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from flink_jobs.errors import UserError


def serve_metrics(registry: CollectorRegistry, port: int, option: str) -> None:
    """Answer Prometheus on this port of the loopback interface until the process ends; 0 serves nothing.

    Args:
        registry: what to show.
        port: 0 to 65535.
        option: of the command line that chose it, for the error.

    Raises:
        UserError: the port is taken.
    """
    if port == 0:
        return
    try:
        start_http_server(port, "127.0.0.1", registry)
    except OSError as cause:
        raise UserError(
            f"port {port} for metrics cannot be opened ({cause.strerror})", f"choose another with {option}"
        ) from None
