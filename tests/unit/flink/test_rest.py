"""The REST client, against a server that answers like Flink."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from flink_jobs.errors import UserError
from flink_jobs.flink.answers import Checkpoints, root_cause
from flink_jobs.flink.rest import FlinkRest, FlinkRestError
from flink_jobs.local.ports import free_ports
from tests.fake_flink import ID, FakeFlink, serving

OTHER = "b" * 32
CAUSE = "pemja.PythonException: <class 'ValueError'>: bad"
TRACE = f"java.lang.RuntimeException: outer\n\tat x\nCaused by: {CAUSE}\n\tat y\n"


@pytest.fixture
def fake() -> Iterator[FakeFlink]:
    with serving() as fake:
        fake.answers[f"GET /jobs/{ID}/exceptions"] = {"exceptionHistory": {"entries": []}}
        yield fake


def overview(*names: str) -> dict[str, Any]:
    ids = (ID, OTHER)
    jobs = [
        {"jid": ids[i], "name": name, "state": "RUNNING", "start-time": i, "duration": 1}
        for i, name in enumerate(names)
    ]
    return {"jobs": jobs}


def test_an_unreachable_jobmanager_is_an_error_with_a_fix() -> None:
    rest = FlinkRest(f"http://127.0.0.1:{free_ports(1)[0]}")
    assert not rest.is_up()
    with pytest.raises(UserError, match="no Flink JobManager answers") as error:
        rest.jobs()
    assert "streamflow up" in error.value.fix


def test_flinks_own_message_is_kept(fake: FakeFlink) -> None:
    with pytest.raises(FlinkRestError, match="Not found: nothing here"):
        FlinkRest(fake.url).get("/nothing")


def test_jobs_are_found_by_id_start_of_id_or_name(fake: FakeFlink) -> None:
    fake.answers["GET /jobs/overview"] = overview("streamflow detect", "streamflow archive")
    rest = FlinkRest(fake.url)
    assert rest.find_job(ID).name == "streamflow detect"
    assert rest.find_job("bbb").name == "streamflow archive"
    assert rest.find_job("Detect").job_id == ID
    with pytest.raises(UserError, match="more than one running job"):
        rest.find_job("streamflow")
    with pytest.raises(UserError, match="no running job matches 'x'"):
        rest.find_job("x")


def test_running_means_that_every_task_runs(fake: FakeFlink) -> None:
    fake.job(["RUNNING"], tasks="INITIALIZING")
    told = r"is not RUNNING after 0 s: RUNNING \(fraud is INITIALIZING\).*free task slots"
    with pytest.raises(UserError, match=told):
        FlinkRest(fake.url).wait_state(ID, "RUNNING", limit_s=0)
    fake.job(["CREATED", "RUNNING"])
    FlinkRest(fake.url).wait_state(ID, "RUNNING", limit_s=10)


def test_a_failed_job_ends_the_wait_with_its_root_cause(fake: FakeFlink) -> None:
    fake.job(["CREATED", "CREATED", "FAILED"])
    entry = {"timestamp": 1, "exceptionName": "x", "stacktrace": TRACE}
    fake.answers[f"GET /jobs/{ID}/exceptions"] = {"exceptionHistory": {"entries": [entry]}}
    with pytest.raises(UserError, match=r"is FAILED; root cause: .*ValueError.*: bad"):
        FlinkRest(fake.url).wait_state(ID, "RUNNING", limit_s=10)


def test_a_job_that_keeps_failing_ends_the_wait(fake: FakeFlink) -> None:
    fake.job(["RESTARTING"])
    entry = {"timestamp": 1, "exceptionName": "x", "stacktrace": TRACE}
    fake.answers[f"GET /jobs/{ID}/exceptions"] = {"exceptionHistory": {"entries": [entry, entry]}}
    with pytest.raises(UserError, match="keeps failing"):
        FlinkRest(fake.url).wait_state(ID, "RUNNING", limit_s=10, max_failures=2)


def test_stop_with_savepoint_returns_the_path_once_the_job_has_ended(fake: FakeFlink) -> None:
    fake.answers[f"POST /jobs/{ID}/stop"] = {"request-id": "t"}
    fake.answers[f"GET /jobs/{ID}/savepoints/t"] = [
        {"status": {"id": "IN_PROGRESS"}},
        {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/sp"}},
    ]
    fake.job(["RUNNING", "FINISHED"])
    assert FlinkRest(fake.url).stop_with_savepoint(ID, "file:/target") == "file:/sp"
    assert ("POST", f"/jobs/{ID}/stop", {"targetDirectory": "file:/target", "drain": False}) in fake.requests
    assert fake.requests[-1][1] == f"/jobs/{ID}"


def test_a_failed_savepoint_is_explained(fake: FakeFlink) -> None:
    fake.answers[f"POST /jobs/{ID}/savepoints"] = {"request-id": "t"}
    failed = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"stack-trace": TRACE}}}
    fake.answers[f"GET /jobs/{ID}/savepoints/t"] = failed
    with pytest.raises(UserError, match=r"failed: pemja\.PythonException"):
        FlinkRest(fake.url).savepoint(ID, "file:/target")


def test_cancel_waits_for_the_end(fake: FakeFlink) -> None:
    fake.answers[f"PATCH /jobs/{ID}?mode=cancel"] = {}
    fake.job(["CANCELLING", "CANCELED"])
    FlinkRest(fake.url).cancel(ID)
    assert [request[0] for request in fake.requests] == ["PATCH", "GET", "GET"]


def test_metrics_are_summed_over_vertices(fake: FakeFlink) -> None:
    vertices = [{"id": "v1", "name": "fraud", "status": "RUNNING"}, {"id": "v2", "name": "sink", "status": "RUNNING"}]
    fake.answers[f"GET /jobs/{ID}"] = {"state": "RUNNING", "vertices": vertices}
    for vertex, value in (("v1", 2), ("v2", 3)):
        path = f"/jobs/{ID}/vertices/{vertex}/subtasks/metrics?get=n&agg=sum"
        fake.answers[f"GET {path}"] = {}
        fake.answers[f"GET {path}"] = [[{"id": "n", "sum": value}]]
    rest = FlinkRest(fake.url)
    assert rest.vertex_metrics(ID, lambda name: name == "fraud", ["n"]) == {"n": 2.0}
    assert rest.vertex_metrics(ID, lambda _: True, ["n"]) == {"n": 5.0}


def test_checkpoints_before_and_after_the_first() -> None:
    empty = Checkpoints.from_answer({"counts": {"completed": 0}, "latest": {"completed": None}})
    assert empty.age_s(5_000) is None
    first = Checkpoints.from_answer(
        {"counts": {"completed": 1}, "latest": {"completed": {"latest_ack_timestamp": 2_000, "state_size": 7}}}
    )
    assert (first.completed, first.age_s(5_000), first.last_size_bytes) == (1, 3.0, 7)


@pytest.mark.parametrize(("trace", "cause"), [(TRACE, CAUSE), ("one\n  at x", "one"), ("", "")])
def test_root_cause(trace: str, cause: str) -> None:
    assert root_cause(trace) == cause
