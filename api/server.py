"""Runs the API with uvicorn until it is stopped."""

from __future__ import annotations

import gc
import sys
from typing import Final

import uvicorn

from api.application import build_services, create_app
from api.identity.settings import JwtSettings, OidcSettings
from api.settings import load_api_settings, load_group
from flink_jobs.logs import json_log, log_to
from flink_jobs.settings import load_settings

SWITCH_S: Final = 0.0005
"""Longest time in seconds that one thread computes while another one waits."""


def serve(host: str | None = None, port: int | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C; open requests are answered first.

    Args:
        host: address to listen on; default: ``STREAMFLOW_API_HOST``.
        port: port to listen on; default: ``STREAMFLOW_API_PORT``.

    Raises:
        UserError: a setting is missing or invalid.
    """
    settings, own = load_settings(), load_api_settings()
    oidc, jwt = load_group(OidcSettings), load_group(JwtSettings)
    log = json_log(sys.stderr, component="api", logger="api")
    log.info("starting", settings={**settings.masked(), **own.masked(), **oidc.masked(), **jwt.masked()})
    log_to(sys.stderr, "api")
    # Replies and acknowledgements arrive in threads. By default such a thread waits up to 5 ms for a busy event loop.
    sys.setswitchinterval(SWITCH_S)
    app = create_app(build_services(settings, own, oidc, jwt))
    # The application has 150,000 objects, mostly of its libraries. A search for garbage among them stops all requests
    # for 60 to 100 ms; it leaves frozen objects out.
    gc.collect()
    gc.freeze()
    uvicorn.run(
        app,
        host=host or own.host,
        port=port or own.port,
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=30,
    )
