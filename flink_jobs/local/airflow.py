"""Airflow of the local stack: scheduler, triggerer, DAG processor and web server in one command, tasks as processes.

Airflow's tables are in a database of the stack's Postgres. Airflow runs in ``.venv-orchestration`` and listens on the
loopback interface only, where every user is an administrator.
"""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from functools import cached_property
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from flink_jobs.local.home import Home
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command
from flink_jobs.settings import REPO_ROOT, Settings
from flink_jobs.warehouse.dbt_project import NAMESPACE, environment, file_transport
from flink_jobs.warehouse.paths import ORCHESTRATION_ENVIRONMENT

NAME = "airflow"
DATABASE = "airflow"
POOL = {"name": "warehouse", "slots": 2, "description": "tasks that use the database", "include_deferred": False}
TIMEOUT_S = 60.0
"""Time limit of one request: while Airflow parses DAGs and starts tasks, its web server can be slow."""


def create_database(settings: Settings) -> None:
    """Create the database for Airflow's tables unless it exists."""
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


def settings_of_airflow(home: Home, port: int, settings: Settings) -> dict[str, str]:
    """Return Airflow's settings as environment variables; they include the password of its database."""
    owner = f"{quote(settings.postgres_user, safe='')}:{quote(settings.postgres_password.get_secret_value(), safe='')}"
    return {
        "AIRFLOW_HOME": str(home.airflow),
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPO_ROOT / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": (
            f"postgresql+psycopg2://{owner}@{settings.postgres_host}:{settings.postgres_port}/{DATABASE}"
            f"?{urlencode(settings.postgres_ssl)}"
        ),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_MAX_OVERFLOW": "5",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "2",
        "AIRFLOW__OPENLINEAGE__NAMESPACE": NAMESPACE,
        "AIRFLOW__OPENLINEAGE__TRANSPORT": file_transport(home.airflow / "lineage.jsonl"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__COSMOS__ENABLE_TELEMETRY": "False",
    }


def command(home: Home, port: int, settings: Settings) -> Command:
    """Return the command line."""
    programs = ORCHESTRATION_ENVIRONMENT / "bin"
    base = {"PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}", "STREAMFLOW_HOME": str(home.root)}
    # The caller's settings for tasks (a webhook) and for Airflow take precedence, except this stack's addresses.
    kept = _callers("HOME", "LANG", "STREAMFLOW_")
    overruled = _callers("AIRFLOW__")
    return Command(
        name=NAME,
        argv=[str(programs / "airflow"), "standalone"],
        log=home.logs / "airflow.log",
        env={**kept, **environment(settings, base), **settings_of_airflow(home, port, settings), **overruled},
        cwd=REPO_ROOT,
        stop_signal=signal.SIGINT,  # at SIGTERM it ends without ending its children
    )


def _callers(*beginnings: str) -> dict[str, str]:
    """Return the caller's environment variables whose names start with one of these prefixes."""
    return {name: value for name, value in os.environ.items() if name.startswith(beginnings)}


class Airflow:
    """The few calls of Airflow's REST interface that the local stack makes."""

    def __init__(self, port: int) -> None:
        """Use the web server on this port."""
        self.url = f"http://{HOST}:{port}"

    def is_healthy(self) -> bool:
        """Return whether scheduler, triggerer, DAG processor and database are all healthy."""
        try:
            answer: dict[str, dict[str, str]] = self._call("/api/v2/monitor/health")
        except (OSError, ValueError):
            return False
        return all(part["status"] == "healthy" for part in answer.values())

    def ensure_pool(self) -> None:
        """Create the pool for the DAGs' tasks unless it exists."""
        try:
            self.request("/api/v2/pools", POOL)
        except urllib.error.HTTPError as error:
            if error.code != 409:  # noqa: PLR2004 - conflict: it exists
                raise

    def request(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:  # noqa: ANN401
        """Call the REST interface as its administrator; a body makes it a POST unless ``method`` is given.

        Raises:
            OSError: the server does not answer, or refuses the request.
        """
        return self._call(path, body, self._token, method)

    @cached_property
    def _token(self) -> str:
        return str(self._call("/auth/token")["access_token"])

    def _call(
        self, path: str, body: dict[str, Any] | None = None, token: str | None = None, method: str | None = None
    ) -> Any:  # noqa: ANN401 - any JSON value
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.url + path, data=None if body is None else json.dumps(body).encode(), method=method
        )
        request.add_header("Content-Type", "application/json")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            return json.load(response)
