"""``streamflow migrate`` on a Postgres whose owner is not a superuser, as in every cloud."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from flink_jobs.cli import migrate_command
from flink_jobs.errors import UserError
from flink_jobs.local import airflow
from flink_jobs.local.stack import Stack
from flink_jobs.settings import Settings
from flink_jobs.warehouse import database as own
from flink_jobs.warehouse.migrations import read_migrations
from flink_jobs.warehouse.paths import MIGRATIONS
from tests.stack_folder import stack_folder

pytestmark = pytest.mark.stack
OWNER, DATABASE = "bank", "cards"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Settings]:
    """Yield the settings of an empty database on a server without our database roles."""
    with stack_folder("test") as folder:
        stack, password = Stack(folder / "home"), secrets.token_hex(8)
        try:
            settings = stack.up(["postgres"])
            with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
                for role in (f"streamflow_{name}" for name in own.ROLES):
                    for statement in ("REASSIGN OWNED BY {} TO streamflow", "DROP OWNED BY {}", "DROP ROLE {}"):
                        connection.execute(sql.SQL(statement).format(sql.Identifier(role)))
                connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE CREATEDB PASSWORD '{password}'")
                connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
            access = {"postgres_user": OWNER, "postgres_password": SecretStr(password), "postgres_database": DATABASE}
            yield settings.model_copy(update=access)
        finally:
            stack.down(wipe=True)


def test_an_empty_database_is_migrated_once(cloud: Settings) -> None:
    assert own.migrate(cloud) == [item.name for item in read_migrations(MIGRATIONS)]
    assert own.migrate(cloud) == []
    with psycopg.connect(cloud.postgres_dsn_as("writer")) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("streamflow_writer",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE gold.mine ()")
    with psycopg.connect(cloud.postgres_dsn_as("transformer")) as connection:
        connection.execute("CREATE TABLE gold.ours ()")
        assert connection.execute("SELECT pg_has_role('pg_read_all_stats', 'USAGE')").fetchone() == (True,)


def test_airflow_gets_its_database_and_no_other_permission(
    cloud: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password = tmp_path / "password"
    password.write_text("quite'secret\n")
    for name in type(cloud).model_fields:
        if (value := getattr(cloud, name)) is not None:
            text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            monkeypatch.setenv(f"STREAMFLOW_{name.upper()}", text)
    for _ in range(2):
        migrate_command.migrate(airflow_password_file=password)
    assert f"{DATABASE} is up to date (0 migrations" in capsys.readouterr().out
    guest = {"postgres_user": own.AIRFLOW, "postgres_password": SecretStr("quite'secret")}
    theirs = cloud.model_copy(update={**guest, "postgres_database": airflow.DATABASE})
    with psycopg.connect(theirs.postgres_dsn) as connection:
        connection.execute("CREATE TABLE dag_run ()")
    ours = cloud.model_copy(update=guest)
    with psycopg.connect(ours.postgres_dsn) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT FROM raw.decisions")


def test_a_wrong_password_is_one_error_line(cloud: Settings) -> None:
    with pytest.raises(UserError, match=r"refuses the connection: .*password authentication failed"):
        own.migrate(cloud.model_copy(update={"postgres_password": SecretStr("wrong")}))


def test_the_error_names_the_missing_permission(cloud: Settings) -> None:
    own.migrate(cloud)
    login = cloud.postgres_login("transformer")
    less = cloud.model_copy(update={"postgres_user": login[0], "postgres_password": login[1]})
    with pytest.raises(UserError, match="lacks a right"):
        own.migrate(less)
