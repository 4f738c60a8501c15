"""Submit a job to any Flink cluster with Flink's own command-line client, ``flink run``."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flink_jobs.errors import UserError
from flink_jobs.flink.answers import TERMINAL, root_cause
from flink_jobs.flink.rest import FlinkRest, FlinkRestError

_JOB_ID = re.compile(r"JobID ([0-9a-f]{32})")
_CLIENT_LIMIT_S = 300
_MAX_FAILURES = 2  # a job that fails twice while starting will not start
# After this line the client repeats many times that the Python process ended.
_JAVA_TAIL = "org.apache.flink.client.program.ProgramAbortException"


@dataclass(frozen=True)
class FlinkClient:
    """Flink's command-line client as installed on this machine, and how to run it.

    Attributes:
        program: the distribution's ``bin/flink``.
        environment: all variables of the client's process, among them ``JAVA_HOME`` and ``FLINK_CONF_DIR``.
        folder: the client's working folder.
        logs: the folder where ``submit`` writes the client's output, as ``submit-<script>.out``.
    """

    program: Path
    environment: Mapping[str, str]
    folder: Path
    logs: Path


@dataclass(frozen=True)
class Submission:
    """One job to start.

    Attributes:
        script: the Python file with the job's main.
        arguments: the script's command-line arguments.
        parallelism: task slots of the job; ``None`` for the cluster's default.
        from_savepoint: path of the savepoint that the job restores.
        options: Flink settings for this run (``-D``).
        environment: variables that are added to the client's environment.
        leaves_state: leave behind the state of operators that the job does not have; otherwise Flink refuses the start.
    """

    script: Path
    arguments: Sequence[str] = ()
    parallelism: int | None = None
    from_savepoint: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    leaves_state: bool = False


def argv(program: Path, submission: Submission, rest_url: str) -> list[str]:
    """Return the command line of ``flink run`` for the cluster at ``rest_url``."""
    address = rest_url.partition("://")[2]
    line = [str(program), "run", "--detached", "--jobmanager", address]
    if submission.parallelism is not None:
        line += ["--parallelism", str(submission.parallelism)]
    if submission.from_savepoint is not None:
        line += ["--fromSavepoint", submission.from_savepoint]
    if submission.leaves_state:
        line += ["--allowNonRestoredState"]
    line += [f"-D{name}={value}" for name, value in submission.options.items()]
    return [*line, "-py", str(submission.script), *submission.arguments]


def client_error(text: str) -> str:
    """Return the line of the client's output that names the error: the Java root cause, else the Python error."""
    head = text.partition(_JAVA_TAIL)[0].strip() or text
    if "Caused by: " in head:
        return root_cause(head)
    # Python prints its error last and not indented; Java's stack frames are indented.
    lines = [line for line in head.splitlines() if line.strip() and not line[0].isspace()]
    return lines[-1] if lines else "no output"


def submit(client: FlinkClient, rest: FlinkRest, submission: Submission, *, limit_s: float = 300.0) -> str:
    """Start a job, wait up to ``limit_s`` seconds until all its tasks run, and return its id.

    A job that does not start in time is cancelled; otherwise Flink would restart it again and again.

    Raises:
        UserError: the script is missing, the client failed, or the job failed; the message holds the root cause.
    """
    if not submission.script.exists():
        raise UserError(f"no job script {submission.script}", "check the checkout: it should be there")
    rest.overview()
    text = _run_client(client, rest, submission)
    match = _JOB_ID.search(text)
    if not match:
        raise UserError(
            f"{submission.script.name} ended without submitting a job", "call `execute` in the script's main"
        )
    job_id = match[1]
    try:
        rest.wait_state(job_id, "RUNNING", limit_s=limit_s, max_failures=_MAX_FAILURES)
    except UserError:
        _cancel_quietly(rest, job_id)
        raise
    return job_id


def _run_client(client: FlinkClient, rest: FlinkRest, submission: Submission) -> str:
    """Run the client, write its output to a file, and return the output."""
    try:
        result = subprocess.run(
            argv(client.program, submission, rest.url),
            env={**client.environment, **submission.environment},
            cwd=client.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=_CLIENT_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"`flink run` of {submission.script.name} took more than {_CLIENT_LIMIT_S} s",
            f"see the client's log in {client.logs}",
        ) from None
    text = result.stdout + result.stderr
    log = client.logs / f"submit-{submission.script.stem}.out"
    log.write_text(text)
    if result.returncode:
        raise UserError(
            f"`flink run` of {submission.script.name} failed: {client_error(text)}", f"the whole output is in {log}"
        )
    return text


def _cancel_quietly(rest: FlinkRest, job_id: str) -> None:
    try:
        if rest.state(job_id) not in TERMINAL:
            rest.cancel(job_id, limit_s=20)
    except (UserError, FlinkRestError, TimeoutError):
        return
