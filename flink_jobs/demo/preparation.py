"""Start the stack, the model and the jobs for the demo, and stop them at the end."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from api.console.accounts import add_account, create_token
from api.console.roles import Role
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.manifest import CURRENT_FILE, MANIFEST_FILE
from flink_jobs.core.models.model import ModelError, load_model
from flink_jobs.demo.plan import CHECKPOINT_INTERVAL_MS
from flink_jobs.errors import UserError
from flink_jobs.flink.admission import require_slots, running
from flink_jobs.flink.jobs import JOBS
from flink_jobs.flink.rest import FlinkRest, FlinkRestError
from flink_jobs.flink.resume import choose_start, refuse_lost_histories
from flink_jobs.flink.stopping import stop_jobs
from flink_jobs.flink.submit import Submission, submit
from flink_jobs.job.start_point import place_of
from flink_jobs.local import api_server, process
from flink_jobs.local.launch import COMPONENTS
from flink_jobs.local.ports import HOST
from flink_jobs.settings import REPO_ROOT, Settings
from ml.parameters import TrainingParameters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from flink_jobs.local.launch import Say
    from flink_jobs.local.stack import Stack

STOP_LIMIT_S = 20.0
DETECTOR = "detect"
DEMO_ACCOUNT = "demo"
"""The account of the console that the demo makes; it has no password, only one-time logins."""
TASKMANAGERS = 2
"""One task slot for the detector and one for the archive job."""


@dataclass(slots=True)
class Timings:
    """The duration of each part of the demo, in seconds."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Measure the duration of a block, even if it fails."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - start, 2)


# ---- the model


def trained_version(model_dir: Path, data: Path, parameters: TrainingParameters) -> str | None:
    """Return the newest valid version in ``model_dir`` trained with these data and parameters, else ``None``."""
    digest = sha256(data)
    found = []
    for path in model_dir.glob(f"*/{MANIFEST_FILE}"):
        try:
            manifest = load_model(path.parent, FEATURE_NAMES).manifest
        except ModelError:
            continue
        if manifest.training_data.source_sha256 == digest and manifest.parameters == parameters.relevant():
            found.append((manifest.created_at, manifest.version))
    return max(found)[1] if found else None


def sha256(path: Path) -> str:
    """Return the digest of a file.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise UserError(f"{path} cannot be read ({cause.strerror})", "check the checkout: it should be there") from None


def start_training(model_dir: Path, data: Path) -> subprocess.Popen[str]:
    """Start the training in a separate process, in parallel with the start of the servers."""
    # A current version that the user chose stays; in a fresh checkout `streamflow submit` needs a current model.
    current = "--no-current" if (model_dir / CURRENT_FILE).exists() else "--current"
    command = [sys.executable, "-P", "-m", "flink_jobs.cli", "train", "--data", str(data), "--out", str(model_dir)]
    return subprocess.Popen(
        [*command, current, "--output", "json"],
        cwd=REPO_ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # this process passes Ctrl-C on
    )


def finish_training(training: subprocess.Popen[str]) -> str:
    """Wait for the training and return the model version.

    Raises:
        UserError: the training failed; the message holds its last line.
    """
    answer, errors = training.communicate()
    if training.returncode:
        last = (errors.strip().splitlines() or ["no output"])[-1]
        raise UserError(f"training the model failed: {last}", "run `streamflow train` to see its whole output")
    return str(orjson.loads(answer)["version"])


# ---- stack and jobs


class Session:
    """The processes and jobs that the demo starts; it stops only these."""

    def __init__(
        self, stack: Stack, *, keep: bool, say: Say, secure: bool | None = None, console: bool = False
    ) -> None:
        """Check whether the stack already runs; nothing starts yet.

        Args:
            stack: the local stack.
            keep: leave everything running at the end.
            say: prints a progress line.
            secure: as for ``Stack.up``.
            console: start the API with the console, too.
        """
        self.stack = stack
        self.timings = Timings()
        self.had_stack = stack.is_up()
        self.jobs: dict[str, str] = {}
        self._keep = keep
        self._secure = secure
        self._components = (*COMPONENTS, "api") if console else COMPONENTS
        self._had_api = stack.record.alive(api_server.NAME)
        self._say = say
        self._training: subprocess.Popen[str] | None = None
        self._settings: Settings | None = None
        self._others: set[str] = set()  # jobs that ran before the demo; the demo does not stop them
        self._submitted: dict[str, Future[str]] = {}
        self._submitting = ExitStack()

    @property
    def leaves_stack(self) -> bool:
        """Whether the stack keeps running after the demo."""
        return self._keep or self.had_stack

    def console_login(self) -> str | None:
        """Return an address that logs into the console once; ``None`` if the API does not run.

        Raises:
            psycopg.Error: the database does not answer.
        """
        record = self.stack.record
        if self._settings is None or not record.alive(api_server.NAME):
            return None
        add_account(self._settings.postgres_dsn, DEMO_ACCOUNT, [Role.SENIOR, Role.AUDITOR], by="demo")
        token = create_token(self._settings.postgres_dsn, DEMO_ACCOUNT, by="demo")
        return f"http://{HOST}:{record.ports[api_server.NAME]}/console/login?token={token}"

    def prepare(self, model_dir: Path, data: Path) -> Settings:
        """Start all missing parts, and return the settings of the stack as soon as the detector runs.

        The archive may still start: ``await_jobs`` waits for it. It reads what Kafka has kept until then.

        Raises:
            UserError: a part cannot start.
        """
        version = os.environ.get("STREAMFLOW_MODEL_VERSION") or trained_version(model_dir, data, TrainingParameters())
        if version is None:
            self._say("Training the model in parallel ...")
            self._training = start_training(model_dir, data)
        with self.timings.measure("stack"):
            wanted = max(TASKMANAGERS, self.stack.record.taskmanagers)
            settings = self._settings = self.stack.up(self._components, taskmanagers=wanted, secure=self._secure)
        with self.timings.measure("model"):
            if version is None and self._training is not None:
                version = finish_training(self._training)
        self._say(f"Model {version} is ready")
        with self.timings.measure("jobs"):
            self._submitting.enter_context(self.stack.submitting())
            self._submit(settings, str(version), model_dir)
            if DETECTOR in self._submitted:
                self.jobs[DETECTOR] = self._submitted[DETECTOR].result()
        return settings

    def await_jobs(self) -> None:
        """Wait until all jobs run.

        Raises:
            UserError: a job did not start.
        """
        for name, future in self._submitted.items():
            self.jobs[name] = future.result()
        self._submitting.close()

    def _submit(self, settings: Settings, version: str, model_dir: Path) -> None:
        rest = FlinkRest(settings.flink_rest_url)
        for job in rest.active_jobs():
            self._others.add(job.job_id)
        found = {name: running(rest, name, settings.topic_prefix) for name in JOBS}
        self.jobs.update({name: job.job_id for name, job in found.items() if job is not None})
        for name in self.jobs:
            self._say(f"The {name} job already runs and keeps its settings")
        environment = {
            "STREAMFLOW_CHECKPOINT_INTERVAL_MS": str(CHECKPOINT_INTERVAL_MS),
            **{name: value for name, value in os.environ.items() if name.startswith("STREAMFLOW_")},
            "STREAMFLOW_MODEL_VERSION": version,
            "STREAMFLOW_MODEL_DIR": str(model_dir),
            process.MARKER: self.stack.record.stack_id,  # so that `down` ends a client that still runs
        }
        missing = [name for name in JOBS if name not in self.jobs]
        require_slots(rest, dict.fromkeys(missing))
        starts = {name: choose_start(name, place_of(settings)) for name in missing}
        for start in starts.values():
            refuse_lost_histories(start, place_of(settings), settings.broker())
        for line in (line for start in starts.values() for line in start.lines):
            self._say(line)
        if missing:
            self._say(f"Submitting {' and '.join(missing)} with `flink run` ...")
        pool = ThreadPoolExecutor(len(JOBS))
        self._submitting.callback(pool.shutdown, wait=False, cancel_futures=True)
        self._submitted = {
            name: pool.submit(
                submit,
                self.stack.flink_client(),
                rest,
                Submission(REPO_ROOT / JOBS[name], from_savepoint=starts[name].savepoint, environment=environment),
            )
            for name in missing
        }

    def close(self) -> None:
        """Stop everything that this session started; with ``keep`` only an unfinished training."""
        with self.timings.measure("stopping"):
            if self._training is not None and self._training.poll() is None:
                self._training.terminate()
                self._training.wait(STOP_LIMIT_S)
            if self._keep:
                self._submitting.close()
                return
            # A job that starts while the demo ends would be left running on a stack that was there before.
            wait(self._submitted.values(), timeout=STOP_LIMIT_S if self.had_stack else 0)
            self._submitting.close()
            if self._settings is not None:
                self._stop_jobs(self._settings)
            if not self.had_stack:
                self.stack.down()
            elif "api" in self._components and not self._had_api:
                self.stack.stop(api_server.NAME)

    def _stop_jobs(self, settings: Settings) -> None:
        """Stop the demo's jobs with a savepoint, from which the next demo or `submit` resumes."""
        rest = FlinkRest(settings.flink_rest_url, timeout_s=5)
        names = {f"streamflow-{name}" for name in JOBS}
        try:
            ours = [job for job in rest.active_jobs() if job.name in names and job.job_id not in self._others]
        except (UserError, FlinkRestError):
            self._say("The JobManager does not answer: the jobs keep their last checkpoints")
            return
        for stopped in stop_jobs(rest, ours, settings.savepoint_dir, limit_s=STOP_LIMIT_S):
            self._say(stopped.line())
