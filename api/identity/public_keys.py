"""The public keys of an issuer: read from its address or a file, kept, and read again when a token names a new key."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import httpx2
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from api.errors import ApiError, unavailable

FRESH_S: Final = 300.0
"""Keys are read again after this time; a key that the issuer took back is invalid then."""
LONGEST_S: Final = 3_600.0
"""Keys are used for this time while the issuer does not answer."""
RETRY_S: Final = 10.0
"""Shortest time between two reads, however many tokens name unknown keys."""
TIMEOUT_S: Final = 3.0
LARGEST_BYTES: Final = 1_048_576


async def read_json(url: str) -> dict[str, Any]:
    """Return a JSON object from an address.

    Raises:
        ApiError: the server does not answer with one (503).
    """
    try:
        async with httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False) as http:
            answer = await http.get(url, headers={"Accept": "application/json"})
        if answer.status_code != httpx2.codes.OK or len(answer.content) > LARGEST_BYTES:
            raise unavailable("the identity provider")
        found = answer.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise unavailable("the identity provider") from error
    if not isinstance(found, dict):
        raise unavailable("the identity provider")
    return found


def keys_of(document: dict[str, Any]) -> KeySet:
    """Return the keys of a JWK set that verify signatures; other kinds and shared secrets are left out.

    Raises:
        ApiError: there is none (503).
    """
    found: list[Any] = []
    items = document.get("keys")
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and item.get("use", "sig") == "sig" and item.get("kty") in {"RSA", "EC"}:
            kind: Any = RSAKey if item["kty"] == "RSA" else ECKey
            try:
                found.append(kind.import_key(item))
            except (JoseError, ValueError, KeyError):
                continue
    if not found:
        raise unavailable("the identity provider")
    return KeySet(found)


def keys_of_file(path: Path) -> KeySet:
    """Return the keys of a file: a JWK set, or one public key in PEM."""
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        return keys_of(json.loads(text))
    try:
        return KeySet([RSAKey.import_key(text)])
    except (JoseError, ValueError):
        return KeySet([ECKey.import_key(text)])


class PublicKeys:
    """The keys of one issuer."""

    def __init__(self, read: Callable[[], Awaitable[KeySet]], clock: Callable[[], float] = time.monotonic) -> None:
        """Use a function that reads the keys; nothing is read before the first token."""
        self._read = read
        self._clock = clock
        self._keys: KeySet | None = None
        self._read_at = self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def for_key(self, kid: str | None) -> KeySet:
        """Return the keys; they are read again if they are old, or if none has the id that a token names.

        Raises:
            ApiError: the issuer does not answer, and no recent keys are known (503).
        """
        if not self._is_good(kid):
            async with self._lock:
                if not self._is_good(kid) and self._clock() - self._tried_at >= RETRY_S:
                    await self._refresh()
        if self._keys is None or self._clock() - self._read_at > LONGEST_S:
            raise unavailable("the identity provider")
        return self._keys

    def _is_good(self, kid: str | None) -> bool:
        if self._keys is None or self._clock() - self._read_at > FRESH_S:
            return False
        return kid is None or any(key.kid == kid for key in self._keys.keys)

    async def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = await self._read()
            self._read_at = self._clock()
        except (ApiError, OSError, ValueError):
            if self._keys is None:
                raise unavailable("the identity provider") from None
