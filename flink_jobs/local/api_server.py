"""The HTTP API of the local stack, as a process."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

from flink_jobs.local.home import Home
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command
from flink_jobs.settings import REPO_ROOT

NAME = "api"
TIMEOUT_S = 3.0


def command(home: Home, port: int) -> Command:
    """Return the command line; the API reads the settings of the stack from its ``stack.env``."""
    return Command(
        name=NAME,
        argv=[sys.executable, "-m", "flink_jobs.cli", "api", "serve", "--host", HOST, "--port", str(port)],
        log=home.logs / "api.log",
        env={
            "STREAMFLOW_API_SECURE_COOKIE": "false",  # it serves HTTP, on the loopback interface only
            **os.environ,
            "STREAMFLOW_HOME": str(home.root),
            "PYTHONPATH": str(REPO_ROOT),
        },
        cwd=REPO_ROOT,
    )


def is_ready(port: int) -> bool:
    """Return whether the API answers and Postgres answers it."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health/ready", timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004 - ok
    except (OSError, urllib.error.HTTPError):
        return False
