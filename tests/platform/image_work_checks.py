"""The built images at work: `make images-check` after `make images`. Not collected by `make test`; needs root.

Each process runs in the file system of its image, as the image's user, with the image's entry point: see unpacked.py.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from flink_jobs.errors import UserError
from flink_jobs.local.flink_rest import FlinkRest, FlinkRestError
from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.local.stack import Stack
from flink_jobs.local.waiting import wait_for
from tests.integration.jobs import CARD_FILE, rows
from tests.platform.manifests import REPO
from tests.platform.unpacked import Image, Servers

EVENTS = 2_000


def test_the_command_line_answers(images: Mapping[str, Image]) -> None:
    done = images["tools"].run("--help")
    assert done.returncode == 0, done.stderr
    assert "simulate" in done.stdout
    done = images["tools"].run("status")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_airflow_finds_every_dag_and_dbt_its_adapter(images: Mapping[str, Image], tmp_path: Path) -> None:
    airflow = images["airflow"]
    home = _writable(tmp_path / "airflow")
    settings = {
        "STREAMFLOW_POSTGRES_HOST": HOST,
        "STREAMFLOW_POSTGRES_PORT": "1",
        "STREAMFLOW_POSTGRES_DATABASE": "none",
        "STREAMFLOW_POSTGRES_TRANSFORMER_USER": "none",
        "STREAMFLOW_POSTGRES_TRANSFORMER_PASSWORD": "none",
    }
    mounts = {"/opt/airflow": home}
    done = airflow.run("airflow", "dags", "list", "--local", "--output", "json", mounts=mounts, environment=settings)
    assert done.returncode == 0, done.stderr + done.stdout
    found = {item["dag_id"] for item in json.loads(done.stdout[done.stdout.index("[{") :])}
    wanted = {name for path in (REPO / "dags").glob("*.py") for name in re.findall(r'dag_id="(\w+)"', path.read_text())}
    assert wanted
    assert found == wanted
    done = airflow.run("dbt", "--version", environment=settings, mounts=mounts)
    assert done.returncode == 0, done.stderr
    assert "postgres" in done.stdout
    done = airflow.run("/opt/streamflow/.venv/bin/streamflow", "--help")
    assert done.returncode == 0, done.stderr


def test_the_entry_point_of_the_jobs_says_what_it_wants(images: Mapping[str, Image]) -> None:
    done = images["job"].run()
    assert done.returncode == 2
    assert "say what to start" in done.stderr
    done = images["job"].run("flink", "--version")
    assert done.returncode == 0, done.stderr
    assert "2.2.1" in done.stdout


def test_the_jobs_run_the_compiled_core(images: Mapping[str, Image]) -> None:
    code = "import flink_jobs, flink_jobs.core.evaluator as core; print(core.__file__)"
    done = images["job"].run("python", "-P", "-c", code, environment={"STREAMFLOW_CORE": "compiled"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(".so")


def _writable(folder: Path) -> Path:
    folder.mkdir(parents=True)
    os.chown(folder, 10001, 10001)
    return folder


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Kafka and Postgres alone: Flink comes from the image."""
    with tempfile.TemporaryDirectory(prefix="streamflow-images-") as folder:
        Path(folder).chmod(0o755)
        stack = Stack(Path(folder) / "home")
        try:
            stack.up(["postgres", "kafka"])
            yield stack
        finally:
            stack.down(wipe=True)


def _environment(stack: Stack) -> dict[str, str]:
    lines = stack.home.env_file.read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if line.startswith("STREAMFLOW_"))
    return values | {
        "STREAMFLOW_CHECKPOINT_DIR": "file:///state/checkpoints",
        "STREAMFLOW_SAVEPOINT_DIR": "file:///state/savepoints",
        "STREAMFLOW_MODEL_DIR": "/models",
        "STREAMFLOW_CORE": "compiled",
    }


def _start_job(servers: Servers, image: Image, name: str, environment: dict[str, str], mounts: dict[str, Path]) -> str:
    """Start a job as compose.yaml does, JobManager and TaskManager, and return the address of its REST interface."""
    rest, rpc = free_ports(2)
    address = {"jobmanager.rpc.address": HOST, "jobmanager.rpc.port": rpc, "jobmanager.bind-host": HOST}
    manager = address | {"rest.address": HOST, "rest.bind-address": HOST, "rest.port": rest}
    worker = address | {"taskmanager.host": HOST, "taskmanager.bind-host": HOST, "taskmanager.numberOfTaskSlots": 1}
    worker |= {"taskmanager.memory.process.size": "1728m"}

    def flags(values: dict[str, object]) -> list[str]:
        return [word for key, value in values.items() for word in ("-D", f"{key}={value}")]

    for part, arguments in {
        "jobmanager": ["job", f"/opt/streamflow/flink_jobs/job/{name}.py", *flags(manager)],
        "taskmanager": ["taskmanager", *flags(worker)],
    }.items():
        logs = {"/opt/flink/log": _writable(servers.logs / f"{name}-{part}-log")}
        servers.start(f"{name}-{part}", image, *arguments, mounts=mounts | logs, environment=environment)
    return f"http://{HOST}:{rest}"


def _running(servers: Servers, address: str) -> bool:
    servers.check()
    try:
        jobs = FlinkRest(address).get("/jobs/overview")["jobs"]
    except (UserError, FlinkRestError):
        return False
    return any(job["state"] == "RUNNING" and job["tasks"]["running"] == job["tasks"]["total"] > 0 for job in jobs)


def test_detector_and_archive_of_the_image_balance(images: Mapping[str, Image], stack: Stack, tmp_path: Path) -> None:
    tools, environment = images["tools"], _environment(stack)
    mounts = {"/state": _writable(tmp_path / "state"), "/models": _writable(tmp_path / "models")}
    trained = tools.run(
        *("train", "--data", f"/data/{CARD_FILE.name}", "--out", "/models", "--trees", "100"),
        mounts=mounts | {"/data": CARD_FILE.parent},
        environment=environment,
    )
    assert trained.returncode == 0, trained.stderr
    with Servers(tmp_path) as servers:
        for name in ("detect", "archive"):
            address = _start_job(servers, images["job"], name, environment, mounts)
            wait_for(partial(_running, servers, address), limit_s=300, what=f"{name} to run", interval_s=1)
        sent = tools.run(
            *("simulate", "--customers", "200", "--events", str(EVENTS), "--rate", "200", "--account", "150"),
            *("--malformed", "0.01", "--duplicates", "0.01", "--output", "json"),
            environment=environment,
            limit_s=600,
        )
        servers.check()
        assert sent.returncode == 0, sent.stdout + sent.stderr
        query = "SELECT count(*) AS rows FROM raw.decisions"
        wait_for(lambda: rows(stack, query)[0]["rows"] == EVENTS, limit_s=150, what="the rows", interval_s=1)
        [model] = rows(stack, "SELECT DISTINCT model_version FROM raw.decisions")
        assert model["model_version"] in {path.name for path in (tmp_path / "models").iterdir()}
