"""Proposes, approves, refuses and withdraws changes of the rules. Each step is one transaction with its audit entry."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any, Final, cast

import orjson
import psycopg

from api.database import Connection, Database
from api.errors import ApiError
from api.in_force import config_in_force
from api.reads import Read, add_read
from api.reasons import checked_reason, invalid, not_allowed
from api.rules import store
from api.rules.forms import values_before
from flink_jobs.core.control.blacklist import not_listed
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.messages import (
    ControlMessage,
    ControlRefusal,
    apply_control,
    parse_control,
    version_of,
)
from flink_jobs.core.documents import ControlChanges, ControlDocument
from flink_jobs.errors import UserError
from flink_jobs.kafka.control_client import encode_checked

NOT_FOUND: Final = ApiError(404, "not_found", "there is no such proposal", "see the page of the rules")
_ALLOWED: Final = frozenset({"alpha", "alert_threshold", "rules", "blacklist"})
"""Models are changed by promotion, not by a proposal."""


class Proposals:
    """The proposals of one database. Methods raise ``ApiError``."""

    def __init__(self, database: Database) -> None:
        """Use a database."""
        self._database = database

    async def propose(self, actor: str, request_id: str, changes: ControlChanges, reason: str) -> int:
        """Store a proposal and return its number.

        Raises:
            ApiError: the detector would reject the changes, or they change nothing (422); no rules editor (403).
        """
        reason = checked_reason(reason)
        async with self._database.connection() as connection, connection.transaction():
            config = await config_in_force(connection)
            check_changes(config, changes, reason)
            values = {
                "changes": changes,
                "before": values_before(config, changes),
                "base_revision": config.revision,
                "reason": reason,
                "by": actor,
            }
            try:
                number = await store.add(connection, values)
            except psycopg.errors.InsufficientPrivilege:
                raise not_allowed() from None
            await _audit(connection, actor, "rules.proposed", request_id, f"{number} revision={config.revision}")
        return number

    async def get(self, proposal_id: int, actor: str, request_id: str) -> dict[str, Any]:
        """Return a proposal with its outcome, and whether it is stale; the read is recorded if it names customers."""
        async with self._database.connection() as connection:
            row = await _existing(connection, proposal_id)
            config = await config_in_force(connection)
            if "customer" in row["changes"].get("blacklist", {}):
                async with connection.transaction():
                    await add_read(connection, Read(actor, "rules.read", None, request_id, str(proposal_id)))
        return {**row, "state": state_of(row, config.revision), "revision_now": config.revision}

    async def approve(self, actor: str, request_id: str, proposal_id: int, reason: str) -> None:
        """Approve a proposal: its control message is sent soon, at least once, with one id.

        Raises:
            ApiError: it was decided before, the rule set changed since, or another change has no outcome yet (409); the
                person proposed it, or is no approver (403).
        """
        async with self._database.connection() as connection, connection.transaction():
            row = await _open(connection, proposal_id)
            config = await config_in_force(connection)
            if row["base_revision"] != config.revision:
                raise ApiError(
                    409,
                    "proposal_stale",
                    f"the configuration changed since the proposal: revision {config.revision} is in force, "
                    f"the proposal is for revision {row['base_revision']}",
                    "refuse it, and let the proposer propose it again",
                )
            other = await store.without_outcome(connection)
            if other is not None:
                raise ApiError(
                    409,
                    "proposal_waits",
                    f"proposal {other} is approved, and the detector has not answered yet",
                    "wait until its page shows the outcome",
                )
            message = message_of(row, actor)
            values = {"status": "approved", "control_id": message["control_id"], "message": message}
            await self._decide(connection, row, actor, reason, values)
            await _audit(connection, actor, "rules.approved", request_id, f"{proposal_id} {message['control_id']}")

    async def refuse(self, actor: str, request_id: str, proposal_id: int, reason: str) -> None:
        """Refuse a proposal of another person, with a reason."""
        async with self._database.connection() as connection, connection.transaction():
            row = await _open(connection, proposal_id)
            await self._decide(connection, row, actor, reason, {"status": "refused"})
            await _audit(connection, actor, "rules.refused", request_id, str(proposal_id))

    async def withdraw(self, actor: str, request_id: str, proposal_id: int) -> None:
        """Take one's own proposal back."""
        async with self._database.connection() as connection, connection.transaction():
            row = await _open(connection, proposal_id)
            if row["proposed_by"] != actor:
                raise not_allowed()
            values = {"id": proposal_id, "by": actor, "reason": "withdrawn", "status": "withdrawn"}
            await store.decide(connection, values)
            await _audit(connection, actor, "rules.withdrawn", request_id, str(proposal_id))

    async def _decide(
        self, connection: Connection, row: Mapping[str, Any], actor: str, reason: str, values: Mapping[str, Any]
    ) -> None:
        if row["proposed_by"] == actor:
            raise ApiError(403, "own_proposal", "you proposed this change", "another approver must decide about it")
        try:
            await store.decide(
                connection, {**values, "id": row["proposal_id"], "by": actor, "reason": checked_reason(reason)}
            )
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.CheckViolation):
            raise not_allowed() from None


def check_changes(config: DetectionConfig, changes: ControlChanges, reason: str) -> None:
    """Check changes with the detector's own parser, and against the configuration in force.

    Raises:
        ApiError: the detector would reject them, or they change nothing (422).
    """
    wrong = sorted(set(changes) - _ALLOWED)
    if wrong:
        raise invalid(f"{wrong[0]} is no setting of the rules", "use the forms of the page")
    document = _document(changes, "check", "check", reason, config.revision, 0)
    try:
        message = parse_control(encode_checked(document))
    except UserError as error:
        raise invalid(error.what, error.fix) from None
    assert isinstance(message, ControlMessage)  # noqa: S101 - it was checked
    changed = apply_control(config, message)
    if isinstance(changed, ControlRefusal):
        raise invalid(changed.detail, "correct the form")
    absent = not_listed(config.blacklist, changes.get("blacklist", {}))
    if absent:
        raise invalid(absent, "remove only entries that are listed")
    names = ("alpha", "alpha_is_set", "alert_threshold", "threshold_is_set", "rules", "blacklist")
    if all(getattr(changed, name) == getattr(config, name) for name in names):
        raise invalid("these values are in force already", "change at least one value")


def message_of(row: Mapping[str, Any], approver: str) -> ControlDocument:
    """Return the control message of a proposal; its id is a function of the proposal alone."""
    content = orjson.dumps(
        [row["proposal_id"], row["proposed_at"], row["base_revision"], row["changes"]], option=orjson.OPT_SORT_KEYS
    )
    control_id = f"ctl-{hashlib.sha256(content).hexdigest()[:32]}"
    by = f"{row['proposed_by']}, approved by {approver}"
    now_ms = time.time_ns() // 1_000_000
    return _document(row["changes"], control_id, by, row["reason"], row["base_revision"], now_ms)


def state_of(row: Mapping[str, Any], revision: int) -> str:
    """Return the state of a proposal for readers.

    Args:
        row: the proposal with its outcome.
        revision: that is in force now.
    """
    if row["status"] == "approved":
        outcomes = {"applied": "in force", "rejected": "rejected by the detector"}
        sent = "approved" if row["sent_at"] is None else "sent"
        return outcomes.get(row["outcome"], sent)
    if row["status"] == "proposed" and row["base_revision"] != revision:
        return "stale"
    return cast("str", row["status"])


def _document(
    changes: ControlChanges, control_id: str, by: str, reason: str, revision: int, at_ms: int
) -> ControlDocument:
    return {
        "schema_version": version_of(changes),
        "control_id": control_id,
        "issued_by": by,
        "issued_at_ms": at_ms,
        "reason": reason,
        "expected_revision": revision,
        "changes": changes,
    }


async def _existing(connection: Connection, proposal_id: int) -> Mapping[str, Any]:
    row = await store.one(connection, proposal_id)
    if row is None:
        raise NOT_FOUND
    return row


async def _open(connection: Connection, proposal_id: int) -> Mapping[str, Any]:
    """Return a proposal without a decision; no other transaction decides meanwhile."""
    await store.lock(connection)
    row = await _existing(connection, proposal_id)
    if row["status"] != "proposed":
        raise ApiError(409, "proposal_decided", f"the proposal is {row['status']}", "read it again")
    return row


async def _audit(connection: Connection, actor: str, action: str, request_id: str, detail: str) -> None:
    await add_read(connection, Read(actor, action, None, request_id, detail))
