"""Verifies signed tokens (JWT): signature, issuer, audience, times. The algorithm is that of the settings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from joserfc import jws, jwt
from joserfc.errors import JoseError

from api.errors import ApiError
from api.identity.public_keys import PublicKeys, keys_of, keys_of_file, read_json
from api.keys import Key, Scope

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

    from api.identity.settings import JwtSettings

LONGEST_TOKEN: Final = 16_384
LONGEST_SUBJECT: Final = 128
_INVALID: Final = ApiError(
    401,
    "token_invalid",
    "the token is not valid: wrong signature, issuer, audience or time",
    "get a new token from the issuer, for the audience of this API",
    headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
)


class InvalidTokenError(Exception):
    """A token is not valid; the text says why, for the log only."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a valid token has."""

    issuer: str
    audience: str
    algorithms: Collection[str]
    leeway_s: int


async def claims_of(text: str, keys: PublicKeys, rules: Rules) -> dict[str, Any]:
    """Return the claims of a token.

    Raises:
        InvalidTokenError: it is not valid.
        ApiError: the public keys cannot be read (503).
    """
    if len(text) > LONGEST_TOKEN:
        raise InvalidTokenError("too long")
    try:
        header = jws.extract_compact(text.encode("ascii")).headers()
        if header.get("alg") not in rules.algorithms:
            raise InvalidTokenError("algorithm")
        kid = header.get("kid")
        known = await keys.for_key(kid if isinstance(kid, str) else None)
        # A key of a PEM file has no id of the issuer; with one key, its signature decides alone.
        only = known.keys[0] if len(known.keys) == 1 else known
        token = jwt.decode(text, only, algorithms=list(rules.algorithms))
        jwt.JWTClaimsRegistry(
            leeway=rules.leeway_s,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "value": rules.audience},
            exp={"essential": True},
            sub={"essential": True},
        ).validate(token.claims)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise InvalidTokenError(type(error).__name__) from error
    return token.claims


def is_token(text: str | None) -> bool:
    """Return whether a text has the form of a signed token.

    >>> is_token("eyJh.eyJz.c2ln"), is_token("sfk_a_b.c.d")
    (True, False)
    """
    return text is not None and text.startswith("ey") and text.count(".") == 2  # noqa: PLR2004 - of three parts


class ServiceTokens:
    """Turns the tokens of services into callers with the scopes of API keys."""

    def __init__(self, settings: JwtSettings) -> None:
        """Use an issuer; its keys are read with the first token."""
        assert settings.issuer is not None  # noqa: S101 - checked by the caller
        assert settings.audience is not None  # noqa: S101 - the settings are complete
        self._settings = settings
        self._rules = Rules(settings.issuer, settings.audience, settings.algorithms, settings.leeway_s)
        self._keys = PublicKeys(self._read)

    async def _read(self) -> KeySet:
        if self._settings.jwks_url is not None:
            return keys_of(await read_json(self._settings.jwks_url))
        assert self._settings.key_file is not None  # noqa: S101 - the settings are complete
        return keys_of_file(self._settings.key_file)

    async def verify(self, text: str) -> Key:
        """Return the caller of a token.

        Raises:
            ApiError: the token is not valid (401), or the issuer's keys cannot be read (503).
        """
        try:
            claims = await claims_of(text, self._keys, self._rules)
        except InvalidTokenError:
            raise _INVALID from None
        subject = claims["sub"]
        if not subject or len(subject) > LONGEST_SUBJECT or not subject.isprintable():
            raise _INVALID
        scopes = frozenset(_words(claims.get(self._settings.scopes_claim))) & frozenset(Scope)
        teams = self._settings.teams_claim
        return Key(
            f"service:{subject}",
            subject,
            scopes,
            teams=None if teams is None else frozenset(_words(claims.get(teams))),
        )


def _words(claim: object) -> list[str]:
    """Return the words of a claim; it is a text with spaces, or a list."""
    if isinstance(claim, str):
        return claim.split()
    return [item for item in claim if isinstance(item, str)] if isinstance(claim, list) else []
