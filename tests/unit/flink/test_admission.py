"""Jobs that cannot start are refused before they are submitted, and stopped jobs keep their state."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flink_jobs.errors import UserError
from flink_jobs.flink.admission import TOPIC_PREFIX, refuse_second, require_slots, running
from flink_jobs.flink.rest import FlinkRest
from flink_jobs.flink.stopping import stop_jobs
from tests.fake_flink import ID, FakeFlink, serving

OTHER = "b" * 32


@pytest.fixture
def fake() -> Iterator[FakeFlink]:
    with serving() as fake:
        yield fake


@pytest.mark.parametrize(
    ("free", "taskmanagers", "wanted", "told", "fix"),
    [
        (
            1,
            1,
            {"detect": None, "archive": None},
            "detect and archive need 2 task slots, 1 is free",
            "--taskmanagers 2",
        ),
        (0, 2, {"detect": None}, "detect needs 1 task slot, 0 are free", "--taskmanagers 3"),
        (2, 2, {"detect": 5}, "detect needs 5 task slots, 2 are free", "--taskmanagers 5"),
        (2, 2, {"detect": 40}, "detect needs 40 task slots, 2 are free", "at most 16 slots"),
    ],
)
def test_missing_task_slots_are_refused_with_the_command_that_adds_them(
    fake: FakeFlink, free: int, taskmanagers: int, wanted: dict[str, int | None], told: str, fix: str
) -> None:
    fake.offers(free, taskmanagers=taskmanagers)
    with pytest.raises(UserError, match=told) as error:
        require_slots(FlinkRest(fake.url), wanted)
    assert fix in error.value.fix


def test_the_clusters_own_parallelism_and_slots_per_taskmanager_count(fake: FakeFlink) -> None:
    fake.offers(1, settings={"parallelism.default": "4", "taskmanager.numberOfTaskSlots": "2"})
    with pytest.raises(UserError, match="detect needs 4 task slots") as error:
        require_slots(FlinkRest(fake.url), {"detect": None})
    assert "--taskmanagers 3" in error.value.fix


def test_enough_slots_and_clusters_that_grow_are_no_obstacle(fake: FakeFlink) -> None:
    fake.offers(2)
    require_slots(FlinkRest(fake.url), {"detect": None, "archive": None})
    fake.offers(0, settings={"kubernetes.cluster-id": "session"})
    require_slots(FlinkRest(fake.url), {"detect": 8})


def test_a_second_job_of_a_consumer_group_is_refused_by_id(fake: FakeFlink) -> None:
    fake.runs("streamflow-detect", **{TOPIC_PREFIX: "cards"})
    with pytest.raises(UserError, match=f"RUNNING already as job {ID}, in consumer group cards-detect"):
        refuse_second(FlinkRest(fake.url), "detect", "cards")
    refuse_second(FlinkRest(fake.url), "detect", "other")
    refuse_second(FlinkRest(fake.url), "archive", "cards")


def test_a_job_of_a_release_that_did_not_name_its_topics_counts(fake: FakeFlink) -> None:
    fake.runs("streamflow-detect")
    found = running(FlinkRest(fake.url), "detect", "cards")
    assert found is not None
    assert found.job_id == ID


def _two_jobs(fake: FakeFlink) -> FlinkRest:
    fake.runs("streamflow-detect")
    fake.runs("streamflow-archive", OTHER)
    for job_id in (ID, OTHER):
        fake.answers[f"PATCH /jobs/{job_id}?mode=cancel"] = {}
        fake.answers[f"GET /jobs/{job_id}"] = {"state": "FINISHED", "vertices": []}
        fake.answers[f"GET /jobs/{job_id}/checkpoints"] = {
            "latest": {"completed": {"external_path": f"file:/chk/{job_id}"}}
        }
        fake.answers[f"POST /jobs/{job_id}/stop"] = {"request-id": "t"}
        done = {"status": {"id": "COMPLETED"}, "operation": {"location": f"file:/sp/{job_id}"}}
        fake.answers[f"GET /jobs/{job_id}/savepoints/t"] = done
    return FlinkRest(fake.url)


def test_every_job_is_stopped_with_a_savepoint(fake: FakeFlink) -> None:
    rest = _two_jobs(fake)
    found = stop_jobs(rest, rest.active_jobs(), "file:/target", limit_s=10)
    assert {item.savepoint for item in found} == {f"file:/sp/{ID}", f"file:/sp/{OTHER}"}
    assert not any(request[0] == "PATCH" for request in fake.requests)
    assert "stopped with savepoint file:/sp/" in found[0].line()


def test_a_savepoint_that_fails_or_takes_too_long_leaves_the_last_checkpoint(fake: FakeFlink) -> None:
    rest = _two_jobs(fake)
    failed = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"stack-trace": "x.Y: no disk"}}}
    fake.answers[f"GET /jobs/{ID}/savepoints/t"] = failed
    fake.answers[f"GET /jobs/{OTHER}/savepoints/t"] = {"status": {"id": "IN_PROGRESS"}}
    found = {item.job.job_id: item for item in stop_jobs(rest, rest.active_jobs(), "file:/target", limit_s=0.3)}
    assert {item.savepoint for item in found.values()} == {None}
    assert found[ID].line().endswith(f"no disk); its last checkpoint is kept: file:/chk/{ID}")
    assert "waited 0.3 s for the savepoint" in found[OTHER].line()
    assert {request[1] for request in fake.requests if request[0] == "PATCH"} == {
        f"/jobs/{ID}?mode=cancel",
        f"/jobs/{OTHER}?mode=cancel",
    }


def test_with_a_known_obstacle_no_savepoint_is_tried(fake: FakeFlink) -> None:
    rest = _two_jobs(fake)
    found = stop_jobs(rest, rest.active_jobs(), "file:/target", obstacle="Kafka does not run")
    assert not any(request[0] == "POST" for request in fake.requests)
    assert "stopped without a savepoint (Kafka does not run); its last checkpoint is kept" in found[0].line()


def test_a_job_without_any_checkpoint_is_reported_so(fake: FakeFlink) -> None:
    rest = _two_jobs(fake)
    fake.answers[f"GET /jobs/{ID}/checkpoints"] = {"latest": {"completed": None}}
    first = stop_jobs(rest, [rest.find_job("detect")], "file:/target", limit_s=0)[0]
    assert (
        first.line() == "streamflow-detect stopped without a savepoint (none was asked for); it completed no checkpoint"
    )
