"""Fixtures of the integration tests: one real stack per test process."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import psycopg
import pytest
from moto.server import ThreadedMotoServer
from psycopg import sql

from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT, Settings
from tests.integration.jobs import CARD_FILE
from tests.stack_folder import stack_folder

SECOND = {
    "test_api_reads", "test_archive_rows", "test_backup_drill", "test_cases", "test_completeness", "test_console",
    "test_console_browser", "test_console_pages", "test_demo", "test_deploy", "test_judging",
    "test_marts", "test_marts_exporter", "test_migrate", "test_model_life", "test_oidc", "test_rate_limits",
    "test_raw_layer", "test_recovery_drill", "test_secure_stack",
}  # fmt: skip
"""Test files of the second process; they take about half of the total time."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Distribute these tests over two processes; the tests of one process share a stack and run one after another.

    The tests wait more than they compute, so two stacks on two cores need less time than one.
    """
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("stack-2" if item.path.stem in SECOND else "stack-1"))


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """Yield a bucket on an S3-compatible server; the TaskManagers have its address in their environment."""
    server, patch = ThreadedMotoServer(port=0), pytest.MonkeyPatch()
    server.start()
    try:
        host, port = server.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with closing(boto3.client("s3")) as client:
            client.create_bucket(Bucket="models")
        yield "models"
    finally:
        patch.undo()
        server.stop()


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, bucket: str) -> Iterator[Stack]:  # noqa: ARG001 - sets the environment
    """Yield a running Postgres, Kafka and Flink cluster with two TaskManagers, on free ports, with topics and tables.

    Tests share it: use your own customers, consumer groups and job names, end the jobs you start, and leave both
    TaskManagers running.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        apart = [item.nodeid for item in request.session.items if item.get_closest_marker("xdist_group")]
        assert all(name.endswith(("@stack-1", "@stack-2")) for name in apart), "pytest and its xdist differ on groups"
    with stack_folder("test") as folder:
        stack = Stack(folder / "home")
        try:
            stack.up(taskmanagers=2)
            yield stack
        finally:
            stack.down(wipe=True)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one trained model, which is the current version."""
    folder = tmp_path_factory.mktemp("models")
    command = [sys.executable, "-m", "flink_jobs.cli", "train", "--data", str(CARD_FILE), "--out", str(folder)]
    subprocess.run([*command, "--trees", "100"], check=True, cwd=REPO_ROOT, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def database() -> Iterator[Stack]:
    """Yield a stack with Postgres only: migrated, with empty tables, for tests of the warehouse."""
    with stack_folder("test") as folder:
        stack = Stack(folder / "home")
        try:
            stack.up(["postgres"])
            yield stack
        finally:
            stack.down(wipe=True)


@pytest.fixture
def fresh_database(database: Stack) -> Iterator[Settings]:
    """Yield the settings of a new empty database on that server, without migrations."""
    settings = database.settings()
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield settings.model_copy(update={"postgres_database": name})
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
