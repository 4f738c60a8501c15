"""``streamflow schemas``: files, the offline check and the registration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_jobs.cli import schema_commands
from flink_jobs.contracts import avro_schemas
from flink_jobs.errors import UserError
from tests.registry_server import RegistryServer
from tests.unit.local.test_settings_and_env import VALUES

RUNNER = CliRunner()


def use(monkeypatch: pytest.MonkeyPatch, registry: str) -> None:
    """Set every required setting, and the registry."""
    for name, value in {**VALUES, "STREAMFLOW_SCHEMA_REGISTRY": registry}.items():
        monkeypatch.setenv(name, value)


def test_export_and_check_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_schemas, "AVRO_DIR", tmp_path)
    monkeypatch.setattr(avro_schemas.problems, "__defaults__", (tmp_path,))
    stale = RUNNER.invoke(schema_commands.app, ["check", "--output", "json"])
    assert stale.exit_code == 1
    assert "differs from its contract" in json.loads(stale.stdout)[0]
    done = RUNNER.invoke(schema_commands.app, ["export", str(tmp_path), "--output", "json"])
    assert json.loads(done.stdout) == [str(tmp_path / f"transactions.v{number}.avsc") for number in (1, 2)]
    assert RUNNER.invoke(schema_commands.app, ["check"]).exit_code == 0


def test_register_sends_every_version_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with RegistryServer() as server:
        use(monkeypatch, server.url)
        for _ in range(2):
            done = RUNNER.invoke(schema_commands.app, ["register", "--output", "json"])
            assert json.loads(done.stdout) == [
                {"subject": "streamflow.transactions-value", "version": number, "id": number} for number in (1, 2)
            ]
        assert server.compatibility == {"streamflow.transactions-value": "FULL_TRANSITIVE"}


@pytest.mark.parametrize(("place", "message"), [("/tmp", "is no URL"), ("http://127.0.0.1:9", "cannot be read")])
def test_register_needs_a_registry_that_answers(monkeypatch: pytest.MonkeyPatch, place: str, message: str) -> None:
    use(monkeypatch, place)
    answer = RUNNER.invoke(schema_commands.app, ["register"])
    assert isinstance(answer.exception, UserError)
    assert message in str(answer.exception)
