"""The home folder of one stack: which files and folders it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from flink_jobs.settings import STACK_ENV_FILE


@dataclass(frozen=True)
class Home:
    """The folder of one stack. The stack writes only below it; Postgres writes elsewhere if it cannot reach it."""

    root: Path

    @property
    def record(self) -> Path:
        """The record of the running processes: pids and ports."""
        return self.root / "stack.json"

    @property
    def env_file(self) -> Path:
        """The settings of this stack with its passwords; mode 0600."""
        return self.root / STACK_ENV_FILE

    @property
    def lock(self) -> Path:
        """The lock file that ``up`` and ``down`` hold while they work."""
        return self.root / "lock"

    @property
    def submit_lock(self) -> Path:
        """The lock file that ``submit`` and the demo hold from the check for running jobs until their jobs run."""
        return self.root / "submit.lock"

    @property
    def logs(self) -> Path:
        """The logs of all processes of the stack."""
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        """Certificates and passwords of a secured stack; mode 0700."""
        return self.root / "secrets"

    @property
    def kafka_passwords(self) -> Path:
        """One password file for each Kafka account."""
        return self.secrets / "kafka"

    @property
    def postgres(self) -> Path:
        """The data folder of Postgres, if the account that Postgres runs as can reach it."""
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
