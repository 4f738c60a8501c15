"""k8s/deploy.sh on a running job: an upgrade that succeeds, and upgrades that are rolled back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from flink_jobs.local.checkout import PYTHON
from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT
from tests.integration import jobs

pytestmark = [pytest.mark.stack, pytest.mark.slow]

DEPLOY = REPO_ROOT / "k8s/deploy.sh"
SUBMIT = f'{PYTHON} -P -m flink_jobs.cli submit detect --from-savepoint "$SAVEPOINT"'
PREFIX = "deployed"
UNCHANGED, ROLLED_BACK, WELL = 2, 1, 0


class Deployment:
    """A detector with its own topics, and the script that upgrades it."""

    def __init__(self, stack: Stack, model_dir: Path) -> None:
        self.stack = stack
        self.environment = {
            "STREAMFLOW_TOPIC_PREFIX": jobs.own_topics(stack, PREFIX),
            "STREAMFLOW_MODEL_DIR": str(model_dir),
            "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "1000",
        }

    def run(self, new: str, old: str = SUBMIT) -> subprocess.CompletedProcess[str]:
        settings = self.stack.settings()
        options = {"rest": settings.flink_rest_url, "job": "streamflow-detect", "savepoints": settings.savepoint_dir}
        options |= {"new": new, "old": old, "patience": "240", "watch": "4"}
        environment = {**os.environ, **self.environment, "STREAMFLOW_HOME": str(self.stack.home.root)}
        command = [str(DEPLOY), *(part for name, value in options.items() for part in (f"--{name}", value))]
        return subprocess.run(
            command, cwd=REPO_ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1_800
        )

    def job(self) -> str:
        (found,) = [job for job in self.stack.rest().active_jobs() if job.name == "streamflow-detect"]
        return found.job_id

    def decides(self, run: str, count: int = 200) -> None:
        ledger = jobs.send(self.stack, jobs.card_events(run, count), prefix=PREFIX)
        assert jobs.account(self.stack, ledger, PREFIX).is_as_expected


@pytest.fixture(scope="module")
def deployment(stack: Stack, model_dir: Path) -> Iterator[Deployment]:
    deployment = Deployment(stack, model_dir)
    jobs.start_job(stack, "detect", deployment.environment)
    try:
        yield deployment
    finally:
        for job in stack.rest().active_jobs():
            if job.name == "streamflow-detect":
                stack.rest().cancel(job.job_id)


def test_an_upgrade_resumes_where_the_old_release_stopped(deployment: Deployment) -> None:
    before = deployment.job()
    deployment.decides("before-upgrade")
    answer = deployment.run(SUBMIT)
    assert answer.returncode == WELL, answer.stderr
    assert "the new release runs well" in answer.stderr
    assert deployment.job() != before
    deployment.decides("after-upgrade")


def test_a_release_whose_model_cannot_be_loaded_is_rolled_back(deployment: Deployment) -> None:
    before = deployment.job()
    answer = deployment.run(f"STREAMFLOW_MODEL_VERSION=20990101-nowhere {SUBMIT}")
    assert answer.returncode == ROLLED_BACK, answer.stderr
    assert "its model failed" in answer.stderr
    assert "the old release runs well" in answer.stderr
    assert deployment.job() != before
    deployment.decides("after-rollback")


def test_a_release_that_cannot_be_submitted_is_rolled_back(deployment: Deployment) -> None:
    answer = deployment.run("false")
    assert answer.returncode == ROLLED_BACK, answer.stderr
    assert "the new release could not be submitted" in answer.stderr
    deployment.decides("after-another-rollback")


def test_no_job_is_stopped_if_the_named_job_does_not_run(deployment: Deployment) -> None:
    before = deployment.job()
    settings = deployment.stack.settings()
    options = ["--rest", settings.flink_rest_url, "--job", "somebody-elses", "--savepoints", settings.savepoint_dir]
    answer = subprocess.run(
        [str(DEPLOY), *options, "--new", "true", "--old", "true"], capture_output=True, text=True, check=False
    )
    assert answer.returncode == UNCHANGED
    assert "0 jobs named somebody-elses run" in answer.stderr
    assert deployment.job() == before
    assert subprocess.run([str(DEPLOY)], capture_output=True, check=False).returncode == UNCHANGED
