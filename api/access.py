"""Who may call a route: a valid key with the route's scope, within its rate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import RateLimitItemPerSecond

from api.errors import ApiError
from api.identity.tokens import is_token
from api.keys import Key, Scope
from api.rates import Counters
from api.services import Services, services_of

_BEARER: Final = HTTPBearer(
    auto_error=False,
    description="an API key (`streamflow api keys create` makes one), or a signed token of the configured issuer",
)
_FAILURES_PER_S: Final = RateLimitItemPerSecond(10)


class RateLimits:
    """Counts requests per key and route, requests per address, and failed keys per address."""

    def __init__(self, counters: Counters, default_per_s: int, address_per_s: int | None = None) -> None:
        """Set the rate of keys without a rate of their own, and that of addresses (``None``: no limit)."""
        self._default_per_s = default_per_s
        self._of_address = None if address_per_s is None else RateLimitItemPerSecond(address_per_s)
        self._counters = counters

    async def count_address(self, address: str) -> None:
        """Count a request of an address.

        Raises:
            ApiError: the address is over its rate (429).
        """
        if self._of_address is not None and not await self._counters.hit_open(self._of_address, "address", address):
            raise _too_many(f"more than {self._of_address.amount} requests of one address within one second")

    async def check_address(self, address: str) -> None:
        """Refuse an address that sent many wrong keys within one second.

        Raises:
            ApiError: too many (429).
        """
        if not await self._counters.test_open(_FAILURES_PER_S, "failed", address):
            raise _too_many("too many requests without a valid key")

    async def count_failure(self, address: str) -> None:
        """Count a wrong key."""
        await self._counters.hit_open(_FAILURES_PER_S, "failed", address)

    async def count(self, key: Key, route: str) -> None:
        """Count a request of a key to a route.

        Raises:
            ApiError: the key is over its rate (429).
        """
        rate = RateLimitItemPerSecond(key.rate_per_s or self._default_per_s)
        if not await self._counters.hit_open(rate, "key", key.prefix, route):
            raise _too_many(f"more than {rate.amount} requests to {route} within one second")


def _too_many(what: str) -> ApiError:
    return ApiError(429, "rate_limited", what, "wait a second, or ask for a key with a higher rate", headers=_RETRY)


_RETRY: Final = {"Retry-After": "1"}


async def _caller(services: Services, credential: str | None) -> Key:
    """Return the caller of a key or a signed token."""
    if services.tokens is not None and credential is not None and is_token(credential):
        return await services.tokens.verify(credential)
    return await services.keys.verify(credential)


def requires(scope: Scope) -> Callable[..., Awaitable[Key]]:
    """Return a dependency that gives a route its caller's key.

    The key must be valid (else 401), within its rate (else 429), and have the scope (else 403).
    """

    async def check(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
    ) -> Key:
        services = services_of(request)
        address = request.client.host if request.client else ""
        credential = credentials.credentials if credentials else None
        await services.rates.count_address(address)
        if not services.keys.is_cached(credential):  # a key that was verified before is no guess
            await services.rates.check_address(address)
        try:
            key = await _caller(services, credential)
        except ApiError as error:
            if error.status == HTTPStatus.UNAUTHORIZED:
                await services.rates.count_failure(address)
            raise
        await services.rates.count(key, request.scope["route"].path)
        if scope not in key.scopes:
            raise ApiError(
                403,
                "scope_missing",
                f"the caller {key.prefix} lacks the scope {scope.value}",
                "make a key with this scope: `streamflow api keys create --scope ...`, or get a token with it",
            )
        return key

    return check
