"""Finds the programs of Prometheus: those of the system, or those that ``make setup-monitoring`` installed."""

from __future__ import annotations

import os
import shutil

from flink_jobs.local.checkout import TOOLS


def find_tool(name: str) -> str:
    """Return the path of a program; fail the test when it is not installed."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), str(TOOLS / "prometheus" / "usr" / "bin")])
    program = shutil.which(name, path=places)
    assert program, f"{name} is not installed: run `make setup-monitoring`"
    return program
