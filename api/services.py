"""The parts that the routes share; one value per process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

from fastapi import Request

if TYPE_CHECKING:
    from api.access import RateLimits
    from api.answers import Answers
    from api.cases.accounts import Accounts
    from api.cases.service import Cases
    from api.database import Database
    from api.deciding import Decider
    from api.decisions import Decisions
    from api.identity.oidc import OidcProvider
    from api.identity.tokens import ServiceTokens
    from api.in_force import Watch
    from api.keys import KeyRing
    from api.lane import Lane
    from api.measures import ApiMetrics
    from api.rates import Counters
    from api.settings import ApiSettings
    from api.tracing import Tracing


class Worker(Protocol):
    """A loop of its own."""

    async def run(self) -> None:
        """Run until cancelled."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a route needs."""

    settings: ApiSettings
    database: Database
    decisions: Decisions
    answers: Answers
    cases: Cases
    accounts: Accounts
    decider: Decider
    lane: Lane | None
    """``None`` in tests that replace Kafka."""
    keys: KeyRing
    rates: RateLimits
    counters: Counters
    watch: Watch
    metrics: ApiMetrics
    tokens: ServiceTokens | None = None
    """Verifies signed tokens of services; ``None`` if no issuer is configured."""
    oidc: OidcProvider | None = None
    """Logs people in at an OIDC server; ``None`` if none is configured."""
    tracing: Tracing | None = None
    """Makes spans; ``None`` if none are exported."""
    workers: tuple[Worker, ...] = ()
    """What runs in the background for as long as the application."""


def services_of(request: Request) -> Services:
    """Return the services of the application that serves a request."""
    return cast("Services", request.app.state.services)


def request_id_of(request: Request) -> str:
    """Return the id of a request; logs, errors and audits have it."""
    return cast("str", request.state.request_id)
