"""Submit a job with the distribution's own `flink run`."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flink_jobs.errors import UserError
from flink_jobs.flink.answers import TERMINAL, root_cause
from flink_jobs.flink.rest import FlinkRest, FlinkRestError
from flink_jobs.local import flink, paths, toolchain
from flink_jobs.local.paths import Home

_JOB_ID = re.compile(r"JobID ([0-9a-f]{32})")
_CLIENT_LIMIT_S = 300
_MAX_FAILURES = 2  # a job that fails twice while starting will not start
_JAVA_TAIL = (
    "org.apache.flink.client.program.ProgramAbortException"  # from here on: "the Python process ended", many times
)


@dataclass(frozen=True)
class Submission:
    """One job to start.

    ``script`` is the Python file with the job's main; ``arguments`` go to it. ``options`` are Flink settings of this
    run (``-D``), ``environment`` is added to the client's.
    """

    script: Path
    arguments: Sequence[str] = ()
    parallelism: int | None = None
    from_savepoint: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def argv(submission: Submission, rest_url: str) -> list[str]:
    """Return the command line of `flink run`."""
    address = rest_url.partition("://")[2]
    line = [str(paths.FLINK_HOME / "bin" / "flink"), "run", "--detached", "--jobmanager", address]
    if submission.parallelism is not None:
        line += ["--parallelism", str(submission.parallelism)]
    if submission.from_savepoint is not None:
        line += ["--fromSavepoint", submission.from_savepoint]
    line += [f"-D{name}={value}" for name, value in submission.options.items()]
    return [*line, "-py", str(submission.script), *submission.arguments]


def client_error(text: str) -> str:
    """Return the line of the client's output that says what went wrong: a Java root cause, else Python's own error."""
    head = text.partition(_JAVA_TAIL)[0].strip() or text
    if "Caused by: " in head:
        return root_cause(head)
    # Python prints its error last and not indented; Java's stack frames are indented.
    lines = [line for line in head.splitlines() if line.strip() and not line[0].isspace()]
    return lines[-1] if lines else "no output"


def submit(home: Home, rest: FlinkRest, submission: Submission, *, limit_s: float = 300.0) -> str:
    """Start a job, wait until all its tasks run, and return its id.

    A job that does not come up is cancelled, so that it does not go on restarting unseen.

    Raises:
        UserError: the script is missing, the client failed, or the job failed; with the root cause.
    """
    if not submission.script.exists():
        raise UserError(f"no job script {submission.script}", "check the checkout: it should be there")
    if not (home.flink / "conf" / "config.yaml").exists():
        raise UserError(f"the stack in {home.root} has no Flink", "run `streamflow up`")
    rest.overview()
    text = _run_client(home, rest, submission)
    match = _JOB_ID.search(text)
    if not match:
        raise UserError(f"{submission.script.name} ended without submitting a job", "its main must execute one")
    job_id = match[1]
    try:
        rest.wait_state(job_id, "RUNNING", limit_s=limit_s, max_failures=_MAX_FAILURES)
    except UserError:
        _cancel_quietly(rest, job_id)
        raise
    return job_id


def _run_client(home: Home, rest: FlinkRest, submission: Submission) -> str:
    env = {**flink.environment(home, toolchain.find_java(), "client"), **submission.environment}
    try:
        result = subprocess.run(
            argv(submission, rest.url),
            env=env,
            cwd=home.flink,
            capture_output=True,
            text=True,
            check=False,
            timeout=_CLIENT_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"`flink run` of {submission.script.name} took more than {_CLIENT_LIMIT_S} s",
            f"see the client's log in {home.logs}",
        ) from None
    text = result.stdout + result.stderr
    log = home.logs / f"submit-{submission.script.stem}.out"
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
