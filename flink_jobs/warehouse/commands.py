"""Commands of the streaming environment, called from Airflow's, whose packages cannot be beside theirs."""

from __future__ import annotations

import json
import logging
import subprocess
import tempfile
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT

STREAMFLOW: Final = REPO_ROOT / ".venv" / "bin" / "streamflow"
_FIX: Final = ". What to do: "
log = logging.getLogger(__name__)


class Answer(NamedTuple):
    """What a command said."""

    code: int
    document: dict[str, Any]


def run_streamflow(*arguments: str, answers: Collection[int] = (0,)) -> Answer:
    """Run a ``streamflow`` command that can answer in JSON; what it reports meanwhile goes to the log.

    Args:
        arguments: the command without ``--output``.
        answers: exit codes that are an answer and no failure.

    Raises:
        UserError: the command is not there or failed; in its own words.
    """
    if not STREAMFLOW.exists():
        raise UserError(f"there is no {STREAMFLOW}", "run `make setup`")
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
            what, _, fix = last.removeprefix("streamflow: ").partition(_FIX)
            raise UserError(
                f"`streamflow {' '.join(arguments[:2])}` ended with {process.returncode}: {what or 'it said nothing'}",
                fix or "run it by hand",
            )
        document.seek(0)
        return Answer(process.returncode, json.load(document))
