"""Bring any Postgres to date, a bank's or a cloud's too: roles, tables, partitions, log-ins.

The account that does it needs no superuser's rights, only to own the database and to make roles (CREATEROLE).
"""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.settings import DatabaseRole, Settings
from flink_jobs.warehouse import migrations
from flink_jobs.warehouse.partitions import create_partitions
from flink_jobs.warehouse.paths import MIGRATIONS

ROLES: tuple[DatabaseRole, ...] = ("writer", "transformer", "analyst")
AIRFLOW = "streamflow_airflow"
"""Owns the database of Airflow's own tables, of the name in ``flink_jobs.local.airflow``."""


def migrate(settings: Settings) -> list[str]:
    """Apply what is missing and set the passwords that the settings have; return the migrations applied now.

    Raises:
        UserError: the database does not answer, or the account may not do it.
    """
    dsn = settings.postgres_dsn
    try:
        _make_roles(dsn, [f"streamflow_{role}" for role in ROLES])
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
            f"{settings.postgres_user} may not do this: {str(error).splitlines()[0]}",
            "it must own the database and have CREATEROLE",
        ) from None
    return applied


def create_airflow_database(settings: Settings, database: str, password: str) -> None:
    """Make the role and the database of Airflow's own tables unless they are there, and set the role's password."""
    role, name = sql.Identifier(AIRFLOW), sql.Identifier(database)
    _make_roles(settings.postgres_dsn, [AIRFLOW])
    set_logins(settings.postgres_dsn, {AIRFLOW: password})
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, role))


def set_logins(dsn_of_owner: str, logins: Mapping[str, str]) -> None:
    """Allow roles to log in, each with its password.

    Args:
        dsn_of_owner: of the database, as an account that may change roles.
        logins: role to password.
    """
    with psycopg.connect(dsn_of_owner) as connection:
        for role, password in logins.items():
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
            )


def _make_roles(dsn: str, roles: list[str]) -> None:
    """Make roles and become a member of each: whoever is no superuser must be, to give them anything to own."""
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
        f"Postgres at {place} refuses: {str(error).strip().splitlines()[-1]}",
        "check STREAMFLOW_POSTGRES_*, the password's file and the network",
        ErrorCode.POSTGRES_UNREACHABLE,
    )
