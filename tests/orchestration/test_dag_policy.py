"""Rules for every DAG of this repository."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.serialization.serialized_objects import DagSerialization

from flink_jobs.settings import REPO_ROOT, Settings
from flink_jobs.warehouse.orchestration import record_retry

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag

DAGS = {"ingestion_health", "data_quality", "gold_build", "model_retraining", "dead_letter_report", "backup"}
LIGHT = ("__future__", "typing", "airflow", "cosmos", "flink_jobs.warehouse")


def test_every_file_is_read_without_error(bag: DagBag) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == DAGS == {path.stem for path in (REPO_ROOT / "dags").glob("*.py")}


def test_every_dag_says_what_it_does_and_who_owns_it(bag: DagBag) -> None:
    for dag in bag.dags.values():
        assert "**If it fails**" in (dag.doc_md or ""), dag.dag_id
        assert len(dag.tags - {"streamflow"}) == len(dag.tags) - 1 > 0, dag.dag_id
        assert (dag.catchup, dag.max_active_runs) == (False, 1)
        assert dag.deadline, f"{dag.dag_id} has no deadline"
        assert {task.owner for task in dag.tasks} == {"data-platform"}


def test_every_task_waits_longer_after_each_try_and_reports_failures(bag: DagBag) -> None:
    for dag in bag.dags.values():
        for task in dag.tasks:
            if task.retries:
                assert task.retry_exponential_backoff == 2.0, task.task_id
                assert task.max_retry_delay, task.task_id
            assert task.on_failure_callback, task.task_id
            assert task.pool == "warehouse", task.task_id


def test_dag_files_only_wire(bag: DagBag) -> None:
    assert bag.dags
    for path in (REPO_ROOT / "dags").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            assert isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.Expr | ast.Assign), (
                path.name,
                node.lineno,
            )
            if isinstance(node, ast.ImportFrom):
                assert f"{node.module}.".startswith(tuple(f"{name}." for name in LIGHT)), (path.name, node.module)


def test_a_dag_has_a_task_for_each_model_and_no_secret(bag: DagBag, settings: Settings) -> None:
    models = {path.stem for path in (REPO_ROOT / "dbt/models").glob("*/*.sql")}
    tasks = {task.task_id for task in bag.dags["gold_build"].tasks}
    assert len(models) >= 20
    assert {name for name in models if not any(f".{name}" in task for task in tasks)} == set()
    password = settings.postgres_login("transformer")[1].get_secret_value()
    for dag in bag.dags.values():
        assert password not in json.dumps(DagSerialization.serialize_dag(dag), default=str)


def test_an_incident_without_an_exception_says_what_happened(ask: Callable[..., list[tuple[Any, ...]]]) -> None:
    """Airflow passes no exception to the callback of a retry."""
    instance = SimpleNamespace(dag_id="policy", task_id="one", run_id="r", try_number=2)
    record_retry({"ti": instance, "exception": None})
    record_retry({"ti": instance, "exception": ValueError("no answer")})
    what = "SELECT what FROM ops.incidents WHERE dag_id = 'policy' ORDER BY incident_id"
    assert ask(what) == [("try 2 failed; the log of the task has the error",), ("no answer",)]
    ask("DELETE FROM ops.incidents WHERE dag_id = 'policy'")
