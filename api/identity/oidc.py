"""Login of people by an OpenID Connect server: the authorization code flow with PKCE, state and nonce.

An open login is a row of ``api.oidc_logins``, so any replica can finish it. It belongs to one browser, is used once and
expires after ten minutes.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc.errors import JoseError

from api.console.accounts import LONGEST_NAME, digest_of
from api.console.roles import Identity, Role
from api.database import Database
from api.errors import ApiError, unavailable
from api.identity.public_keys import TIMEOUT_S, PublicKeys, keys_of, read_json
from api.identity.settings import OidcSettings, is_loopback
from api.identity.tokens import InvalidTokenError, Rules, claims_of

CALLBACK: Final = "/console/login/callback"
METADATA_S: Final = 3_600.0
LOGIN_MINUTES: Final = 10
LONGEST_DISPLAY_NAME: Final = 100
_BEGIN: Final = """
    INSERT INTO api.oidc_logins (state_sha256, browser_sha256, nonce, verifier, target, expires_at)
    VALUES (%(state)s, %(browser)s, %(nonce)s, %(verifier)s, %(target)s,
        now() + make_interval(mins => %(minutes)s))
"""
_FINISH: Final = """
    DELETE FROM api.oidc_logins WHERE state_sha256 = %(state)s AND browser_sha256 = %(browser)s AND expires_at > now()
    RETURNING nonce, verifier, target
"""
_DELETE_OLD: Final = "DELETE FROM api.oidc_logins WHERE expires_at <= now()"
_ACCOUNT: Final = """
    SELECT account_name, outcome
    FROM api.oidc_account(%(issuer)s, %(subject)s, %(name)s, %(display)s, %(roles)s, %(link)s)
"""
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9._-]+")


class RefusedError(Exception):
    """The login is refused; the text is for the person who logs in."""


class Begun(NamedTuple):
    """An open login: the page of the OIDC server, and the secret for the cookie of this browser."""

    address: str
    browser: str


class Finished(NamedTuple):
    """A finished login: the person, the page that the person asked for, and what happened to the account."""

    identity: Identity
    target: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """Addresses of the OIDC server."""

    authorization: str
    token: str
    keys: str
    end_session: str | None
    userinfo: str | None


class OidcProvider:
    """Logs people in by one OIDC server."""

    def __init__(self, database: Database, settings: OidcSettings) -> None:
        """Use a server; nothing connects before the first login."""
        assert settings.issuer is not None  # noqa: S101 - checked by the caller
        assert settings.client_id is not None  # noqa: S101 - the settings are complete
        self.settings = settings
        self._database = database
        self._issuer, self._client_id = settings.issuer, settings.client_id
        self._rules = Rules(self._issuer, self._client_id, settings.algorithms, settings.leeway_s)
        self._keys = PublicKeys(self._read_keys)
        self._metadata: Metadata | None = None
        self._metadata_at = float("-inf")

    @property
    def origin(self) -> str:
        """Scheme, host and port of the OIDC server."""
        parts = urlsplit(self._issuer)
        return f"{parts.scheme}://{parts.netloc}"

    async def begin(self, target: str) -> Begun:
        """Begin a login that leads to a page of the console.

        Raises:
            ApiError: the OIDC server or the database does not answer (503).
        """
        metadata = await self._discover()
        state, nonce, verifier, browser = (secrets.token_urlsafe(32) for _ in range(4))
        await self._database.rows(_DELETE_OLD, {})
        await self._database.rows(
            _BEGIN,
            {
                "state": digest_of(state),
                "browser": digest_of(browser),
                "nonce": nonce,
                "verifier": verifier,
                "target": target,
                "minutes": LOGIN_MINUTES,
            },
        )
        async with self._client() as client:
            address, _ = client.create_authorization_url(
                metadata.authorization, state=state, nonce=nonce, code_verifier=verifier
            )
        return Begun(address, browser)

    async def finish(self, answer: Mapping[str, str], browser: str | None) -> Finished:
        """Finish a login with the answer of the OIDC server.

        Raises:
            RefusedError: the answer does not belong to a login of this browser, or the person may not log in.
            ApiError: the OIDC server or the database does not answer (503).
        """
        opened = await self._database.rows(
            _FINISH, {"state": digest_of(answer.get("state", "")), "browser": digest_of(browser or "")}
        )
        if not opened or not browser:
            raise RefusedError("This login was not begun here, or is too old. Begin again.")
        if answer.get("iss", self._issuer).rstrip("/") != self._issuer:
            raise RefusedError("Another server answered this login. Begin again.")
        if "code" not in answer:
            raise RefusedError("The login was not completed at the identity provider. Begin again.")
        claims = await self._claims(answer["code"], opened[0]["verifier"], opened[0]["nonce"])
        identity, outcome = await self._account(claims)
        return Finished(identity, str(opened[0]["target"]), outcome)

    async def logout_address(self) -> str | None:
        """Return the page that also ends the session at the OIDC server; ``None`` if it has none or does not answer."""
        try:
            end = (await self._discover()).end_session
        except ApiError:
            return None
        if end is None:
            return None
        back = f"{self.settings.public_url}/console/login"
        query = {"client_id": self._client_id, "post_logout_redirect_uri": back}
        return str(httpx2.URL(end).copy_merge_params(query))

    # ---- the OIDC server

    def _client(self, **more: Any) -> Any:  # noqa: ANN401 - Authlib has no types
        secret = self.settings.client_secret
        return AsyncOAuth2Client(
            client_id=self._client_id,
            client_secret=None if secret is None else secret.get_secret_value(),
            token_endpoint_auth_method="none" if secret is None else "client_secret_basic",
            scope=self.settings.scopes,
            redirect_uri=f"{self.settings.public_url}{CALLBACK}",
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
            follow_redirects=False,
            **more,
        )

    async def _discover(self) -> Metadata:
        if self._metadata is None or time.monotonic() - self._metadata_at > METADATA_S:
            found = await read_json(f"{self._issuer}/.well-known/openid-configuration")
            if str(found.get("issuer", "")).rstrip("/") != self._issuer:
                raise unavailable("the identity provider")
            self._metadata = Metadata(
                _address(found, "authorization_endpoint"),
                _address(found, "token_endpoint"),
                _address(found, "jwks_uri"),
                _address(found, "end_session_endpoint") if "end_session_endpoint" in found else None,
                _address(found, "userinfo_endpoint") if "userinfo_endpoint" in found else None,
            )
            self._metadata_at = time.monotonic()
        return self._metadata

    async def _read_keys(self) -> Any:  # noqa: ANN401 - a set of keys
        return keys_of(await read_json((await self._discover()).keys))

    async def _claims(self, code: str, verifier: str, nonce: str) -> dict[str, Any]:
        """Exchange the code and return the verified claims of the person."""
        metadata = await self._discover()
        try:
            async with self._client() as client:
                token = await client.fetch_token(metadata.token, code=code, code_verifier=verifier)
                claims = await claims_of(str(token.get("id_token", "")), self._keys, self._rules)
                self._check(claims, nonce)
                if metadata.userinfo is not None and self.settings.roles_claim not in claims:
                    more = (await client.get(metadata.userinfo)).json()
                    # A server may leave groups out of the ID token; the subject shows that this is the same person.
                    claims = {**more, **claims} if more.get("sub") == claims["sub"] else claims
        except (OAuthError, InvalidTokenError, JoseError, ValueError):
            raise RefusedError("The identity provider did not confirm this login. Begin again.") from None
        except httpx2.HTTPError:
            raise unavailable("the identity provider") from None
        return claims

    def _check(self, claims: Mapping[str, Any], nonce: str) -> None:
        """Refuse an ID token of another login or for another client."""
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise InvalidTokenError("nonce")
        if claims.get("azp", self._client_id) != self._client_id:
            raise InvalidTokenError("azp")

    # ---- the account

    async def _account(self, claims: Mapping[str, Any]) -> tuple[Identity, str]:
        roles = self.roles_of(claims)
        name = account_name(claims, self.settings.name_claim)
        display = str(claims.get("name") or name).strip()[:LONGEST_DISPLAY_NAME] or name
        found = await self._database.rows(
            _ACCOUNT,
            {
                "issuer": self._issuer,
                "subject": claims["sub"],
                "name": name,
                "display": display,
                "roles": sorted(roles),
                "link": self.settings.link_accounts,
            },
        )
        outcome = str(found[0]["outcome"])
        if outcome == "no_role":
            raise RefusedError("None of your groups has a role here. Ask an administrator.")
        if outcome == "name_taken":
            raise RefusedError(f"The account name {name} belongs to someone else here. Ask an administrator.")
        if outcome == "disabled":
            raise RefusedError("This account is disabled. Ask an administrator.")
        return Identity(str(found[0]["account_name"]), display, roles), outcome

    def roles_of(self, claims: Mapping[str, Any]) -> frozenset[Role]:
        """Return the roles of a person's groups; groups without a role are left out."""
        groups = claims.get(self.settings.roles_claim)
        names = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return frozenset(self.settings.roles[name] for name in names if name in self.settings.roles)


def account_name(claims: Mapping[str, Any], claim: str) -> str:
    """Return the name of a new account: of a claim, without the domain of an e-mail address.

    >>> account_name({"preferred_username": "Ada.Lovelace@bank.example", "sub": "7"}, "preferred_username")
    'ada.lovelace'
    >>> account_name({"sub": "00u1"}, "preferred_username")
    'u-00u1'
    """
    text = str(claims.get(claim) or "").partition("@")[0]
    name = _NOT_IN_NAMES.sub("-", text.lower()).strip("-._")
    if not name or not name[0].isalpha():
        name = "u-" + (_NOT_IN_NAMES.sub("-", str(name or claims["sub"]).lower()).strip("-._") or "unnamed")
    return name[:LONGEST_NAME]


def _address(document: Mapping[str, Any], name: str) -> str:
    """Return an address of the server's metadata; it must be HTTPS, or on this machine."""
    text = document.get(name)
    url = httpx2.URL(text) if isinstance(text, str) else httpx2.URL("")
    if url.scheme == "https" or (url.scheme == "http" and is_loopback(url.host)):
        return str(text)
    raise unavailable("the identity provider")
