"""Who looks at cases, and what they may see of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from api.documents import Decision

_SHOWN: Final = 2
_SHORTEST: Final = 8


@dataclass(frozen=True, slots=True)
class Viewer:
    """A person or a program that works on cases."""

    actor: str
    """Name in events and audits, such as ``key:a1b2c3`` or ``user:ada``."""
    request_id: str
    teams: frozenset[str] | None = None
    """The teams whose cases exist for this viewer; ``None`` for all."""
    sees_customers: bool = False
    """Whether customer ids are shown outside of the viewer's own cases."""

    @property
    def team_list(self) -> list[str] | None:
        """The teams as a query parameter."""
        return None if self.teams is None else sorted(self.teams)

    def shows_customer(self, case: Mapping[str, Any]) -> bool:
        """Return whether the viewer sees the customer id of a case."""
        return self.sees_customers or case["assignee"] == self.actor

    def customer_of(self, case: Mapping[str, Any]) -> str:
        """Return the customer id of a case, masked where the viewer may not see it."""
        customer: str = case["customer_id"]
        return customer if self.shows_customer(case) else masked(customer)


def masked_ids(decision: Decision) -> dict[str, str | None]:
    """Return the ids of the cardholder's things in a decision, masked like the customer id."""
    ids = {"device": decision.device, "card": decision.card, "ip": decision.ip}
    return {name: None if value is None else masked(value) for name, value in ids.items()}


def masked(customer_id: str) -> str:
    """Return an id of which only the ends are readable; of a short one, nothing.

    >>> masked("customer-0017"), masked("c-17")
    ('cu***17', '***')
    """
    if len(customer_id) < _SHORTEST:
        return "***"
    return f"{customer_id[:_SHOWN]}***{customer_id[-_SHOWN:]}"
