"""Runs the API on a real port in a thread of the tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from api.application import build_services, create_app
from api.settings import ApiSettings
from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.settings import Settings
from flink_jobs.waiting import wait_for


@contextmanager
def serving(settings: Settings, own: ApiSettings) -> Iterator[str]:
    """Run the API on a free port; yield its URL."""
    (port,) = free_ports(1)
    app = create_app(build_services(settings, own))
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, http="httptools", log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, limit_s=60, what="the API")
        yield f"http://{HOST}:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
