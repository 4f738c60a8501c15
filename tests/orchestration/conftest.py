"""Airflow in one process: a separate Postgres with decided card transactions, a metadata database, and the DAGs.

Runs in .venv-orchestration. Airflow reads its settings when it is imported, so everything it needs is started here,
at the top, before a test module imports it. The first run of a DAG costs seconds: all tests share one process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from flink_jobs.settings import REPO_ROOT, Settings, load_settings
from flink_jobs.warehouse.dbt_project import NAMESPACE, Dbt, environment, file_transport
from flink_jobs.warehouse.paths import DBT_PROJECT

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

BASE = Path(tempfile.mkdtemp(prefix="streamflow-airflow-test-"))
BASE.chmod(0o755)  # as root, Postgres runs as another account
HOME = BASE / "home"
LINEAGE = BASE / "lineage.jsonl"


def prepare(*arguments: str) -> None:
    """Start or stop Postgres with the programs of the streaming environment."""
    command = [str(REPO_ROOT / ".venv/bin/python"), "-m", "tests.orchestration.prepare", str(HOME), *arguments]
    subprocess.run(command, cwd=REPO_ROOT, check=True, timeout=900)


def pytest_configure() -> None:
    prepare()
    os.environ.update(STREAMFLOW_HOME=str(HOME), STREAMFLOW_MODEL_DIR=str(HOME / "models"))
    settings = load_settings()
    owner = f"{settings.postgres_user}:{settings.postgres_password.get_secret_value()}"
    place = f"{settings.postgres_host}:{settings.postgres_port}"
    os.environ.update(
        environment(settings, {}),
        AIRFLOW_HOME=str(BASE / "airflow"),
        AIRFLOW__CORE__DAGS_FOLDER=str(REPO_ROOT / "dags"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__CORE__UNIT_TEST_MODE="False",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"postgresql+psycopg2://{owner}@{place}/airflow",
        AIRFLOW__OPENLINEAGE__TRANSPORT=file_transport(LINEAGE),
        AIRFLOW__OPENLINEAGE__NAMESPACE=NAMESPACE,
        AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
        AIRFLOW__COSMOS__ENABLE_TELEMETRY="False",
        DO_NOT_TRACK="1",
    )


def pytest_unconfigure() -> None:
    prepare("stop")
    shutil.rmtree(BASE, ignore_errors=True)


@pytest.fixture(scope="session")
def settings() -> Settings:
    return load_settings()


@pytest.fixture(scope="session")
def bag(settings: Settings) -> DagBag:
    """Return the DAGs, read as the DAG processor reads them."""
    Dbt(settings, DBT_PROJECT / "target", lambda _: None).run("parse")
    from airflow.dag_processing.dagbag import DagBag  # noqa: PLC0415 - see above

    return DagBag(str(REPO_ROOT / "dags"))


@pytest.fixture(scope="session")
def metadata() -> Iterator[None]:
    """Create Airflow's own tables and the pool of the tasks."""
    from airflow import settings as airflow_settings  # noqa: PLC0415 - see above
    from airflow.models.pool import Pool  # noqa: PLC0415
    from airflow.utils.db import initdb  # noqa: PLC0415

    from flink_jobs.warehouse.orchestration import POOL, POOL_SLOTS  # noqa: PLC0415

    initdb()
    Pool.create_or_update_pool(POOL, POOL_SLOTS, "tasks that use the database", include_deferred=False)
    yield
    airflow_settings.dispose_orm(do_log=False)


@pytest.fixture
def run_dag(metadata: None, bag: DagBag, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:  # noqa: ARG001
    def run(dag_id: str, **conf: object) -> Any:  # noqa: ANN401 - a DagRun, whose class must not be imported up here
        dag = bag.dags[dag_id]
        monkeypatch.setattr(dag, "deadline", None)  # Airflow 3.3 fails at the end of a test run that has one
        for task in dag.tasks:
            monkeypatch.setattr(task, "retry_delay", task.retry_delay * 0)
        return dag.test(run_conf=conf)

    return run


@pytest.fixture(scope="session")
def lineage() -> Path:
    """Return the file of the OpenLineage events."""
    return LINEAGE


@pytest.fixture
def ask(settings: Settings) -> Callable[..., list[tuple[Any, ...]]]:
    """Return a function that queries the warehouse as its owner."""

    def ask(text: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(settings.postgres_dsn) as connection:
            cursor = connection.execute(text.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    return ask
