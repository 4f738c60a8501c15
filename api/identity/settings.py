"""The settings of logins by OpenID Connect (``STREAMFLOW_OIDC_*``) and of signed tokens (``STREAMFLOW_JWT_*``)."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from api.console.roles import Role

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""Signatures with a private key only: ``none`` and shared secrets cannot be chosen."""
LEAST_SAFE: Final[tuple[Algorithm, ...]] = ("RS256", "ES256")


def _safe_url(text: str) -> str:
    """Return an address without its last slash.

    Raises:
        ValueError: it is no HTTPS address; HTTP is allowed to this machine only.
    """
    parts = urlsplit(text)
    if parts.scheme == "https" and parts.hostname:
        return text.rstrip("/")
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return text.rstrip("/")
    raise ValueError("must begin with https:// (http:// only to this machine)")


def is_loopback(host: str) -> bool:
    """Return whether a host name is this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("sso.example.org")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


SafeUrl = Annotated[str, AfterValidator(_safe_url)]


class _Group(BaseSettings):
    """A group of settings with a prefix of its own."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, validate_default=True)

    def masked(self) -> dict[str, str]:
        """Return every setting by its environment variable, with secrets masked."""
        prefix = self.model_config["env_prefix"]
        return {f"{prefix}{name.upper()}": str(getattr(self, name)) for name in type(self).model_fields}


class OidcSettings(_Group):
    """Login of people by an OpenID Connect server. ``docs/api.md`` has the table."""

    model_config = SettingsConfigDict(env_prefix="STREAMFLOW_OIDC_")

    issuer: SafeUrl | None = Field(default=None, description="address of the OIDC server; default: no login by OIDC")
    client_id: str | None = Field(default=None, description="name of the console at the OIDC server")
    client_secret: SecretStr | None = Field(
        default=None, description="secret of the console at the OIDC server; default: a public client, with PKCE only"
    )
    public_url: SafeUrl | None = Field(
        default=None,
        description="address of the API for browsers; register `<address>/console/login/callback` at the OIDC server",
    )
    scopes: str = Field(default="openid profile email", description="scopes to ask for")
    name_claim: str = Field(default="preferred_username", description="claim with the name of the account")
    roles_claim: str = Field(default="groups", description="claim with the groups of the person")
    roles: dict[str, Role] = Field(
        default_factory=dict, description='JSON object from group to role, such as `{"fraud-desk": "analyst"}`'
    )
    algorithms: list[Algorithm] = Field(
        default=list(LEAST_SAFE), min_length=1, description="JSON list of signature algorithms of ID tokens"
    )
    leeway_s: int = Field(default=30, ge=0, le=300, description="accepted difference of clocks in seconds")
    link_accounts: bool = Field(
        default=False,
        description="the first login takes over an account of the same name that the command line made; set it only if "
        "persons cannot choose their name at the OIDC server",
    )
    password_login: bool = Field(
        default=True, description="`false`: no login with a password; one-time logins still work"
    )
    provider_name: str = Field(default="your organisation", description="name of the OIDC server on the login page")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.issuer and not (self.client_id and self.public_url and self.roles):
            raise ValueError(
                "STREAMFLOW_OIDC_ISSUER needs STREAMFLOW_OIDC_CLIENT_ID, STREAMFLOW_OIDC_PUBLIC_URL and "
                "STREAMFLOW_OIDC_ROLES"
            )
        if not self.issuer and not self.password_login:
            raise ValueError("STREAMFLOW_OIDC_PASSWORD_LOGIN=false needs STREAMFLOW_OIDC_ISSUER")
        if "openid" not in self.scopes.split():
            raise ValueError("STREAMFLOW_OIDC_SCOPES must have the scope openid")
        return self


class JwtSettings(_Group):
    """Signed tokens (JWT) with which services call the API. ``docs/api.md`` has the table."""

    model_config = SettingsConfigDict(env_prefix="STREAMFLOW_JWT_")

    issuer: str | None = Field(default=None, description="claim `iss` of valid tokens; default: no signed tokens")
    audience: str | None = Field(default=None, description="claim `aud` of valid tokens: the name of this API")
    jwks_url: SafeUrl | None = Field(default=None, description="address of the issuer's public keys (a JWK set)")
    key_file: Path | None = Field(default=None, description="file with public keys, PEM or a JWK set, instead of a URL")
    algorithms: list[Algorithm] = Field(
        default=list(LEAST_SAFE), min_length=1, description="JSON list of valid signature algorithms"
    )
    scopes_claim: str = Field(default="scope", description="claim with the scopes: words, or a list")
    teams_claim: str | None = Field(
        default=None, description="claim with the teams whose cases the service sees; default: it sees every team"
    )
    leeway_s: int = Field(default=30, ge=0, le=300, description="accepted difference of clocks in seconds")

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.issuer and not (self.audience and (self.jwks_url is None) != (self.key_file is None)):
            raise ValueError(
                "STREAMFLOW_JWT_ISSUER needs STREAMFLOW_JWT_AUDIENCE, and either STREAMFLOW_JWT_JWKS_URL or "
                "STREAMFLOW_JWT_KEY_FILE"
            )
        return self
