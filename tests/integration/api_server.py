"""Runs the API on a real port in a thread of the tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import uvicorn

from api.application import build_services, create_app
from api.console.accounts import create_token
from api.identity.settings import JwtSettings, OidcSettings
from api.settings import ApiSettings
from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.settings import Settings
from flink_jobs.waiting import wait_for


@contextmanager
def serving(
    settings: Settings,
    own: ApiSettings,
    oidc: OidcSettings | None = None,
    jwt: JwtSettings | None = None,
    port: int | None = None,
) -> Iterator[str]:
    """Run the API; yield its URL. The default is any free port."""
    port = port or free_ports(1)[0]
    app = create_app(build_services(settings, own, oidc, jwt))
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, http="httptools", log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_for(lambda: server.started, limit_s=60, what="the API")
        yield f"http://{HOST}:{port}"
    finally:
        server.should_exit = True
        thread.join(30)


Person = Callable[[str], httpx.Client]
"""Returns the browser of an account, logged in; always the same one."""


@contextmanager
def people(settings: Settings, own: ApiSettings) -> Iterator[Person]:
    """Run the API; yield a function that logs an account in."""
    known: dict[str, httpx.Client] = {}
    with ExitStack() as stack:
        url = stack.enter_context(serving(settings, own))

        def logged_in(name: str) -> httpx.Client:
            if name not in known:
                known[name] = stack.enter_context(httpx.Client(base_url=url, follow_redirects=True))
                token = create_token(settings.postgres_dsn, name, by="test")
                known[name].post("/console/login", data={"token": token})
            return known[name]

        yield logged_in
