"""Settings, and the file `streamflow up` writes for them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_jobs.cli.app import app
from flink_jobs.errors import UserError
from flink_jobs.local import envfile
from flink_jobs.postgres_settings import load_postgres_settings
from flink_jobs.settings import ENV_PREFIX, Settings, load_settings, stack_home

VALUES = {
    "STREAMFLOW_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:29092",
    "STREAMFLOW_FLINK_REST_URL": "http://127.0.0.1:8081",
    "STREAMFLOW_POSTGRES_HOST": "127.0.0.1",
    "STREAMFLOW_POSTGRES_PORT": "5432",
    "STREAMFLOW_POSTGRES_DATABASE": "streamflow",
    "STREAMFLOW_POSTGRES_USER": "streamflow",
    "STREAMFLOW_POSTGRES_PASSWORD": "s3cr=t#x y",
    "STREAMFLOW_CHECKPOINT_DIR": "file:///tmp/checkpoints",
    "STREAMFLOW_SAVEPOINT_DIR": "file:///tmp/savepoints",
}


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{field.upper()}", raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    envfile.write(tmp_path / "stack.env", VALUES)
    return tmp_path


def test_settings_come_from_the_stack_and_passwords_survive_quoting(home: Path) -> None:
    settings = load_settings(home)
    assert settings.postgres_port == 5432
    assert settings.postgres_password.get_secret_value() == "s3cr=t#x y"
    assert settings.sink_guarantee == "exactly_once"


def test_the_environment_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFLOW_POSTGRES_PORT", "6543")
    monkeypatch.setenv("STREAMFLOW_SINK_GUARANTEE", "at_least_once")
    settings = load_settings(home)
    assert (settings.postgres_port, settings.sink_guarantee) == (6543, "at_least_once")


def test_alerts_are_at_least_once_unless_set_and_a_guarantee_may_have_hyphens(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings(home).alerts_guarantee == "at_least_once"
    monkeypatch.setenv("STREAMFLOW_ALERTS_GUARANTEE", "exactly-once")
    assert load_settings(home).alerts_guarantee == "exactly_once"


def test_every_missing_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        load_settings(tmp_path)
    assert error.value.what == "not set: " + ", ".join(
        f"{ENV_PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if field.is_required()
    )
    assert "streamflow up" in error.value.fix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("POSTGRES_PORT", "0"),
        ("POSTGRES_PORT", "http"),
        ("SINK_GUARANTEE", "maybe"),
        ("ALERTS_GUARANTEE", "1"),
        ("TOPIC_PREFIX", "a b"),
    ],
)
def test_a_wrong_value_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"STREAMFLOW_{name}", value)
    with pytest.raises(UserError, match=f"STREAMFLOW_{name}: "):
        load_settings(home)


def test_the_window_for_duplicates_ends_before_the_state(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = load_settings(home).masked()
    assert (printed["STREAMFLOW_DUPLICATE_DAYS"], printed["STREAMFLOW_DUPLICATE_TRANSACTIONS"]) == ("7", "5000")
    monkeypatch.setenv("STREAMFLOW_STATE_TTL_DAYS", "7")
    load_settings(home)
    monkeypatch.setenv("STREAMFLOW_DUPLICATE_DAYS", "8")
    with pytest.raises(UserError, match="STREAMFLOW_DUPLICATE_DAYS must be at most STREAMFLOW_STATE_TTL_DAYS"):
        load_settings(home)
    monkeypatch.setenv("STREAMFLOW_DUPLICATE_DAYS", "7")
    monkeypatch.setenv("STREAMFLOW_DUPLICATE_TRANSACTIONS", "31")
    with pytest.raises(UserError, match="STREAMFLOW_DUPLICATE_TRANSACTIONS: "):
        load_settings(home)


def test_the_printed_form_hides_the_password(home: Path) -> None:
    shown = load_settings(home).masked()
    assert shown["STREAMFLOW_POSTGRES_PORT"] == "5432"
    assert "s3cr" not in str(shown)
    assert "s3cr" not in repr(load_settings(home))


def test_the_file_is_for_its_owner_only_and_reads_back(home: Path) -> None:
    path = home / "stack.env"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert envfile.read(path) == VALUES
    assert envfile.read(home / "none") == {}


@pytest.mark.parametrize("value", ["it's", "two\nlines"])
def test_a_value_that_would_break_the_file_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="quote or a line break"):
        envfile.render({"A": value})


def test_the_home_folder_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path))
    assert stack_home() == tmp_path.resolve()
    monkeypatch.delenv("STREAMFLOW_HOME")
    assert stack_home().name == ".streamflow"


def test_commands_of_the_registry_need_the_settings_of_postgres_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    envfile.write(tmp_path / "stack.env", {name: value for name, value in VALUES.items() if "POSTGRES" in name})
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path))
    with pytest.raises(UserError, match="KAFKA_BOOTSTRAP_SERVERS"):
        load_settings()
    settings = load_postgres_settings()
    assert (settings.postgres_port, settings.postgres_database) == (5432, "streamflow")
    assert "dbname=streamflow" in settings.postgres_dsn
    monkeypatch.setenv("STREAMFLOW_POSTGRES_PORT", "1")
    result = CliRunner().invoke(app, ["model", "list"])
    assert "KAFKA" not in result.output
    assert result.exit_code != 0, "no Postgres listens on this port"
    envfile.write(tmp_path / "stack.env", {})
    with pytest.raises(UserError, match="POSTGRES_HOST"):
        load_postgres_settings()
