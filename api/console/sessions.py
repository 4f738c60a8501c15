"""Logins and sessions of people: verified for every request, so that a revocation takes effect at once."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import dataclass
from typing import Any, Final

from argon2.exceptions import InvalidHashError, VerificationError
from limits import RateLimitItemPerMinute

from api.console.accounts import HASHER, LONGEST_PASSWORD, digest_of
from api.console.roles import Identity, known_roles
from api.database import Database
from api.rates import Counters
from api.settings import ApiSettings

_ACCOUNT: Final = """
    SELECT name, display_name, roles, password_hash FROM api.accounts
    WHERE name = %(name)s AND disabled_at IS NULL AND password_hash IS NOT NULL
"""
_USE_ONE_TIME: Final = """
    UPDATE api.login_tokens t SET used_at = now() FROM api.accounts a
    WHERE t.token_sha256 = %(digest)s AND t.used_at IS NULL AND t.expires_at > now()
        AND a.name = t.account_name AND a.disabled_at IS NULL
    RETURNING a.name, a.display_name, a.roles
"""
_START: Final = """
    INSERT INTO api.sessions (session_sha256, account_name, expires_at)
    VALUES (%(digest)s, %(name)s, now() + make_interval(mins => %(minutes)s))
"""
_FIND: Final = """
    SELECT a.name, a.display_name, a.roles, s.last_seen_at < now() - interval '1 minute' AS is_stale
    FROM api.sessions s JOIN api.accounts a ON a.name = s.account_name
    WHERE s.session_sha256 = %(digest)s AND s.revoked_at IS NULL AND a.disabled_at IS NULL AND s.expires_at > now()
        AND s.last_seen_at > now() - make_interval(mins => %(idle)s)
"""
_IS_LINKED: Final = "SELECT oidc_subject IS NOT NULL AS is_linked FROM api.accounts WHERE name = %(name)s"
_SEEN: Final = "UPDATE api.sessions SET last_seen_at = now() WHERE session_sha256 = %(digest)s"
_END: Final = "UPDATE api.sessions SET revoked_at = now() WHERE session_sha256 = %(digest)s AND revoked_at IS NULL"
_DELETE_OLD: Final = "DELETE FROM api.sessions WHERE expires_at < now() - interval '7 days'"
_NO_ACCOUNT: Final = HASHER.hash(secrets.token_urlsafe(32))
"""Verified where there is no such account, so that an unknown name takes the time of a wrong password."""
PER_ACCOUNT: Final = RateLimitItemPerMinute(5)
PER_ADDRESS: Final = RateLimitItemPerMinute(30)
_AT_ONCE: Final = 2
"""Password checks at the same time; each takes 64 MiB."""


class TooManyAttemptsError(Exception):
    """An address or an account had too many failed logins within one minute."""


@dataclass(frozen=True, slots=True)
class Session:
    """An open session: the person, and the token that its forms must send."""

    identity: Identity
    csrf: str


class Sessions:
    """Starts, finds and ends sessions in ``api.sessions``."""

    def __init__(self, database: Database, settings: ApiSettings, counters: Counters) -> None:
        """Use the counters of failed logins."""
        self._database = database
        self._settings = settings
        self._counters = counters
        self._checks = asyncio.Semaphore(_AT_ONCE)

    async def by_password(self, name: str, password: str, address: str) -> Identity | None:
        """Return the person of a name and password, ``None`` if they do not match.

        Raises:
            TooManyAttemptsError: too many failed logins before.
            ApiError: the database does not answer (503).
        """
        await self._check_attempts(address, name)
        rows = await self._database.rows(_ACCOUNT, {"name": name})
        stored = rows[0]["password_hash"] if rows else _NO_ACCOUNT
        async with self._checks:
            matches = await asyncio.to_thread(_matches, stored, password)
        if not rows or not matches:
            await self._count_failure(address, name)
            return None
        return _identity(rows[0])

    async def by_token(self, token: str, address: str) -> Identity | None:
        """Return the person of a one-time token and use the token up; ``None`` for one that is not valid.

        Raises:
            TooManyAttemptsError: too many failed logins before.
            ApiError: the database does not answer (503).
        """
        await self._check_attempts(address, "")
        rows = await self._database.rows(_USE_ONE_TIME, {"digest": digest_of(token)})
        if not rows:
            await self._count_failure(address, "")
            return None
        return _identity(rows[0])

    async def start(self, identity: Identity) -> str:
        """Start a session of a person; return its secret, which goes into the cookie."""
        await self._database.rows(_DELETE_OLD, {})
        secret = secrets.token_urlsafe(32)
        minutes = self._settings.session_hours * 60
        await self._database.rows(_START, {"digest": digest_of(secret), "name": identity.name, "minutes": minutes})
        return secret

    async def find(self, secret: str | None) -> Session | None:
        """Return the open session of a cookie, ``None`` if it is unknown, expired, idle for too long or revoked."""
        if not secret:
            return None
        digest = digest_of(secret)
        rows = await self._database.rows(_FIND, {"digest": digest, "idle": self._settings.session_idle_minutes})
        if not rows:
            return None
        if rows[0]["is_stale"]:
            await self._database.rows(_SEEN, {"digest": digest})
        return Session(_identity(rows[0]), csrf_of(secret))

    async def end(self, secret: str | None) -> None:
        """End a session."""
        if secret:
            await self._database.rows(_END, {"digest": digest_of(secret)})

    async def is_linked(self, identity: Identity) -> bool:
        """Return whether a person logs in at the OIDC server."""
        rows = await self._database.rows(_IS_LINKED, {"name": identity.name})
        return bool(rows and rows[0]["is_linked"])

    async def count_login(self, address: str) -> None:
        """Count a login that begins at the OIDC server.

        Raises:
            TooManyAttemptsError: the address began too many within one minute.
        """
        await self._check_attempts(address, "")
        await self._count_failure(address, "")

    async def _check_attempts(self, address: str, name: str) -> None:
        is_within = await self._counters.test_closed(PER_ADDRESS, "address", address) and (
            not name or await self._counters.test_closed(PER_ACCOUNT, "account", address, name)
        )
        if not is_within:
            raise TooManyAttemptsError

    async def _count_failure(self, address: str, name: str) -> None:
        await self._counters.hit_closed(PER_ADDRESS, "address", address)
        if name:
            await self._counters.hit_closed(PER_ACCOUNT, "account", address, name)


def csrf_of(secret: str) -> str:
    """Return the token that the forms of a session send; it does not reveal the secret of the session."""
    return hmac.new(secret.encode(), b"csrf", "sha256").hexdigest()


def _matches(stored: str, password: str) -> bool:
    if len(password) > LONGEST_PASSWORD:
        return False
    try:
        return HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _identity(row: dict[str, Any]) -> Identity:
    return Identity(row["name"], row["display_name"], known_roles(row["roles"]))
