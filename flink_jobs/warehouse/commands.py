"""Runs commands of the streaming environment from Airflow's environment, whose packages conflict with theirs."""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.settings import REPO_ROOT

STREAMFLOW: Final = REPO_ROOT / ".venv" / "bin" / "streamflow"
INCOMPLETE: Final = 3
UNKNOWN: Final = 4
"""Exit codes of ``streamflow completeness``."""
log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """The exit code and the JSON document of a command."""

    code: int
    document: dict[str, Any]


def run_streamflow(*arguments: str, answers: Collection[int] = (0,)) -> Answer:
    """Run a ``streamflow`` command that can answer in JSON; its progress messages go to the log.

    Args:
        arguments: the command without ``--output``.
        answers: exit codes that are an answer and no failure.

    Raises:
        UserError: the command is not installed or failed; with the command's own message, hint and code.
    """
    if not STREAMFLOW.exists():
        raise UserError(f"there is no {STREAMFLOW}", "run `make setup`", ErrorCode.NOT_INSTALLED)
    command = [str(STREAMFLOW), *arguments, "--output", "json"]
    log.info("streamflow %s", " ".join(arguments))
    last = ""
    with tempfile.TemporaryFile() as document:
        with subprocess.Popen(command, stdout=document, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None  # noqa: S101 - asked for above
            for line in process.stderr:
                if last := line.strip() or last:
                    log.info(last)
        if process.returncode not in answers:
            raise failure(f"`streamflow {' '.join(arguments[:2])}` ended with {process.returncode}", last)
        document.seek(0)
        return Answer(process.returncode, json.load(document))


def compare_with_kafka() -> str:
    """Compare Kafka's offsets with the rows of the warehouse; return the verdict in words.

    Missing rows are no error here: the checks of ``sql/quality`` decide whether the days pass.

    Raises:
        UserError: Kafka does not answer or has none of the topics, so it is unknown whether rows are missing.
    """
    answer = run_streamflow("completeness", answers=(0, INCOMPLETE, UNKNOWN))
    verdict = str(answer.document["verdict"])
    if answer.code == UNKNOWN:
        raise UserError(f"it is unknown whether rows are missing: {verdict}", "start Kafka, then clear this task")
    return verdict


def failure(what: str, last_line: str) -> UserError:
    """Return the error of a failed command from the last line of its standard error.

    The line is the CLI's error object. A process that ended by a signal leaves any other text, or none.
    """
    try:
        error = json.loads(last_line)["error"]
        return UserError(f"{what}: {error['message']}", error["hint"], ErrorCode(error["code"]))
    except (ValueError, KeyError, TypeError):
        message = last_line or "it printed no error"
        return UserError(f"{what}: {message}", "run it in a terminal", ErrorCode.COMMAND_FAILED)
