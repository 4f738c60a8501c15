"""Requests about models without servers: states, roles, the gate on recorded decisions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api.console.roles import PERMISSIONS, Permission, Role
from api.model_requests.service import state_of

AT = datetime(2026, 11, 28, tzinfo=UTC)
REQUEST: dict[str, Any] = {
    "kind": "promotion", "status": "requested", "gate_passed": None, "taken_at": None, "decided_at": None,
    "outcome": None,
}  # fmt: skip
APPROVED = {"status": "approved", "gate_passed": True, "decided_at": AT}


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "waits for the gate"),
        ({"taken_at": AT}, "the gate runs"),
        ({"gate_passed": True}, "waits for approval"),
        ({"gate_passed": False}, "refused by the gate"),
        ({"kind": "rollback"}, "waits for approval"),
        ({"status": "withdrawn", "gate_passed": True}, "withdrawn"),
        (APPROVED, "approved"),
        (APPROVED | {"taken_at": AT - timedelta(seconds=1)}, "approved"),
        (APPROVED | {"taken_at": AT + timedelta(seconds=1)}, "running"),
        (APPROVED | {"outcome": "done"}, "done"),
    ],
)
def test_the_state_says_what_a_request_waits_for(changes: dict[str, Any], state: str) -> None:
    assert state_of(REQUEST | changes) == state


def test_a_rules_editor_asks_and_an_approver_decides_and_may_ask_for_a_rollback_only() -> None:
    def roles(permission: Permission) -> set[Role]:
        return {role for role in Role if permission in PERMISSIONS[role]}

    assert roles(Permission.MODELS_REQUEST) == {Role.RULES_EDITOR}
    assert roles(Permission.MODELS_APPROVE) == {Role.APPROVER}
    assert roles(Permission.MODELS_ROLL_BACK) == {Role.RULES_EDITOR, Role.APPROVER}
