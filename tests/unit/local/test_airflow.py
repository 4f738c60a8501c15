"""How the local stack starts Airflow."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from pydantic import SecretStr

from flink_jobs.local import airflow
from flink_jobs.local.home import Home
from flink_jobs.settings import Settings

SETTINGS = Settings.model_construct(
    postgres_host="127.0.0.1",
    postgres_port=5432,
    postgres_database="streamflow",
    postgres_user="streamflow",
    postgres_password=SecretStr("p@ss/word"),
    postgres_transformer_user="streamflow_transformer",
    postgres_transformer_password=SecretStr("other"),
)


def test_it_listens_on_loopback_and_its_passwords_are_in_the_environment_only(tmp_path: Path) -> None:
    command = airflow.command(Home(tmp_path), 28080, SETTINGS)
    assert command.env["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert command.env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"].startswith("http://127.0.0.1:28080/")
    assert "streamflow:p%40ss%2Fword@127.0.0.1:5432/airflow" in command.env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
    assert command.env["STREAMFLOW_POSTGRES_TRANSFORMER_PASSWORD"] == "other"
    assert not any("p@ss" in part or "other" in part for part in command.argv)
    assert command.stop_signal == signal.SIGINT


def test_the_callers_settings_win_except_the_addresses_of_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMFLOW_INCIDENT_WEBHOOK", "http://127.0.0.1:9/hook")
    monkeypatch.setenv("STREAMFLOW_POSTGRES_PORT", "1")
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "8")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environment = airflow.command(Home(tmp_path), 28080, SETTINGS).env
    assert environment["STREAMFLOW_INCIDENT_WEBHOOK"] == "http://127.0.0.1:9/hook"
    assert environment["STREAMFLOW_POSTGRES_PORT"] == "5432"
    assert environment["AIRFLOW__CORE__PARALLELISM"] == "8"
    assert environment["AIRFLOW__API__PORT"] == "28080"
    assert "PYTHONPATH" not in environment


def test_an_unreachable_airflow_is_not_healthy() -> None:
    assert not airflow.Airflow(1).is_healthy()
