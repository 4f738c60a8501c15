"""What keeps a canary apart from the running detector: topics, groups, Kafka transactions, rights and snapshots."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from flink_jobs.canary.running import environment
from flink_jobs.contracts import uids
from flink_jobs.contracts.access import CANARY, DETECTOR_OUTPUTS, grants
from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.flink.savepoints.check import job_of, obstacles
from flink_jobs.job import detect
from flink_jobs.job.detector.outputs import OUTPUTS as SINKS
from flink_jobs.settings import Settings

NEEDED: dict[str, Any] = {
    "kafka_bootstrap_servers": "localhost:1", "postgres_host": "localhost", "postgres_port": 1, "crossing": "single",
    "postgres_database": "d", "postgres_user": "u", "postgres_password": "p", "flink_rest_url": "http://localhost:1",
    "checkpoint_dir": "file:///state/checkpoints/", "savepoint_dir": "s3://bucket/savepoints",
}  # fmt: skip


@pytest.fixture
def canary() -> Settings:
    own = {name.removeprefix("STREAMFLOW_").lower(): value for name, value in environment(Settings(**NEEDED)).items()}
    return Settings(**{**NEEDED, **own})


def test_a_canary_reads_the_inputs_of_the_running_job_and_writes_to_topics_of_its_own(canary: Settings) -> None:
    running, trial = detect.wiring(Settings(**NEEDED)), detect.wiring(canary)
    inputs = [(item.topics.transactions, item.topics.control, item.topics.actions) for item in (running, trial)]
    assert inputs[0] == inputs[1]
    assert not set(running.topics.outputs.values()) & set(trial.topics.outputs.values())
    assert set(trial.topics.outputs) == set(DETECTOR_OUTPUTS)
    assert detect.detector_settings(canary).replies_topic == "streamflow-canary.replies"
    assert (detect.job_name(canary), trial.group_id) == ("streamflow-canary", "streamflow-canary-detect")


def test_transaction_ids_of_one_are_no_beginning_of_the_others(canary: Settings) -> None:
    """Flink aborts the open transactions whose ids begin with its own prefix."""
    groups = [detect.wiring(item).group_id for item in (Settings(**NEEDED), canary)]
    assert not groups[0].startswith(groups[1])
    assert not groups[1].startswith(groups[0])


def test_checkpoints_are_in_folders_of_their_own(canary: Settings) -> None:
    assert canary.checkpoint_dir == "file:///state/checkpoints-canary"
    assert canary.savepoint_dir == "s3://bucket/savepoints-canary"


def test_a_canary_that_would_write_to_the_topics_of_the_running_job_is_refused() -> None:
    with pytest.raises(ValidationError, match="must differ from STREAMFLOW_TOPIC_PREFIX"):
        Settings(**NEEDED, canary_of="streamflow")


def test_every_sink_has_another_uid_in_a_canary() -> None:
    assert {item.uid for item in SINKS} == set(uids.SINKS)
    assert not set(uids.CANARY_SINKS) & set(uids.DETECT_UIDS)


def test_the_account_of_a_canary_can_write_to_its_own_topics_only() -> None:
    mine = [item for item in grants(load_contracts("bank"), "bank") if item.account == CANARY]
    assert {item.name for item in mine if item.operation == "write"} == {"bank-canary.", "bank-canary-detect-"}
    assert {item.name for item in mine if item.resource == "group"} == {"bank-canary-detect"}


def test_a_snapshot_of_a_canary_is_not_one_of_the_detector() -> None:
    operators = [_operator(uid) for uid in (uids.DETECTOR, uids.TRANSACTIONS_SOURCE, uids.CANARY_SINKS[0])]
    theirs: Any = SimpleNamespace(operators=operators, folder="/chk-1")
    assert job_of(theirs) == "canary"
    (obstacle,) = obstacles(theirs, "detect", "thread")
    assert "the canary job wrote /chk-1" in obstacle.what


def _operator(uid: str) -> SimpleNamespace:
    return SimpleNamespace(uid=uid, has_state=True, keyed_states=[], max_parallelism=128)
