"""The job graphs as Flink would run them, built in a separate JVM without running: uids, mode and operators."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from flink_jobs.contracts import uids
from flink_jobs.local import flink, toolchain
from flink_jobs.local.home import Home
from flink_jobs.settings import REPO_ROOT

SCRIPT = Path(__file__).parent / "describe_graph.py"
SETTINGS = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "POSTGRES_HOST": "127.0.0.1",
    "POSTGRES_PORT": "9",
    "POSTGRES_DATABASE": "d",
    "POSTGRES_USER": "u",
    "POSTGRES_PASSWORD": "p",
    "FLINK_REST_URL": "http://127.0.0.1:9",
    "CHECKPOINT_DIR": "file:///nowhere/checkpoints",
    "SAVEPOINT_DIR": "file:///nowhere/savepoints",
    "LAKE_PATH": "/nowhere/lake",
}
IN_PROCESS = "detect in process mode"
SINGLE = "detect in the single crossing"
WITH_MERCHANTS = "detect with merchants"
EVERY_ENTITY = "merchants of every entity"
SQL_ENTITIES = "merchants of every entity in the single crossing"
ENDS = {"SourceTransformation", "SinkTransformation"}
EDGES = {"PartitionTransformation", "SideOutputTransformation", "UnionTransformation"}
DETECTOR_KINDS = {"PythonKeyedBroadcastStateTransformation", "TwoInputTransformation"}

Graph = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Graph]:
    """Return the operators of each job graph; one JVM builds all of them."""
    home = Home(tmp_path_factory.mktemp("graphs"))
    flink.prepare(home, rest_port=9, rpc_port=9)
    env = flink.environment(home, toolchain.find_java(), "graph")
    env |= {f"STREAMFLOW_{name}": value for name, value in SETTINGS.items()}
    command = [
        sys.executable,
        str(SCRIPT),
        "detect",
        SINGLE,
        IN_PROCESS,
        WITH_MERCHANTS,
        "archive",
        "lake",
        "merchants",
        EVERY_ENTITY,
        SQL_ENTITIES,
    ]
    done = subprocess.run(command, env=env, cwd=REPO_ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Graph] = orjson.loads(done.stdout.splitlines()[-1])
    assert all(graph["given"] and graph["operators"] for graph in found.values())
    return found


def of_ours(graph: Graph) -> set[str]:
    """Return the uids of the operators with state: sources, sinks and the detector."""
    return {item["uid"] for item in graph["given"] if item["kind"] in ENDS | DETECTOR_KINDS}


def test_operators_with_state_have_the_uids_of_the_list(graphs: dict[str, Graph]) -> None:
    assert of_ours(graphs["detect"]) == of_ours(graphs[SINGLE]) == set(uids.DETECT_UIDS)
    assert of_ours(graphs[WITH_MERCHANTS]) == {*uids.DETECT_UIDS, *uids.OPTIONAL_DETECT_UIDS}
    assert of_ours(graphs["archive"]) == set(uids.ARCHIVE_UIDS)


@pytest.mark.parametrize(
    "job", ["detect", SINGLE, WITH_MERCHANTS, "archive", "lake", "merchants", EVERY_ENTITY, SQL_ENTITIES]
)
def test_every_operator_has_a_unique_uid(job: str, graphs: dict[str, Graph]) -> None:
    graph = graphs[job]
    given = [item for item in graph["given"] if item["kind"] not in EDGES]
    assert [item["name"] for item in given if item["uid"] is None] == []
    # A sink is one transformation with several operators; Flink derives their uids from ours.
    assert [item["name"] for item in graph["operators"] if not item["uid"]] == []
    assert [uid for uid, count in Counter(item["uid"] for item in given).items() if count > 1] == []


def test_the_single_crossing_runs_in_the_jvm_and_is_the_only_python_operator(graphs: dict[str, Graph]) -> None:
    python = [item for item in graphs[SINGLE]["operators"] if "Python" in item["kind"]]
    assert [(item["uid"], item["kind"]) for item in python] == [(uids.DETECTOR, "EmbeddedPythonKeyedCoProcessOperator")]


def test_the_batched_crossing_is_the_default_and_needs_no_other_operator(graphs: dict[str, Graph]) -> None:
    """Java's sources, detector and sinks, with no SQL and no second Python operator between them."""
    operators = graphs["detect"]["operators"]
    assert [item["kind"] for item in operators if item["uid"] == uids.DETECTOR] == ["BatchedDetectorOperator"]
    others = {item["uid"].removeprefix("Sink Committer: ") for item in operators}
    assert others == set(uids.DETECT_UIDS)


def test_the_archive_has_one_python_operator_for_all_topics(graphs: dict[str, Graph]) -> None:
    """Regression: the planner put the writer before the union, with one Python process per topic."""
    python = [item["kind"] for item in graphs["archive"]["operators"] if "Python" in item["kind"]]
    assert python == ["ArrowPythonScalarFunctionOperator"]


def test_the_lake_has_no_python_operator_and_reads_the_topic_once_per_format(graphs: dict[str, Graph]) -> None:
    given = graphs["lake"]["given"]
    assert [item["kind"] for item in graphs["lake"]["operators"] if "Python" in item["kind"]] == []
    assert {item["uid"] for item in given} >= set(uids.LAKE_UIDS)
    assert sum(item["kind"] == "SourceTransformation" for item in given) == 2


def test_the_job_of_merchants_has_one_python_operator(graphs: dict[str, Graph]) -> None:
    python = [(item["uid"], item["kind"]) for item in graphs["merchants"]["operators"] if "Python" in item["kind"]]
    assert python == [(uids.MERCHANTS, "EmbeddedPythonKeyedProcessOperator")]
    assert {item["uid"] for item in graphs["merchants"]["given"]} >= set(uids.MERCHANTS_UIDS)


def test_java_reads_a_decision_once_and_sql_is_the_other_way_with_the_same_uids(graphs: dict[str, Graph]) -> None:
    def passes(job: str) -> int:
        return sum("Calc" in item["name"] and "Correlate" not in item["name"] for item in graphs[job]["operators"])

    by_java, by_sql = graphs[EVERY_ENTITY], graphs[SQL_ENTITIES]
    assert {item["uid"] for item in by_sql["given"]} >= set(uids.MERCHANTS_UIDS)
    assert {item["uid"] for item in by_java["given"]} >= set(uids.MERCHANTS_UIDS)
    assert 0 < passes(EVERY_ENTITY) < passes(SQL_ENTITIES)


def test_process_mode_changes_the_detector_but_no_uid(graphs: dict[str, Graph]) -> None:
    detect, other = graphs[SINGLE], graphs[IN_PROCESS]

    def kinds(graph: Graph) -> Counter[tuple[str, str]]:
        return Counter((item["uid"], item["kind"]) for item in graph["operators"])

    assert kinds(detect) - kinds(other) == {(uids.DETECTOR, "EmbeddedPythonKeyedCoProcessOperator"): 1}
    assert kinds(other) - kinds(detect) == {(uids.DETECTOR, "ExternalPythonKeyedCoProcessOperator"): 1}
