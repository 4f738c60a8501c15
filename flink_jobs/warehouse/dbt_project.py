"""Runs dbt from its own Python environment, on the database of the settings."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from flink_jobs.errors import UserError
from flink_jobs.lake_settings import s3_endpoint
from flink_jobs.settings import Settings
from flink_jobs.warehouse.paths import DBT_PROJECT, ORCHESTRATION_ENVIRONMENT
from flink_jobs.warehouse.run_log import record_dbt_results

Say = Callable[[str], None]
DBT = ORCHESTRATION_ENVIRONMENT / "bin" / "dbt"
LINEAGE_OF_DBT = ORCHESTRATION_ENVIRONMENT / "bin" / "dbt-ol"
LAKE_TARGET: Final = ("--target", "lake")
LAKE_BUILD: Final = (
    "build", "--select", "tag:lake", "currency_units", "reason_codes", "--indirect-selection", "cautious",
    "--exclude-resource-type", "unit_test", *LAKE_TARGET,
)  # fmt: skip
"""The dbt command that builds and tests the models that need only decisions. Unit tests are in Postgres's SQL."""
NAMESPACE = "streamflow"
"""Namespace of the jobs in OpenLineage events, for dbt and for Airflow."""
# dbt prints one such line for each node: "12 of 103 OK created sql table model gold.dim_date ... [SELECT 16 in 0.10s]"
_DONE = re.compile(r"(\d+) of (\d+) (OK|PASS|WARN|FAIL|ERROR|SKIP)\b(.*)")
_SHOWN_NODES = re.compile(r"model |snapshot|relation|loaded seed")


def environment(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that ``dbt/profiles.yml`` reads, on top of ``base``."""
    user, password = settings.postgres_login("transformer")
    lake = {}
    if settings.lake_path is not None:
        lake["STREAMFLOW_LAKE_PATH"] = settings.lake_path.removeprefix("file://").rstrip("/")
        if settings.lake_path.startswith("s3://"):
            lake["STREAMFLOW_LAKE_FILESYSTEMS"] = json.dumps([_s3_filesystem()])
    return {
        **base,
        "STREAMFLOW_POSTGRES_HOST": settings.postgres_host,
        "STREAMFLOW_POSTGRES_PORT": str(settings.postgres_port),
        "STREAMFLOW_POSTGRES_DATABASE": settings.postgres_database,
        "STREAMFLOW_POSTGRES_TRANSFORMER_USER": user,
        "STREAMFLOW_POSTGRES_TRANSFORMER_PASSWORD": password.get_secret_value(),
        "STREAMFLOW_POSTGRES_SSL_MODE": settings.postgres_ssl_mode,
        "STREAMFLOW_POSTGRES_CA_FILE": str(settings.postgres_ca_file or ""),
        **lake,
        "DO_NOT_TRACK": "1",
    }


def _s3_filesystem() -> dict[str, Any]:
    """Return the file system with which DuckDB reads S3; credentials come from the variables of every AWS client."""
    # Parquet's columns are read at their positions: a larger block would be read for each of them.
    options: dict[str, Any] = {"fs": "s3", "default_block_size": 1 << 20}
    endpoint = s3_endpoint()
    if endpoint is not None:
        options |= {"endpoint_url": endpoint, "config_kwargs": {"s3": {"addressing_style": "path"}}}
    return options


def file_transport(path: Path) -> str:
    """Return the OpenLineage configuration that appends events to a file, one JSON document a line."""
    return json.dumps({"type": "file", "log_file_path": str(path), "append": True})


class Dbt:
    """The dbt project of the repository, on one database: Postgres, or DuckDB over the lake."""

    def __init__(self, settings: Settings, target: Path, say: Say) -> None:
        """Set the database and the folder for the files that dbt writes.

        Raises:
            UserError: dbt is not installed.
        """
        if not DBT.exists():
            raise UserError(f"dbt is not installed in {ORCHESTRATION_ENVIRONMENT}", "run `make setup-marts`")
        self.target = target
        self.lake_database = target.parent / "lake.duckdb"
        """DuckDB's file with the marts of the target ``lake``."""
        lake = {"STREAMFLOW_LAKE_DATABASE": str(self.lake_database)}
        self._environment = environment(settings, os.environ) | lake
        self._say = say

    def run(self, *arguments: str) -> None:
        """Run a dbt command and report its progress.

        Raises:
            UserError: dbt failed; the message has dbt's own text.
        """
        self.target.mkdir(parents=True, exist_ok=True)
        self._run_results_file.unlink(missing_ok=True)  # of the previous run: a killed run must not leave results
        folders = ["--project-dir", DBT_PROJECT, "--profiles-dir", DBT_PROJECT, "--target-path", self.target]
        command = [DBT, *arguments, *folders, "--log-path", self.target / "logs", "--no-use-colors"]
        with subprocess.Popen(
            [str(part) for part in command], env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None  # noqa: S101 - asked for above
            problems = _follow(process.stdout, self._say)
        if process.returncode:
            raise UserError(
                f"dbt {arguments[0]} failed: {'; '.join(problems) or f'exit code {process.returncode}'}",
                f"see {self.target / 'logs' / 'dbt.log'}",
            )

    def has_results(self) -> bool:
        """Return whether the last run has results, including failures."""
        return self._run_results_file.exists()

    def results(self) -> list[dict[str, Any]]:
        """Return the results of the last run, one for each node.

        Raises:
            UserError: there was no run.
        """
        results: list[dict[str, Any]] = self._run_results()["results"]
        return results

    def record(self, dsn: str) -> None:
        """Record the results of the last run in ``ops.dbt_results``.

        Args:
            dsn: connection string of the transformer.

        Raises:
            UserError: there was no run.
        """
        record_dbt_results(dsn, self._run_results()["metadata"]["invocation_id"], self.results())

    def write_lineage(self, path: Path) -> None:
        """Append the OpenLineage events of the last run to a file: the source tables of each table.

        If an ``OPENLINEAGE_*`` variable is set, the events go to its destination instead.

        Raises:
            UserError: the events cannot be written; the tables of the run stay.
        """
        own = (
            {}
            if any(name.startswith("OPENLINEAGE") for name in os.environ)
            else {"OPENLINEAGE__TRANSPORT": file_transport(path)}
        )
        command = [LINEAGE_OF_DBT, "send-events", "--project-dir", DBT_PROJECT, "--target-path", self.target]
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, check=False,
            env={"OPENLINEAGE_NAMESPACE": NAMESPACE, **self._environment, **own},
        )  # fmt: skip
        if done.returncode or "failed to emit" in done.stdout:
            last = next(iter((done.stderr or done.stdout).strip().splitlines()[-1:]), "")
            raise UserError(f"the lineage of dbt was not written: {last}", f"check that {path} is writable")

    @property
    def _run_results_file(self) -> Path:
        return self.target / "run_results.json"

    def _run_results(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self._run_results_file.read_text())
        except FileNotFoundError:
            raise UserError(f"{self.target} has no results of dbt", "run `make marts`") from None
        return found

    def counts(self) -> str:
        """Return the number of nodes of the last run by status, as text."""
        counted = Counter(result["status"] for result in self.results())
        return ", ".join(f"{number} {status}" for status, number in counted.most_common())


def _explanation(lines: Any) -> str:  # noqa: ANN401 - an open text stream, whichever kind
    """Return dbt's text on an error as one line: the lines up to the next empty one, without their indentation."""
    found = itertools.takewhile(bool, (line.strip() for line in lines))
    return " ".join(found)


def _follow(lines: Any, say: Say) -> list[str]:  # noqa: ANN401 - an open text stream, whichever kind
    """Report each finished model, and return the descriptions of failed nodes."""
    problems: list[str] = []
    for line in lines:
        if match := _DONE.search(line):
            number, total, status, what = match.groups()
            text = what.split(" ...")[0].split(" [")[0].strip(" .")
            if status in {"FAIL", "ERROR"}:
                problems.append(text)
            if status in {"WARN", "FAIL", "ERROR"} or (status != "PASS" and _SHOWN_NODES.search(text)):
                say(f"  {number}/{total} {status} {text}")
        elif "Encountered an error" in line:
            problems.append(_explanation(lines) or line.strip())
        elif "[ERROR]" in line:
            problems.append(line.split("[ERROR]:")[-1].strip())
    return problems
