"""Prometheus's programs: those of the system, or what `make setup-monitoring` fetched."""

from __future__ import annotations

import os
import shutil

from flink_jobs.local.checkout import TOOLS


def find_tool(name: str) -> str:
    """Return the path of a program; a test that needs it fails without."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), str(TOOLS / "prometheus" / "usr" / "bin")])
    program = shutil.which(name, path=places)
    assert program, f"{name} is not here: run `make setup-monitoring`"
    return program
