"""Checks that run the built images; ``make images-check`` runs them after ``make images``. They need root.

Each process runs in the file system of its image, as the user of the image, with its entry point (see unpacked.py).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from flink_jobs.errors import UserError
from flink_jobs.flink.rest import FlinkRest, FlinkRestError
from flink_jobs.local import envfile
from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.local.stack import Stack
from flink_jobs.waiting import wait_for
from tests.integration.jobs import CARD_FILE, rows
from tests.lab.platform.k8s_manifests import REPO
from tests.lab.platform.unpacked import Servers, unpack
from tests.stack_folder import stack_folder

EVENTS = 2_000


def test_the_command_line_runs() -> None:
    done = unpack("tools").run("--help")
    assert done.returncode == 0, done.stderr
    assert "simulate" in done.stdout
    done = unpack("tools").run("status")
    assert done.returncode == 2
    assert "unexpected" not in done.stderr


def test_airflow_lists_every_dag_and_dbt_has_its_adapter(tmp_path: Path) -> None:
    airflow = unpack("airflow")
    home = _writable(tmp_path / "airflow")
    settings = {
        "STREAMFLOW_POSTGRES_HOST": HOST,
        "STREAMFLOW_POSTGRES_PORT": "1",
        "STREAMFLOW_POSTGRES_DATABASE": "none",
        "STREAMFLOW_POSTGRES_TRANSFORMER_USER": "none",
        "STREAMFLOW_POSTGRES_TRANSFORMER_PASSWORD": "none",
    }
    mounts = {"/opt/airflow": home}
    done = airflow.run("airflow", "db", "migrate", mounts=mounts)
    assert done.returncode == 0, done.stderr
    done = airflow.run("airflow", "dags", "list", "--local", "--output", "json", mounts=mounts, environment=settings)
    assert done.returncode == 0, done.stderr + done.stdout
    found = {item["dag_id"] for item in json.loads(done.stdout[done.stdout.index("[{") :])}
    wanted = {path.stem for path in (REPO / "dags").glob("*.py")}
    assert wanted
    assert found == wanted
    done = airflow.run("dbt", "--version", environment=settings, mounts=mounts)
    assert done.returncode == 0, done.stderr
    assert "postgres" in done.stdout
    done = airflow.run("/opt/streamflow/.venv/bin/streamflow", "--help")
    assert done.returncode == 0, done.stderr


def test_the_entry_point_of_the_jobs_prints_its_usage() -> None:
    done = unpack("job").run()
    assert done.returncode == 2
    assert "nothing to start" in done.stderr
    done = unpack("job").run("flink", "--version")
    assert done.returncode == 0, done.stderr
    assert "2.2.1" in done.stdout


def test_pyflink_finds_the_program_that_starts_its_processes() -> None:
    code = "from pyflink.find_flink_home import _find_flink_home as home; print(home())"
    assert unpack("job").run("python", "-P", "-c", code).stdout.strip() == "/opt/flink"
    runner = "/opt/streamflow/.venv/lib/python3.11/site-packages/pyflink/bin/pyflink-udf-runner.sh"
    assert unpack("job").run("test", "-x", runner).returncode == 0


def test_the_jobs_run_the_compiled_core() -> None:
    code = "import flink_jobs, flink_jobs.core.evaluator as core; print(core.__file__)"
    done = unpack("job").run("python", "-P", "-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(".so")


def _processes(word: str) -> list[int]:
    """Return the pids of processes with this argument that belong to another user than the current one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if word in (folder / "cmdline").read_text().split("\0") and folder.stat().st_uid != os.getuid():
                found.append(int(folder.name))
    return found


def test_all_processes_of_an_image_end_with_the_block(tmp_path: Path) -> None:
    """Regression: with ``unshare --kill-child`` alone, JobManagers and TaskManagers kept running for hours."""
    seconds = "86399"
    with Servers(tmp_path) as servers:
        servers.start("sleep", unpack("job"), "sleep", seconds, mounts={}, environment={})
        wait_for(lambda: bool(_processes(seconds)), limit_s=30, what="the image's process")
    assert not _processes(seconds)


def _writable(folder: Path) -> Path:
    folder.mkdir(parents=True)
    os.chown(folder, 10001, 10001)
    return folder


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Yield a stack with Kafka and Postgres only; Flink comes from the image."""
    with stack_folder("images") as folder:
        stack = Stack(folder / "home")
        try:
            stack.up(["postgres", "kafka"])
            yield stack
        finally:
            stack.down(wipe=True)


@pytest.fixture(scope="module")
def bucket() -> Iterator[Mapping[str, str]]:
    """Yield Flink's settings for the bucket ``state`` on an S3-compatible server."""
    server = ThreadedMotoServer(HOST, port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield {
            "s3.endpoint": f"http://{host}:{port}",
            "s3.path.style.access": "true",
            "s3.access-key": "test",
            "s3.secret-key": "test",
        }
    finally:
        server.stop()


def _s3(settings: Mapping[str, str]) -> Any:  # noqa: ANN401 - boto3 has no types
    keys = {"aws_access_key_id": settings["s3.access-key"], "aws_secret_access_key": settings["s3.secret-key"]}
    return boto3.client("s3", endpoint_url=settings["s3.endpoint"], region_name="us-east-1", **keys)


def _environment(stack: Stack, job: str) -> dict[str, str]:
    return envfile.read(stack.home.env_file) | {
        "STREAMFLOW_CHECKPOINT_DIR": f"s3://state/{job}/checkpoints",
        "STREAMFLOW_SAVEPOINT_DIR": f"s3://state/{job}/savepoints",
        "STREAMFLOW_MODEL_DIR": "/models",
    }


@dataclass(frozen=True)
class ImageCluster:
    """Flink clusters from the job image, one per job: their stack, settings of Flink and mounted folders."""

    stack: Stack
    servers: Servers
    flink: Mapping[str, str]
    mounts: Mapping[str, Path]

    def start(self, job: str) -> str:
        """Start JobManager and TaskManager of a job as compose.yaml does; return the address of its REST API."""
        rest, rpc = free_ports(2)
        both = {**self.flink, "jobmanager.rpc.address": HOST, "jobmanager.rpc.port": rpc}
        parts = {
            "job": {"jobmanager.bind-host": HOST, "rest.address": HOST, "rest.bind-address": HOST, "rest.port": rest},
            "taskmanager": {
                "taskmanager.host": HOST,
                "taskmanager.bind-host": HOST,
                "taskmanager.numberOfTaskSlots": 1,
                "taskmanager.memory.process.size": "1728m",
            },
        }
        for part, own in parts.items():
            arguments = [part, *([f"/opt/streamflow/flink_jobs/job/{job}.py"] if part == "job" else [])]
            arguments += [word for key, value in (both | own).items() for word in ("-D", f"{key}={value}")]
            logs = {"/opt/flink/log": _writable(self.servers.logs / f"{job}-{part}-log")}
            environment = _environment(self.stack, job)
            self.servers.start(
                f"{job}-{part}", unpack("job"), *arguments, mounts={**self.mounts, **logs}, environment=environment
            )
        return f"http://{HOST}:{rest}"

    def runs(self, address: str) -> bool:
        """Return whether every task of the job at this address runs."""
        self.servers.check()
        try:
            jobs = FlinkRest(address).get("/jobs/overview")["jobs"]
        except (UserError, FlinkRestError):
            return False
        return any(job["state"] == "RUNNING" and job["tasks"]["running"] == job["tasks"]["total"] > 0 for job in jobs)


def test_detector_and_archive_of_the_image_lose_no_record(
    stack: Stack, bucket: Mapping[str, str], tmp_path: Path
) -> None:
    _s3(bucket).create_bucket(Bucket="state")
    tools, environment = unpack("tools"), _environment(stack, "any")
    mounts = {"/models": _writable(tmp_path / "models"), "/data": CARD_FILE.parent}
    options = ["--data", f"/data/{CARD_FILE.name}", "--out", "/models", "--trees", "100"]
    trained = tools.run("train", *options, mounts=mounts, environment=environment)
    assert trained.returncode == 0, trained.stderr
    with Servers(tmp_path) as servers:
        cluster = ImageCluster(stack, servers, bucket, {"/models": tmp_path / "models"})
        for job in ("detect", "archive"):
            address = cluster.start(job)
            wait_for(partial(cluster.runs, address), limit_s=300, what=f"{job} to run", interval_s=1)
        traffic = ["--customers", "200", "--events", str(EVENTS), "--malformed", "0.01", "--duplicates", "0.01"]
        sent = tools.run("simulate", *traffic, "--account", "150", environment=environment, limit_s=600)
        servers.check()
        assert sent.returncode == 0, sent.stdout + sent.stderr
        query = "SELECT count(*) AS rows FROM raw.decisions"
        wait_for(lambda: rows(stack, query)[0]["rows"] == EVENTS, limit_s=150, what="the rows", interval_s=1)
    for log in tmp_path.glob("*.log"):
        assert environment["STREAMFLOW_POSTGRES_PASSWORD"] not in log.read_text(errors="replace"), log.name
    [model] = rows(stack, "SELECT DISTINCT model_version FROM raw.decisions")
    assert model["model_version"] in {path.name for path in (tmp_path / "models").iterdir()}
    for job in ("detect", "archive"):
        found = _s3(bucket).list_objects_v2(Bucket="state", Prefix=f"{job}/checkpoints/")["Contents"]
        assert any(item["Key"].endswith("/_metadata") for item in found), job
