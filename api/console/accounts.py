"""The accounts of people, for the command line: these functions log in as the owner of the database."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from argon2 import PasswordHasher
from psycopg.rows import dict_row

from api.console.roles import Role
from api.reads import add_change
from flink_jobs.errors import UserError

SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 128
LONGEST_NAME: Final = 63
TOKEN_MINUTES: Final = 60
"""Validity of a one-time login."""
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}")
_ADD: Final = """
    INSERT INTO api.accounts (name, display_name, roles, password_hash, created_by)
    VALUES (%(name)s, %(display_name)s, %(roles)s, %(password_hash)s, %(by)s) ON CONFLICT (name) DO NOTHING
"""
_ADD_LOGIN: Final = """
    INSERT INTO api.login_tokens (token_sha256, account_name, created_by, expires_at) VALUES (%s, %s, %s, %s)
"""
_DISABLE: Final = """
    UPDATE api.accounts SET disabled_at = coalesce(disabled_at, now()), disabled_by = coalesce(disabled_by, %s)
    WHERE name = %s
"""
HASHER: Final = PasswordHasher()
"""argon2id with the library's parameters (RFC 9106, 64 MiB)."""


def digest_of(secret: str) -> str:
    """Return the stored form of a token or session: its SHA-256 in hexadecimal; the secret has 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add_account(
    dsn: str,
    name: str,
    roles: Collection[Role],
    *,
    by: str,
    display_name: str | None = None,
    password: str | None = None,
) -> bool:
    """Add an account; return whether it is new. An account that exists stays as it is.

    Raises:
        UserError: the name or the password is not valid.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is no valid account name", "use a letter, then letters, digits, `.`, `_` or `-` in lower case"
        )
    if password is not None and not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise UserError(
            f"the password has {len(password)} characters", f"use {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
        )
    names = sorted(roles)
    row = {
        "name": name,
        "display_name": display_name or name,
        "roles": names,
        "password_hash": None if password is None else HASHER.hash(password),
        "by": by,
    }
    with psycopg.connect(dsn) as connection:
        is_new = connection.execute(_ADD, row).rowcount == 1
        if is_new:
            add_change(connection, by, "console.account.created", f"{name} roles={','.join(names)}")
        return is_new


def create_token(dsn: str, name: str, *, by: str, minutes: int = TOKEN_MINUTES) -> str:
    """Return a token that logs an account in once. Only its digest is stored, so it cannot be shown again.

    Raises:
        UserError: there is no such account, or it is disabled.
    """
    token = secrets.token_urlsafe(32)
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT FROM api.accounts WHERE name = %s AND disabled_at IS NULL", (name,))
        if found.rowcount == 0:
            raise _unknown(name)
        expires = datetime.now(UTC) + timedelta(minutes=minutes)
        connection.execute(_ADD_LOGIN, (digest_of(token), name, by, expires))
        add_change(connection, by, "console.login.created", f"{name} until {expires:%Y-%m-%dT%H:%M:%SZ}")
    return token


def list_accounts(dsn: str) -> list[dict[str, Any]]:
    """Return all accounts by name, with their number of open sessions, without secrets."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT name, display_name, roles, password_hash IS NOT NULL AS has_password, created_at, created_by, "
            "disabled_at, (SELECT count(*) FROM api.sessions s WHERE s.account_name = a.name "
            "AND revoked_at IS NULL AND expires_at > now()) AS sessions FROM api.accounts a ORDER BY name"
        ).fetchall()


def revoke_sessions(dsn: str, name: str, *, by: str) -> int:
    """End all sessions and one-time tokens of an account at once; return the number of sessions that were open.

    Raises:
        UserError: there is no such account.
    """
    with psycopg.connect(dsn) as connection:
        if connection.execute("SELECT FROM api.accounts WHERE name = %s", (name,)).rowcount == 0:
            raise _unknown(name)
        ended = _end_sessions(connection, name)
        add_change(connection, by, "console.sessions.revoked", f"{name} sessions={ended}")
        return ended


def disable_account(dsn: str, name: str, *, by: str) -> None:
    """Disable an account: it cannot log in, and its sessions end at once.

    Raises:
        UserError: there is no such account.
    """
    with psycopg.connect(dsn) as connection:
        if connection.execute(_DISABLE, (by, name)).rowcount == 0:
            raise _unknown(name)
        ended = _end_sessions(connection, name)
        add_change(connection, by, "console.account.disabled", f"{name} sessions={ended}")


def _end_sessions(connection: psycopg.Connection[Any], name: str) -> int:
    connection.execute(
        "UPDATE api.login_tokens SET used_at = now() WHERE account_name = %s AND used_at IS NULL", (name,)
    )
    return connection.execute(
        "UPDATE api.sessions SET revoked_at = now() "
        "WHERE account_name = %s AND revoked_at IS NULL AND expires_at > now()",
        (name,),
    ).rowcount


def _unknown(name: str) -> UserError:
    return UserError(f"there is no enabled account {name}", "see `streamflow console accounts`")
