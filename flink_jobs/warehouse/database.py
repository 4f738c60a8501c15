"""Prepares any Postgres server, including one of a bank or a cloud: roles, tables, partitions, logins.

The login needs no superuser rights. It must own the database and have CREATEROLE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import psycopg
from psycopg import sql

from flink_jobs.database_logins import DatabaseRole
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.settings import Settings
from flink_jobs.warehouse import migrations
from flink_jobs.warehouse.partitions import create_partitions
from flink_jobs.warehouse.paths import MIGRATIONS

ROLES: tuple[DatabaseRole, ...] = ("writer", "transformer", "analyst", "api", "models", "backup")
AIRFLOW = "streamflow_airflow"
"""Database role that owns Airflow's own database, whose name is in ``flink_jobs.local.airflow``."""
# A dump of the database contains none of these, because they belong to roles and to the database itself.
_OUTSIDE_OF_A_DUMP: Final = (
    "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
    "GRANT TEMPORARY ON DATABASE {database} TO streamflow_transformer, streamflow_writer",
    "ALTER ROLE streamflow_transformer SET timezone = 'UTC'",
    "ALTER ROLE streamflow_analyst SET default_transaction_read_only = on",
    "ALTER ROLE streamflow_analyst SET statement_timeout = '5min'",
    "ALTER ROLE streamflow_backup CREATEDB",
    "GRANT pg_read_all_data TO streamflow_backup",
    # The exporter shows the longest query of all roles.
    "GRANT pg_read_all_stats TO streamflow_transformer",
)


def migrate(settings: Settings) -> list[str]:
    """Apply the missing migrations and set the passwords of the settings; return the migrations applied now.

    Raises:
        UserError: the database does not answer, or the login lacks a right.
    """
    dsn = settings.postgres_dsn
    try:
        make_roles(settings)
        applied = migrations.apply_migrations(dsn, MIGRATIONS)
        logins = {
            user: password.get_secret_value()
            for user, password in map(settings.postgres_login, ROLES)
            if user != settings.postgres_user
        }
        set_logins(dsn, logins)
        create_partitions(dsn)
    except psycopg.OperationalError as error:
        raise _unreachable(settings, error) from None
    except psycopg.errors.InsufficientPrivilege as error:
        raise UserError(
            f"the database role {settings.postgres_user} lacks a right: {str(error).splitlines()[0]}",
            "make it the owner of the database and grant it CREATEROLE",
        ) from None
    return applied


def make_roles(settings: Settings) -> None:
    """Create the missing roles, with the rights and defaults that a dump of the database does not contain."""
    _make_roles(settings.postgres_dsn, [f"streamflow_{role}" for role in ROLES])
    with psycopg.connect(settings.postgres_dsn) as connection:
        for statement in _OUTSIDE_OF_A_DUMP:
            connection.execute(sql.SQL(statement).format(database=sql.Identifier(settings.postgres_database)))


def create_airflow_database(settings: Settings, database: str, password: str) -> None:
    """Create the role and the database of Airflow's own tables if they are missing, and set the role's password."""
    role, name = sql.Identifier(AIRFLOW), sql.Identifier(database)
    _make_roles(settings.postgres_dsn, [AIRFLOW])
    set_logins(settings.postgres_dsn, {AIRFLOW: password})
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, role))


def set_logins(dsn_of_owner: str, logins: Mapping[str, str]) -> None:
    """Allow roles to log in, each with its password.

    Args:
        dsn_of_owner: connection string of a login that may change roles.
        logins: passwords by role.
    """
    with psycopg.connect(dsn_of_owner) as connection:
        for role, password in logins.items():
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
            )


def _make_roles(dsn: str, roles: list[str]) -> None:
    """Create roles and become a member of each: only a superuser can give ownership to a role without membership."""
    with psycopg.connect(dsn) as connection:
        for role in roles:
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
            member = "SELECT pg_has_role(current_user, %s, 'MEMBER')"
            if connection.execute(member, (role,)).fetchone() == (False,):
                connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(role)))


def _unreachable(settings: Settings, error: Exception) -> UserError:
    place = f"{settings.postgres_host}:{settings.postgres_port}"
    return UserError(
        f"Postgres at {place} refuses the connection: {str(error).strip().splitlines()[-1]}",
        "check STREAMFLOW_POSTGRES_*, the password file and the network",
        ErrorCode.POSTGRES_UNREACHABLE,
    )
