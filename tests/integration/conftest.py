"""Fixtures of the integration tests: one set of real servers per test process."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import time
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
from flink_jobs.waiting import wait_for
from tests.integration.jobs import CARD_FILE
from tests.quick_jvms import quick_compiler
from tests.stack_folder import stack_folder

FLINK_2 = {
    "test_account_actions", "test_completeness", "test_demo", "test_deploy", "test_judging", "test_measurements",
    "test_model_faults", "test_model_life", "test_recovery_drill", "test_upgrades",
}  # fmt: skip
"""Test files of the second cluster; they take about half of the time of all files that need Flink."""
POSTGRES = {
    "test_account_risk", "test_api_reads", "test_archive_rows", "test_backup_drill", "test_case_accounts", "test_cases",
    "test_closed_days", "test_console", "test_console_browser", "test_console_pages", "test_marts",
    "test_marts_exporter", "test_marts_history", "test_masking", "test_migrate_undo", "test_model_requests",
    "test_oidc", "test_proposals", "test_rate_limits", "test_raw_layer",
}  # fmt: skip
"""Test files that need no Flink cluster: most use the fixture ``database``."""
OWN = {"test_crossing", "test_graph", "test_migrate", "test_redrive", "test_resume", "test_secure_stack"}
"""Test files that start all their servers themselves; the process that is done first with a group takes them."""
DAY_S = 86_400
DAY_ENDS_S = 180.0
"""Longer than a test that needs one day."""
GROUPS = ("flink-1", "flink-2", "postgres", "own")
"""In the order in which processes take them."""


def group_of(file: str) -> str:
    """Return the group of a test file of this folder; CONTRIBUTING.md says where a new file belongs."""
    named = {"postgres": POSTGRES, "own": OWN, "flink-2": FLINK_2}
    return next((group for group, files in named.items() if file in files), "flink-1")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Distribute these tests over three processes; the tests of one process share servers and run one after another.

    The tests wait a part of their time, so three processes need less time than two, also on two cores. A process takes
    the first group that is left, then single tests: the groups come first, the longest ones before the others.
    """
    here = Path(__file__).parent
    places = dict.fromkeys(items, len(GROUPS))
    for item in items:
        if here in item.path.parents:
            group = group_of(item.path.stem)
            item.add_marker(pytest.mark.xdist_group(group))
            places[item] = GROUPS.index(group)
    items.sort(key=places.__getitem__)


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


@pytest.fixture
def whole_day() -> None:
    """Do not begin a test that computes with the present day shortly before the day ends (UTC)."""
    if DAY_S - time.time() % DAY_S < DAY_ENDS_S:
        wait_for(lambda: time.time() % DAY_S < DAY_S / 2, limit_s=2 * DAY_ENDS_S, what="the next day", interval_s=1.0)


@pytest.fixture(scope="module", autouse=True)
def quick_jvms() -> Iterator[None]:
    """Let what a test starts again later - a cluster, a broker - have the compiler that the fixture ``stack`` chose."""
    with quick_compiler():
        yield


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, bucket: str) -> Iterator[Stack]:  # noqa: ARG001 - sets the environment
    """Yield a running Postgres, Kafka and Flink cluster with two TaskManagers, on free ports, with topics and tables.

    Tests share it: use your own customers, consumer groups and job names, end the jobs you start, and leave both
    TaskManagers running.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        apart = [item.nodeid for item in request.session.items if item.get_closest_marker("xdist_group")]
        groups = {name.rpartition("@")[2] for name in apart}
        assert groups <= set(GROUPS), "pytest and its xdist differ on groups"
    with stack_folder("test") as folder:
        stack = Stack(folder / "home")
        try:
            with quick_compiler():
                stack.up(taskmanagers=2)
            yield stack
        finally:
            stack.down(wipe=True)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of this process with one trained model, which is the current version; one process trains it."""
    folder, shared = tmp_path_factory.mktemp("models"), tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    trained, command = shared / "trained", [sys.executable, "-m", "flink_jobs.cli", "train", "--data", str(CARD_FILE)]
    with (shared / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not trained.exists():
            training = [*command, "--out", str(shared / "training"), "--trees", "100"]
            subprocess.run(training, check=True, cwd=REPO_ROOT, capture_output=True)
            (shared / "training").rename(trained)
    shutil.copytree(trained, folder, symlinks=True, dirs_exist_ok=True)
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
