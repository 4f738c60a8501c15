"""Where the pieces of a checkout are, and which files a stack's home folder holds."""

from __future__ import annotations

import os
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from flink_jobs.settings import REPO_ROOT, STACK_ENV_FILE

TOOLS = Path(os.environ.get("STREAMFLOW_TOOLS_DIR") or REPO_ROOT / ".tools")
KAFKA_JARS = TOOLS / "jars" / "kafka"
FLINK_LIB = TOOLS / "flink-lib"
SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
FLINK_HOME = SITE_PACKAGES / "pyflink"
PYTHON = Path(sys.executable)


def python_path() -> str:
    """``PYTHONPATH`` for the JVMs: PEMJA reads no ``.pth`` files, so both folders must be spelled out."""
    return os.pathsep.join([str(SITE_PACKAGES), str(REPO_ROOT)])


@dataclass(frozen=True)
class Home:
    """The folder of one stack. Everything the stack writes is below it (save what Postgres cannot reach there)."""

    root: Path

    @property
    def record(self) -> Path:
        """What runs: pids, ports."""
        return self.root / "stack.json"

    @property
    def env_file(self) -> Path:
        """The settings of this stack, with its password; mode 0600."""
        return self.root / STACK_ENV_FILE

    @property
    def lock(self) -> Path:
        """Held while `up` or `down` works."""
        return self.root / "lock"

    @property
    def logs(self) -> Path:
        """Logs of every process of the stack."""
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        """Certificates and passwords of a secured stack; mode 0700."""
        return self.root / "secrets"

    @property
    def kafka_passwords(self) -> Path:
        """One file for each of Kafka's accounts."""
        return self.secrets / "kafka"

    @property
    def postgres(self) -> Path:
        """Postgres's folder, where its user can reach it."""
        return self.root / "postgres"

    @property
    def kafka(self) -> Path:
        """The broker's configuration and log segments."""
        return self.root / "kafka"

    @property
    def flink(self) -> Path:
        """Flink's configuration, checkpoints, savepoints and scratch space."""
        return self.root / "flink"

    @property
    def airflow(self) -> Path:
        """Airflow's logs and lineage events."""
        return self.root / "airflow"

    @property
    def checkpoints(self) -> Path:
        """Flink's checkpoints."""
        return self.flink / "checkpoints"

    @property
    def savepoints(self) -> Path:
        """Flink's savepoints."""
        return self.flink / "savepoints"
