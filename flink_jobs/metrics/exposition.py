"""Serves the metrics of a process to Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, start_http_server

from flink_jobs.errors import UserError


def serve_metrics(registry: CollectorRegistry, port: int, option: str, host: str = "127.0.0.1") -> None:
    """Serve metrics on a port until the process ends.

    Args:
        registry: the metrics to serve.
        port: 0 to 65535; 0 serves nothing.
        option: the command-line option of the port, for the error message.
        host: address to listen on; a container listens on 0.0.0.0, or nothing outside of it can connect.

    Raises:
        UserError: the port cannot be opened.
    """
    if port == 0:
        return
    try:
        start_http_server(port, host, registry)
    except OSError as cause:
        raise UserError(
            f"port {port} for metrics cannot be opened ({cause.strerror})", f"choose another with {option}"
        ) from None
