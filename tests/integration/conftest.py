"""What the integration tests share: one real stack per process."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
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

SECOND = {
    "test_archive_rows", "test_completeness", "test_demo", "test_deploy", "test_judging", "test_marts",
    "test_marts_exporter", "test_migrate", "test_model_life", "test_raw_layer", "test_recovery_drill",
    "test_secure_stack",
}  # fmt: skip
"""About half of the time that these tests take."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests in two processes, one after another in each: those of a process share a stack.

    They wait more than they compute, so two stacks on two cores are done in less time than one.
    """
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("stack-2" if item.path.stem in SECOND else "stack-1"))


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """A bucket behind an HTTP server that speaks S3; the TaskManagers have its address in their environment."""
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
def stack(request: pytest.FixtureRequest, bucket: str) -> Iterator[Stack]:  # noqa: ARG001 - its address is in the environment
    """A running Postgres, Kafka and Flink cluster with two TaskManagers, on free ports, with topics and tables.

    Tests share it: use customers, consumer groups and job names of your own, end the jobs you start, and leave both
    TaskManagers running.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        apart = [item.nodeid for item in request.session.items if item.get_closest_marker("xdist_group")]
        assert all(name.endswith(("@stack-1", "@stack-2")) for name in apart), "pytest and its xdist differ on groups"
    # Not pytest's own tmp_path: its parents are 0700 for the user, and as root Postgres runs as another one.
    with tempfile.TemporaryDirectory(prefix="streamflow-test-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder) / "home")
        try:
            stack.up(taskmanagers=2)
            yield stack
        finally:
            stack.down(wipe=True)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one trained model, which is current."""
    folder = tmp_path_factory.mktemp("models")
    command = [sys.executable, "-m", "flink_jobs.cli", "train", "--data", str(CARD_FILE), "--out", str(folder)]
    subprocess.run([*command, "--trees", "100"], check=True, cwd=REPO_ROOT, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def database() -> Iterator[Stack]:
    """A Postgres alone, with the migrations applied and nothing in the tables: what tests of the warehouse fill."""
    with tempfile.TemporaryDirectory(prefix="streamflow-test-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder) / "home")
        try:
            stack.up(["postgres"])
            yield stack
        finally:
            stack.down(wipe=True)


@pytest.fixture
def fresh_database(database: Stack) -> Iterator[Settings]:
    """Settings of an empty database of the test's own on that server, without any migration."""
    settings = database.settings()
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield settings.model_copy(update={"postgres_database": name})
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
