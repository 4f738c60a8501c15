"""Where the programs and libraries of this checkout are: Python, Flink, and the jars that ``make setup`` fetched."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from flink_jobs.settings import REPO_ROOT

TOOLS = Path(os.environ.get("STREAMFLOW_TOOLS_DIR") or REPO_ROOT / ".tools")
KAFKA_JARS = TOOLS / "jars" / "kafka"
FLINK_LIB = TOOLS / "flink-lib"
FLINK_PLUGINS = TOOLS / "flink-plugins"
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
FLINK_HOME = SITE_PACKAGES / "pyflink"
PYTHON = Path(sys.executable)


def python_path() -> str:
    """Return ``PYTHONPATH`` for the JVMs. PEMJA does not read ``.pth`` files, so both folders must be listed."""
    return os.pathsep.join([str(SITE_PACKAGES), str(REPO_ROOT)])
