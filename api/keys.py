"""API keys: made once, stored as a hash, verified for every request.

A key is ``sfk_PREFIX_SECRET``. The prefix names the key in lists, logs and audits. The secret has 256 random bits, so
its plain SHA-256 cannot be searched, and a slow password hash would only slow down every request.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import psycopg
from psycopg.rows import dict_row

from api.database import LOOK_UP_S, Database
from api.errors import ApiError
from api.reads import add_change
from api.settings import ApiSettings
from flink_jobs.errors import UserError

_PREFIX_BYTES: Final = 5
_PARTS: Final = 3
_ROW: Final = "SELECT * FROM api.keys WHERE prefix = %(prefix)s"
_USED: Final = "UPDATE api.keys SET last_used_at = date_trunc('minute', now()) WHERE prefix = %(prefix)s"
_USED_EVERY_S: Final = 60.0
_MOST_CACHED: Final = 10_000
_UNKNOWN: Final = ApiError(
    401,
    "key_invalid",
    "the API key is missing, unknown, expired or revoked",
    "send `Authorization: Bearer sfk_...`; `streamflow api keys create` makes a key",
    headers={"WWW-Authenticate": "Bearer"},
)


class Scope(StrEnum):
    """What a key may do."""

    TRANSACTIONS_WRITE = "transactions:write"
    """Send transactions and get their decisions."""
    DECISIONS_READ = "decisions:read"
    """Read the stored decisions of customers."""
    SCORE = "score"
    """Score transactions without an effect."""
    CASES_READ = "cases:read"
    """Read cases."""
    CASES_WRITE = "cases:write"
    """Claim, change and close cases; a verdict labels transactions. Also: watch the customer of a case."""
    ACCOUNTS_WRITE = "accounts:write"
    """With ``cases:write``: block, allow and clear the customer of a case, suppress a rule."""


@dataclass(frozen=True, slots=True)
class Key:
    """A verified caller: a key, or a service with a signed token, whose prefix is ``service:`` and its subject."""

    prefix: str
    name: str
    scopes: frozenset[str]
    rate_per_s: int | None = None
    teams: frozenset[str] | None = None
    """The teams whose cases the key sees; ``None`` for all."""

    @property
    def actor(self) -> str:
        """The name of the caller in audits."""
        return self.prefix if self.prefix.startswith("service:") else f"key:{self.prefix}"


@dataclass(slots=True)
class _Cached:
    key: Key
    expires_at: datetime | None
    read_at: float
    used_at: float = float("-inf")


class KeyRing:
    """Verifies keys against ``api.keys``."""

    def __init__(self, database: Database, settings: ApiSettings) -> None:
        """Start without cached keys."""
        self._database = database
        self._settings = settings
        self._cache: dict[str, _Cached] = {}
        self._writing: set[asyncio.Task[None]] = set()

    async def verify(self, text: str | None) -> Key:
        """Return the key of a request.

        Raises:
            ApiError: there is no such key, or it expired or was revoked (401); or Postgres does not answer (503).
        """
        prefix = prefix_of(text)
        if text is None or prefix is None:
            raise _UNKNOWN
        digest = digest_of(text)
        now = time.monotonic()
        cached = self._cache.get(digest)
        if cached is None or now - cached.read_at > self._settings.key_cache_s:
            cached = await self._read(prefix, digest, cached, now)
        if cached.expires_at is not None and cached.expires_at <= datetime.now(UTC):
            raise _UNKNOWN
        if now - cached.used_at > _USED_EVERY_S:
            cached.used_at = now
            writing = asyncio.create_task(self._note_use(cached))
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
        return cached.key

    def is_cached(self, text: str | None) -> bool:
        """Return whether a key needs no query: it was verified within ``key_cache_s``."""
        cached = None if text is None else self._cache.get(digest_of(text))
        return cached is not None and time.monotonic() - cached.read_at <= self._settings.key_cache_s

    async def _note_use(self, cached: _Cached) -> None:
        """Write the time of a key's last use; no request waits for it."""
        try:
            await self._database.rows(_USED, {"prefix": cached.key.prefix})
        except ApiError:
            cached.used_at = float("-inf")  # a later request writes it

    async def _read(self, prefix: str, digest: str, cached: _Cached | None, now: float) -> _Cached:
        try:
            # A key that was verified before does not wait for a slow database.
            limit_s = float("inf") if cached is None else LOOK_UP_S
            found = await self._database.rows(_ROW, {"prefix": prefix}, limit_s)
        except ApiError:
            if cached is not None and now - cached.read_at <= self._settings.key_grace_s:
                return cached
            raise
        row: dict[str, Any] = found[0] if found else {"key_sha256": "", "revoked_at": None}
        if not hmac.compare_digest(row["key_sha256"], digest) or row["revoked_at"] is not None:
            self._cache.pop(digest, None)
            raise _UNKNOWN
        teams = None if row["teams"] is None else frozenset(row["teams"])
        key = Key(prefix, row["name"], frozenset(row["scopes"]), row["rate_per_s"], teams)
        if len(self._cache) >= _MOST_CACHED:
            self._cache.clear()
        used = float("-inf") if cached is None else cached.used_at
        self._cache[digest] = _Cached(key, row["expires_at"], now, used)
        return self._cache[digest]


def prefix_of(text: str | None) -> str | None:
    """Return the prefix of a key, ``None`` for a text that is no key.

    >>> prefix_of("sfk_gateway123_secret"), prefix_of("secret")
    ('gateway123', None)
    """
    parts = (text or "").split("_", 2)
    is_key = len(parts) == _PARTS and parts[0] == "sfk" and parts[1].isalnum() and parts[1].isascii()
    return parts[1] if is_key and len(parts[1]) <= 2 * _PREFIX_BYTES else None


def digest_of(text: str) -> str:
    """Return the stored form of a key: its SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def create_key(
    dsn: str,
    name: str,
    scopes: Collection[Scope],
    *,
    created_by: str,
    days: int | None = None,
    rate_per_s: int | None = None,
    teams: Collection[str] | None = None,
) -> str:
    """Make a key and return it. Only its hash is stored, so it cannot be shown again.

    Args:
        dsn: connection string of the owner.
        name: who uses the key, for lists.
        scopes: what it may do; at least one.
        created_by: the user who makes it.
        days: validity in days, ``None`` for no end.
        rate_per_s: requests per second, ``None`` for the default.
        teams: the teams whose cases the key sees, ``None`` for all.
    """
    prefix = secrets.token_hex(_PREFIX_BYTES)
    text = f"sfk_{prefix}_{secrets.token_urlsafe(32)}"
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "INSERT INTO api.keys (prefix, key_sha256, name, scopes, rate_per_s, created_by, expires_at, teams) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                prefix,
                digest_of(text),
                name,
                sorted(scopes),
                rate_per_s,
                created_by,
                expires,
                None if teams is None else sorted(teams),
            ),
        )
        until = "none" if expires is None else f"{expires:%Y-%m-%dT%H:%M:%SZ}"
        seen = "all" if teams is None else ",".join(sorted(teams))
        detail = f"{prefix} name={name} scopes={','.join(sorted(scopes))} teams={seen} until={until}"
        add_change(connection, created_by, "api.key.created", detail)
    return text


def list_keys(dsn: str) -> list[dict[str, Any]]:
    """Return all keys, oldest first, without their hashes."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT prefix, name, scopes, teams, rate_per_s, created_at, created_by, expires_at, revoked_at, "
            "last_used_at FROM api.keys ORDER BY created_at, prefix"
        ).fetchall()


def revoke_key(dsn: str, prefix: str, by: str) -> None:
    """Revoke a key; a key that is revoked already stays as it is.

    Raises:
        UserError: there is no key with this prefix.
    """
    with psycopg.connect(dsn) as connection:
        changed = connection.execute(
            "UPDATE api.keys SET revoked_at = coalesce(revoked_at, now()), revoked_by = coalesce(revoked_by, %s) "
            "WHERE prefix = %s",
            (by, prefix),
        )
        if changed.rowcount == 0:
            raise UserError(f"there is no API key with the prefix {prefix}", "see `streamflow api keys list`")
        add_change(connection, by, "api.key.revoked", prefix)
