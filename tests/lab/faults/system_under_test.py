"""The stack under test, and the pair of jobs that most cases share."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flink_jobs.errors import UserError
from flink_jobs.flink.answers import TERMINAL
from flink_jobs.flink.jobs import JOBS
from flink_jobs.flink.rest import FlinkRestError
from flink_jobs.flink.submit import Submission, submit
from flink_jobs.kafka.topics import create_topics
from flink_jobs.local.flink import task_manager
from flink_jobs.local.launch import COMPONENTS
from flink_jobs.local.stack import Stack
from flink_jobs.settings import ENV_PREFIX, REPO_ROOT
from flink_jobs.waiting import wait_for
from tests.lab.benchmarks.rig import train_model
from tests.stack_control import kill_taskmanager
from tests.stack_folder import stack_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flink_jobs.local.launch import Say

TASKMANAGERS = 3
"""One for each job of a pair, and a spare one."""
RECOVERY_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Pair:
    """A running detector and archive job with their own topics."""

    prefix: str
    detect: str
    archive: str

    @property
    def transactions(self) -> str:
        """Name of the input topic."""
        return f"{self.prefix}.transactions"


@dataclass
class PairPlan:
    """Differences of a pair from the default: settings by environment variable, and the detector's script."""

    detect: Mapping[str, str] = field(default_factory=dict)
    archive: Mapping[str, str] = field(default_factory=dict)
    script: Path | None = None


class SystemUnderTest:
    """A running stack: starts jobs, observes them, and gives cases access to the processes that they break."""

    def __init__(self, stack: Stack, model_dir: Path, scratch: Path, taskmanagers: int = TASKMANAGERS) -> None:
        """Use a running stack with this number of TaskManagers."""
        self.stack = stack
        self.model_dir = model_dir
        self.scratch = scratch
        self._taskmanagers = taskmanagers
        self.broker = stack.settings().broker()
        self.rest = stack.rest()
        self._numbers = itertools.count(1)
        self._shared: Pair | None = None

    @contextmanager
    def pair(self, plan: PairPlan | None = None) -> Iterator[Pair]:
        """Yield the shared pair of jobs, or with a plan a separate pair, which ends with the block.

        The shared pair keeps running from case to case, so a case also runs on the effects of earlier faults.
        """
        if plan is None:
            yield self._shared_pair()
            return
        self.end_shared()
        pair = self._start(plan)
        try:
            yield pair
        finally:
            self._end(pair)

    def reset(self) -> None:
        """Replace all TaskManagers and end the shared jobs; called after a case that failed.

        A stuck task cannot be cancelled and keeps its slot until its TaskManager ends.
        """
        for index in range(1, self._taskmanagers + 1):
            with suppress(UserError):  # the process has already ended
                kill_taskmanager(self.stack, index)
        self.restart(*COMPONENTS)
        self.end_shared()

    def end_shared(self) -> None:
        """End the shared pair, if there is one."""
        if self._shared is not None:
            self._end(self._shared)
            self._shared = None

    def _shared_pair(self) -> Pair:
        if self._shared is not None and not self._is_well(self._shared):
            self.end_shared()
        if self._shared is None:
            self._shared = self._start(PairPlan())
        return self._shared

    def _is_well(self, pair: Pair) -> bool:
        try:
            return all(self.rest.all_tasks_running(job) for job in (pair.detect, pair.archive))
        except (UserError, FlinkRestError):
            return False

    def _start(self, plan: PairPlan) -> Pair:
        prefix = f"faults{next(self._numbers)}"
        create_topics(self.broker, prefix)
        common = {
            "STREAMFLOW_TOPIC_PREFIX": prefix,
            "STREAMFLOW_MODEL_DIR": str(self.model_dir),
            "STREAMFLOW_CHECKPOINT_INTERVAL_MS": "1000",
            "STREAMFLOW_IDLE_TIMEOUT_MS": "1000",
        }

        def start(name: str) -> str:
            special = plan.detect if name == "detect" else plan.archive
            script = plan.script if name == "detect" and plan.script else REPO_ROOT / JOBS[name]
            job = Submission(script, environment={**os.environ, **common, **special})
            return submit(self.stack.flink_client(), self.rest, job)

        with ThreadPoolExecutor(len(JOBS)) as pool:
            detect, archive = pool.map(start, ("detect", "archive"))
        return Pair(prefix, detect, archive)

    def _end(self, pair: Pair) -> None:
        for job in (pair.detect, pair.archive):
            with suppress(FlinkRestError):  # a new JobManager may not know the job
                if self.rest.state(job) not in TERMINAL:
                    self.rest.cancel(job)
        wait_for(lambda: not self.rest.active_jobs(), limit_s=240, what="the jobs to leave the cluster")

    def checkpoint_after(self, job: str, since_ms: float) -> float:
        """Wait for a checkpoint of a job that began after ``since_ms``; return its end in ms since the epoch."""

        def found() -> float | None:
            with suppress(UserError, FlinkRestError):  # no JobManager answers, or it does not have the job yet
                done = self.rest.get(f"/jobs/{job}/checkpoints")["latest"]["completed"]
                if done and done["trigger_timestamp"] > since_ms:
                    return float(done["latest_ack_timestamp"])
            return None

        return wait_for(found, limit_s=RECOVERY_LIMIT_S, what=f"a checkpoint of job {job} after the fault")

    def restarts(self, pair: Pair, since_ms: float) -> int:
        """Return the number of failures of both jobs since ``since_ms``, from Flink's exception history."""
        count = 0
        for job in (pair.detect, pair.archive):
            count += sum(failure.at_ms >= since_ms for failure in self.rest.failures(job))
        return count

    def taskmanager_of(self, job: str, vertex_name: str) -> str:
        """Return the process name of the TaskManager that runs the first subtask of an operator."""
        vertex = next(item for item in self.rest.details(job)["vertices"] if vertex_name in item["name"])
        resource_id = self.rest.get(f"/jobs/{job}/vertices/{vertex['id']}")["subtasks"][0]["taskmanager-id"]
        return "-".join(str(resource_id).split("-")[:2])

    def dead_taskmanagers(self) -> list[str]:
        """Return the process names of the TaskManagers that have ended."""
        names = [task_manager(index) for index in range(1, self._taskmanagers + 1)]
        return [name for name in names if not self.stack.record.alive(name)]

    def restart(self, *components: str) -> None:
        """Restart the processes of these components that have ended, as a supervisor would."""
        chosen = [name for name in COMPONENTS if name in components]
        self.stack.up(chosen, taskmanagers=self._taskmanagers)


@contextmanager
def open_system(say: Say) -> Iterator[SystemUnderTest]:
    """Train a model, start a stack with a highly available JobManager and yield it; remove everything afterwards."""
    # Settings of the caller's shell must not redirect the matrix to another stack.
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX) and name != "STREAMFLOW_TOOLS_DIR"]:
        del os.environ[name]
    with stack_folder("faults") as root:
        say("training the model")
        model_dir = train_model(root / "models")
        stack = Stack(root / "home", say=say)
        try:
            stack.up((*COMPONENTS, "zookeeper"), taskmanagers=TASKMANAGERS)
            yield SystemUnderTest(stack, model_dir, root)
        finally:
            stack.down(wipe=True)
