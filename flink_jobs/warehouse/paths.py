"""Paths of the warehouse files in a checkout."""

from __future__ import annotations

from typing import Final

from flink_jobs.settings import REPO_ROOT

DBT_PROJECT: Final = REPO_ROOT / "dbt"
MIGRATIONS: Final = REPO_ROOT / "sql" / "migrations"
ANALYSES: Final = REPO_ROOT / "sql" / "analysis"
QUALITY_CHECKS: Final = REPO_ROOT / "sql" / "quality"
ORCHESTRATION_ENVIRONMENT: Final = REPO_ROOT / ".venv-orchestration"
