"""The benchmark's own local stack, a trained model, and the shipped detector job on them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.errors import UserError
from flink_jobs.flink.answers import TERMINAL
from flink_jobs.flink.submit import Submission, submit
from flink_jobs.kafka.lag import consumer_lag
from flink_jobs.local.flink import task_manager
from flink_jobs.local.stack import Stack
from flink_jobs.settings import ENV_PREFIX, REPO_ROOT
from flink_jobs.waiting import WaitTimeoutError, wait_for
from tests.lab.benchmarks import workload
from tests.lab.benchmarks.meter import ProcessMeter
from tests.stack_folder import stack_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from flink_jobs.flink.rest import FlinkRest
    from flink_jobs.local.launch import Say

CARD_FILE = REPO_ROOT / "tests/data/card_transactions.csv.gz"
DETECT = REPO_ROOT / "flink_jobs/job/detect.py"
CHECKPOINT_INTERVAL_MS = 5_000
SLOWEST_EVENTS_PER_S = 250
_BUSY = ("busyTimeMsPerSecond", "backPressuredTimeMsPerSecond", "idleTimeMsPerSecond")


@dataclass(frozen=True)
class JobPlan:
    """Settings with which a benchmark runs the detector."""

    guarantee: str = "exactly_once"
    checkpoint_interval_ms: int = CHECKPOINT_INTERVAL_MS
    parallelism: int = 1
    settings: Mapping[str, str] = field(default_factory=dict, hash=False)
    """More settings of the job, by environment variable."""
    options: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Options of Flink for this run."""


@dataclass
class BusyTimes:
    """Shares of time that each vertex of a job was busy, back-pressured and idle, from several samples."""

    samples: defaultdict[str, list[tuple[float, float, float]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, rest: FlinkRest, job_id: str) -> None:
        """Take a sample from Flink; vertices without metrics are left out."""
        for vertex in rest.details(job_id)["vertices"]:
            name = vertex["name"]
            found = rest.vertex_metrics(job_id, lambda other, name=name: other == name, list(_BUSY))  # type: ignore[misc]
            if len(found) == len(_BUSY):
                busy, pressed, idle = (found[metric] / 1000 / vertex["parallelism"] for metric in _BUSY)
                self.samples[name].append((busy, pressed, idle))

    def averages(self) -> dict[str, tuple[float, float, float]]:
        """Return the average busy, back-pressured and idle shares by vertex name."""
        return {
            name: (fmean(s[0] for s in some), fmean(s[1] for s in some), fmean(s[2] for s in some))
            for name, some in self.samples.items()
        }


class Rig:
    """The running stack, with the operations that all parts of the benchmark share."""

    def __init__(self, stack: Stack, model_dir: Path, scratch: Path) -> None:
        """Use a stack that is running."""
        self.stack = stack
        self.model_dir = model_dir
        self.scratch = scratch
        self.broker = stack.settings().broker()
        self.rest = stack.rest()
        self._runs = 0
        self.warm_taskmanagers = 0
        """Number of TaskManagers whose JVM has compiled the job; only warm JVMs are measured."""

    def new_prefix(self, name: str) -> str:
        """Create a set of empty topics for one run and return their prefix."""
        self._runs += 1
        prefix = f"bench{self._runs}-{name}"
        workload.create_topics(self.broker, prefix)
        return prefix

    @contextmanager
    def filled_topics(self, name: str, messages: Iterable[workload.InputMessage]) -> Iterator[str]:
        """Yield the prefix of new topics whose transactions topic holds the workload; delete the topics afterwards."""
        prefix = self.new_prefix(name)
        workload.publish(self.broker, prefix, messages)
        try:
            yield prefix
        finally:
            workload.drop_topics(self.broker, prefix)

    def taskmanager_pids(self) -> list[int]:
        """Return the pids of the TaskManagers' JVMs."""
        record = self.stack.record
        return [
            record.processes[name].pid
            for name in (task_manager(index) for index in range(1, record.taskmanagers + 1))
            if record.alive(name)
        ]

    def meter(self) -> ProcessMeter:
        """Return a meter of all TaskManagers."""
        return ProcessMeter(self.taskmanager_pids())

    @contextmanager
    def detector(self, prefix: str, plan: JobPlan) -> Iterator[str]:
        """Run the shipped detector job over the topics of a prefix during a ``with`` block; yield the job id."""
        environment = {
            "STREAMFLOW_TOPIC_PREFIX": prefix,
            "STREAMFLOW_MODEL_DIR": str(self.model_dir),
            "STREAMFLOW_START_FROM": "earliest",
            "STREAMFLOW_SINK_GUARANTEE": plan.guarantee,
            "STREAMFLOW_CHECKPOINT_INTERVAL_MS": str(plan.checkpoint_interval_ms),
            **plan.settings,
        }
        submission = Submission(
            DETECT, parallelism=plan.parallelism, environment=environment, options=dict(plan.options)
        )
        job_id = submit(self.stack.flink_client(), self.rest, submission)
        try:
            yield job_id
        finally:
            if self.rest.state(job_id) not in TERMINAL:
                self.rest.cancel(job_id)
            # Flink frees the slots shortly after the job has ended.
            wait_for(lambda: not self.rest.active_jobs(), limit_s=240, what="the job to leave the cluster")

    def await_consumed(self, prefix: str, job_id: str, events: int) -> BusyTimes:
        """Wait until a completed checkpoint covers all published events; return the time shares of the vertices.

        Raises:
            UserError: the job failed or was too slow.
        """
        group, topic = f"{prefix}-detect", topic_name(prefix, "transactions")
        busy = BusyTimes()

        def consumed() -> bool:
            failures = self.rest.failures(job_id)
            if failures:
                raise UserError(f"the job failed: {failures[0].root_cause}", f"see {self.stack.home.logs}")
            busy.add(self.rest, job_id)
            positions = [lag for lag in consumer_lag(self.broker) if lag.group == group and lag.topic == topic]
            return bool(positions) and positions[0].position >= events

        limit_s = 120 + events / SLOWEST_EVENTS_PER_S
        try:
            wait_for(consumed, limit_s=limit_s, what=f"{events} events", interval_s=1.0)
        except WaitTimeoutError:
            raise UserError(
                f"the job did not consume {events} events in {limit_s:.0f} s", f"see {self.stack.home.logs}"
            ) from None
        return busy


def train_model(folder: Path) -> Path:
    """Train the same model as the demo; return the folder of its versions."""
    command = [sys.executable, "-m", "flink_jobs.cli", "train", "--data", str(CARD_FILE), "--out", str(folder)]
    result = subprocess.run(command, cwd=REPO_ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise UserError(f"training failed: {result.stderr.strip()}", "run `streamflow train` for details")
    return folder


@contextmanager
def trained_model(say: Say) -> Iterator[Path]:
    """Train the model and yield the folder of its versions, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="streamflow-bench-") as folder:
        say("training the model")
        yield train_model(Path(folder) / "models")


@contextmanager
def open_rig(model_dir: Path, say: Say) -> Iterator[Rig]:
    """Start a stack and yield the rig; stop the stack and delete its files afterwards."""
    # Settings of the caller's shell must not redirect the benchmark to another stack.
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX) and name != "STREAMFLOW_TOOLS_DIR"]:
        del os.environ[name]
    with stack_folder("bench") as root:
        stack = Stack(root / "home", say=say)
        try:
            stack.up(("kafka", "flink"), taskmanagers=1)
            yield Rig(stack, model_dir, root)
        finally:
            stack.down(wipe=True)
