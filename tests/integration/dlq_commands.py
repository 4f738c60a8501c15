"""Runs ``streamflow dlq`` as a user does, with JSON output, or kills it at a chosen point."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson

from flink_jobs.local.stack import Stack
from flink_jobs.settings import REPO_ROOT

LIMIT_S = 600.0
KILLED = Path(__file__).parent / "killed_redrive.py"


class Commands:
    """Runs ``streamflow dlq`` as a process and returns its JSON output."""

    def __init__(self, stack: Stack, environment: dict[str, str]) -> None:
        self._environment = {**os.environ, **environment, "STREAMFLOW_HOME": str(stack.home.root)}

    def run(self, *words: str, codes: tuple[int, ...] = (0,), killed_at: str | None = None) -> Any:  # noqa: ANN401
        start = ["-m", "flink_jobs.cli"] if killed_at is None else [str(KILLED), killed_at]
        done = subprocess.run(
            [sys.executable, *start, "dlq", *words, "--output", "json"],
            env={**self._environment, "PYTHONPATH": str(REPO_ROOT)}, cwd=REPO_ROOT, capture_output=True, text=True,
            check=False, timeout=LIMIT_S,
        )  # fmt: skip
        assert done.returncode in codes, (done.returncode, done.stderr)
        return orjson.loads(done.stdout) if done.stdout else done.stderr
