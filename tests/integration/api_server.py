"""Runs the API on a real port in a thread of the tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final
from unittest.mock import patch

import httpx
import uvicorn

from api.application import build_services, create_app
from api.console.accounts import create_token
from api.identity.settings import JwtSettings, OidcSettings
from api.settings import ApiSettings
from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.settings import Settings
from flink_jobs.waiting import wait_for

PATIENT: Final = {
    "query_timeout_ms": 30_000, "request_timeout_s": 60, "acknowledge_ms": 30_000, "case_undo_s": 600.0,
}  # fmt: skip
"""Limits of time that a busy machine does not reach; those of a test come first."""
LOOK_UP_S: Final = 20.0
LIMIT_S: Final = 90.0
"""Longest wait of a client for an answer."""


def patient(own: ApiSettings) -> ApiSettings:
    """Return the settings with long limits, except for those that the test or the environment sets."""
    return own.model_copy(update={name: value for name, value in PATIENT.items() if name not in own.model_fields_set})


def client(url: str, headers: Mapping[str, str] | None = None, *, follow_redirects: bool = False) -> httpx.Client:
    """Return a client that waits long for an answer; the default of httpx is five seconds."""
    return httpx.Client(base_url=url, headers=headers, follow_redirects=follow_redirects, timeout=LIMIT_S)


@contextmanager
def serving(
    settings: Settings,
    own: ApiSettings,
    oidc: OidcSettings | None = None,
    jwt: JwtSettings | None = None,
    port: int | None = None,
) -> Iterator[str]:
    """Run the API with long limits of time; yield its URL. The default is any free port."""
    port = port or free_ports(1)[0]
    app = create_app(build_services(settings, patient(own), oidc, jwt))
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=port, http="httptools", log_level="warning"))
    thread = threading.Thread(target=server.run)
    with ExitStack() as limits:
        # Without an answer of Postgres or of the OIDC server within this time, the API decides without it.
        for name in ("deciding.LOOK_UP_S", "keys.LOOK_UP_S", "standing.LOOK_UP_S", "identity.oidc.TIMEOUT_S",
                     "identity.public_keys.TIMEOUT_S"):  # fmt: skip
            limits.enter_context(patch(f"api.{name}", LOOK_UP_S))
        thread.start()
        try:
            wait_for(lambda: server.started, limit_s=LIMIT_S, what="the API")
            yield f"http://{HOST}:{port}"
        finally:
            server.should_exit = True
            thread.join(LIMIT_S)


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
                known[name] = stack.enter_context(client(url, follow_redirects=True))
                token = create_token(settings.postgres_dsn, name, by="test")
                known[name].post("/console/login", data={"token": token})
            return known[name]

        yield logged_in
