"""The drill of docs/disaster-recovery.md: the whole Flink cluster is lost, a new one restores from the storage."""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlparse

import pytest

from flink_jobs.changing_folders import paths_in, statuses
from flink_jobs.errors import UserError
from flink_jobs.local import flink, process
from flink_jobs.local.stack import Stack
from flink_jobs.waiting import wait_for
from tests.integration import jobs

pytestmark = [pytest.mark.stack, pytest.mark.slow]

PREFIX = "drilled"


def newest_checkpoint(stack: Stack, job_id: str) -> Path:
    """Return the newest complete checkpoint of a job from the storage, without Flink, as the page describes."""
    folder = Path(urlparse(stack.settings().checkpoint_dir).path) / job_id
    dated = sorted((status.st_mtime, path) for path, status in statuses(paths_in(folder, "chk-*/_metadata")))
    assert dated, f"no complete checkpoint in {folder}"
    return dated[-1][1].parent


def kill_flink(stack: Stack) -> None:
    """Kill JobManager and TaskManagers at once."""
    record = stack.record
    victims = [item for name, item in record.processes.items() if name == flink.JOB_MANAGER or "taskmanager" in name]
    assert len(victims) == 3
    for victim in victims:
        process.send(victim, signal.SIGKILL)
    wait_for(lambda: not any(map(process.is_alive, victims)), limit_s=240, what="Flink to be gone")


def test_a_new_cluster_restores_from_the_newest_checkpoint(stack: Stack, model_dir: Path) -> None:
    prefix = jobs.own_topics(stack, PREFIX)
    environment = {
        "STREAMFLOW_TOPIC_PREFIX": prefix,
        "STREAMFLOW_MODEL_DIR": str(model_dir),
        "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "1000",
    }
    events = jobs.card_events("drill", 1_000)
    job_id = jobs.start_job(stack, "detect", environment)
    first = jobs.send(stack, events[:500], prefix=prefix)
    assert jobs.account(stack, first, prefix).is_as_expected
    late = jobs.send(stack, events[500:700], prefix=prefix)  # some are scored when the cluster is lost

    kill_flink(stack)
    checkpoint = newest_checkpoint(stack, job_id)
    after = jobs.send(stack, events[700:], prefix=prefix)  # no job runs when these arrive
    stack.up(["flink"])
    restored = jobs.start_job(stack, "detect", environment, savepoint=checkpoint.as_uri())
    try:
        for sent in (late, after):
            assert jobs.account(stack, sent, prefix).is_as_expected
        assert jobs.account(stack, first, prefix).is_as_expected
        decided = jobs.committed(stack, "decisions", prefix)
        assert len({item["transaction_id"] for item in decided}) == len(events)
        # Under exactly_once nothing is committed twice and no history is lost: only a first transaction has no history.
        assert len(decided) == len(events)
        blind = [item["customer_id"] for item in decided if "category_surprise" in item["absent"]]
        assert sorted(blind) == sorted({item["customer_id"] for item in decided})
    finally:
        with suppress(UserError):
            stack.rest().cancel(restored)
