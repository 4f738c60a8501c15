"""The process of one job: reads it from standard input, and prints progress and result as lines of JSON."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from typing import Any, Final

import orjson

from api.jobs.redrive import carry_out, dry_run
from api.jobs.store import Kind
from api.jobs.what_if import backtest
from flink_jobs.errors import UserError
from flink_jobs.settings import load_settings

CPU_S: Final = 900
MEMORY_BYTES: Final = 4 * 2**30
_END_WITH_PARENT: Final = 1
"""``PR_SET_PDEATHSIG`` of Linux: the kernel ends this process when the API ends, even by SIGKILL."""
EVERY_S: Final = 0.3


class Progress:
    """Prints progress, at most every 0.3 s."""

    def __init__(self) -> None:
        """Start without a line."""
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Print how much of a job is done."""
        now = time.monotonic()
        if now - self._last >= EVERY_S or done == total:
            self._last = now
            write({"done": done, "total": total})


def write(line: dict[str, Any]) -> None:
    """Print one line."""
    sys.stdout.buffer.write(orjson.dumps(line) + b"\n")
    sys.stdout.buffer.flush()


def limit() -> None:
    """Give this process limits of its own, and low priority."""
    ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.nice(10)


def main() -> None:
    """Run the job."""
    limit()
    job: dict[str, Any] = orjson.loads(sys.stdin.buffer.read())
    work = {Kind.WHAT_IF: backtest, Kind.REDRIVE_PLAN: dry_run, Kind.REDRIVE: carry_out}[Kind(job["kind"])]
    try:
        write({"result": work(load_settings(), job["request"], job["asked_by"], Progress())})
    except UserError as error:
        write({"error": f"{error.what}: {error.fix}"})
    except Exception as error:  # noqa: BLE001 - the page shows it
        write({"error": f"a defect of StreamFlow ({type(error).__name__})"})


if __name__ == "__main__":
    main()
