"""The roles of people, and what each role may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """The role of a person; a person may have several."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    SENIOR = "senior"
    RULES_EDITOR = "rules-editor"
    APPROVER = "approver"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Permission(StrEnum):
    """What a page or a form needs."""

    CASES_READ = "cases:read"
    """Read the queue, cases and the live feed; customers of one's own cases."""
    CUSTOMERS_READ = "customers:read"
    """Read every customer; without it, customer ids outside of one's own cases are masked."""
    CASES_WRITE = "cases:write"
    """Claim cases, write notes and verdicts, snooze; watch the customer of a case."""
    ACCOUNTS_WRITE = "accounts:write"
    """Block, allow and clear the customer of a case, suppress a rule."""
    OPERATIONS_READ = "operations:read"
    """Read dead letters and the health of the system."""
    RULES_READ = "rules:read"
    """Read rules and models."""
    RULES_PROPOSE = "rules:propose"
    """Propose a change of the rules."""
    RULES_TEST = "rules:test"
    """Backtest a proposal on recorded decisions."""
    DEAD_LETTERS_REDRIVE = "dead-letters:redrive"
    """Send the records of dead letters again."""
    RULES_APPROVE = "rules:approve"
    """Approve or refuse a change that another person proposed."""
    MODELS_REQUEST = "models:request"
    """Request a promotion of a model."""
    MODELS_ROLL_BACK = "models:roll-back"
    """Request a rollback of the champion."""
    MODELS_APPROVE = "models:approve"
    """Approve or refuse a request about models of another person; roll back alone where it is urgent."""


_READS: Final = frozenset({Permission.CASES_READ, Permission.RULES_READ, Permission.OPERATIONS_READ})
PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.VIEWER: frozenset({Permission.RULES_READ, Permission.OPERATIONS_READ}),
    Role.ANALYST: _READS | {Permission.CASES_WRITE},
    Role.SENIOR: _READS
    | {
        Permission.CASES_WRITE,
        Permission.ACCOUNTS_WRITE,
        Permission.CUSTOMERS_READ,
        Permission.DEAD_LETTERS_REDRIVE,
    },
    Role.RULES_EDITOR: frozenset(
        {
            Permission.RULES_READ,
            Permission.OPERATIONS_READ,
            Permission.RULES_PROPOSE,
            Permission.RULES_TEST,
            Permission.MODELS_REQUEST,
            Permission.MODELS_ROLL_BACK,
        }
    ),
    Role.APPROVER: frozenset(
        {
            Permission.RULES_READ,
            Permission.OPERATIONS_READ,
            Permission.RULES_APPROVE,
            Permission.RULES_TEST,
            Permission.MODELS_ROLL_BACK,
            Permission.MODELS_APPROVE,
        }
    ),
    Role.AUDITOR: _READS | {Permission.CUSTOMERS_READ},
    Role.ADMIN: frozenset({Permission.OPERATIONS_READ, Permission.RULES_READ, Permission.DEAD_LETTERS_REDRIVE}),
}
"""A viewer and an administrator see no customer data."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A person who has logged in: with a password, a one-time token, or at an OIDC server.

    Attributes:
        name: the name of the account; audits have it.
        display_name: the name on the pages.
        roles: the person's roles.
    """

    name: str
    display_name: str
    roles: frozenset[Role]

    @property
    def actor(self) -> str:
        """The person in audits and events."""
        return f"user:{self.name}"

    def may(self, permission: Permission) -> bool:
        """Return whether one of the roles has a permission."""
        return any(permission in PERMISSIONS[role] for role in self.roles)


def known_roles(names: Iterable[str]) -> frozenset[Role]:
    """Return the roles of an account; a role of a newer release is left out and gives no rights."""
    known = {role.value for role in Role}
    return frozenset(Role(name) for name in names if name in known)
