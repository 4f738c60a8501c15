"""Requests, approves, refuses, withdraws and reviews changes of models; each step has its audit entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import psycopg

from api.database import Connection, Database
from api.errors import ApiError
from api.model_requests import store
from api.reads import Read, add_read
from api.reasons import checked_reason, invalid, not_allowed

STAGES: Final = ("shadow", "champion")
NOT_FOUND: Final = ApiError(404, "not_found", "there is no such request", "see the page of the models")


class ModelRequests:
    """The requests of one database. Methods raise ``ApiError``."""

    def __init__(self, database: Database) -> None:
        """Use a database."""
        self._database = database

    async def promotion(
        self, actor: str, request_id: str, version: str, to_stage: str, days: int | None, reason: str
    ) -> int:
        """Request a promotion and return its number; the gate runs before anyone can approve it.

        Args:
            actor: who asks.
            request_id: of the HTTP request.
            version: a registered version.
            to_stage: ``shadow`` or ``champion``.
            days: of recorded decisions on which the gate compares a future champion.
            reason: for the registry and the audit.

        Raises:
            ApiError: the version is unknown or has the stage (422), another person asked for the same (409), or the
                person has no role for it (403).
        """
        if to_stage not in STAGES:
            raise invalid("the stage is missing", "choose shadow or champion")
        async with self._database.connection() as connection, connection.transaction():
            stage = await store.stage_of(connection, version)
            if stage is None:
                raise invalid(f"the version {version!r} is not registered", "choose a version of the list")
            if stage == to_stage or (to_stage == "shadow" and stage == "champion"):
                raise invalid(f"{version} is {stage} already", "choose another version")
            values = {
                "kind": "promotion", "version": version, "to_stage": to_stage, "is_urgent": False,
                "days": days if to_stage == "champion" else None,
            }  # fmt: skip
            return await _add(connection, values, actor, request_id, reason)

    async def rollback(self, actor: str, request_id: str, version: str, reason: str, *, is_urgent: bool) -> int:
        """Request that the previous champion becomes champion again; return the number of the request.

        Args:
            actor: who asks.
            request_id: of the HTTP request.
            version: the previous champion, as the page showed it.
            reason: for the registry and the audit.
            is_urgent: an approver asks and approves at once, and another approver reviews it afterwards.

        Raises:
            ApiError: see ``promotion``; the previous champion is another version now (409).
        """
        previous = await store.previous_champion(self._database)
        if previous is None:
            raise ApiError(409, "no_previous_champion", "there was no champion before this one", "promote a version")
        if previous != version:
            raise ApiError(
                409, "request_stale", f"the previous champion is {previous}, not {version!r}", "load the page again"
            )
        async with self._database.connection() as connection, connection.transaction():
            values = {
                "kind": "rollback", "version": version, "to_stage": "champion", "is_urgent": is_urgent, "days": None,
            }  # fmt: skip
            return await _add(connection, values, actor, request_id, reason)

    async def get(self, number: int) -> dict[str, Any]:
        """Return a request with its state."""
        async with self._database.connection() as connection:
            row = await store.one(connection, number)
        if row is None:
            raise NOT_FOUND
        return {**row, "state": state_of(row)}

    async def approve(self, actor: str, request_id: str, number: int, reason: str) -> None:
        """Approve a request of another person: a process carries it out soon.

        Raises:
            ApiError: the gate has not passed, the request was decided before, or the champion changed since (409); the
                person asked for it, or is no approver (403).
        """
        async with self._database.connection() as connection, connection.transaction():
            row = await _open(connection, number, actor, "approved")
            if row is None:
                return
            if row["kind"] == "promotion" and not row["gate_passed"]:
                why = "has not checked the version yet" if row["gate_at"] is None else "refused the version"
                raise ApiError(409, "gate_not_passed", f"the gate {why}", "wait for the gate, or refuse the request")
            if row["to_stage"] == "champion" and row["champion"] != await store.champion(connection):
                raise ApiError(
                    409,
                    "request_stale",
                    f"the champion changed since the request; it was {row['champion'] or 'none'}",
                    "refuse it, and let the requester ask again",
                )
            await _decide(connection, row, "approved", actor, reason)
            await _audit(connection, actor, "models.approved", request_id, _detail(number, row))

    async def refuse(self, actor: str, request_id: str, number: int, reason: str) -> None:
        """Refuse a request of another person, with a reason."""
        async with self._database.connection() as connection, connection.transaction():
            row = await _open(connection, number, actor, "refused")
            if row is not None:
                await _decide(connection, row, "refused", actor, reason)
                await _audit(connection, actor, "models.refused", request_id, _detail(number, row))

    async def withdraw(self, actor: str, request_id: str, number: int) -> None:
        """Take one's own request back."""
        async with self._database.connection() as connection, connection.transaction():
            row = await _open(connection, number, actor, "withdrawn")
            if row is None:
                return
            if row["requested_by"] != actor:
                raise not_allowed()
            await store.decide(connection, number, "withdrawn", actor, "withdrawn")
            await _audit(connection, actor, "models.withdrawn", request_id, _detail(number, row))

    async def review(self, actor: str, request_id: str, number: int, reason: str) -> None:
        """Review an urgent rollback of another approver afterwards."""
        reason = checked_reason(reason)
        async with self._database.connection() as connection, connection.transaction():
            row = await store.one(connection, number, lock=True)
            if row is None:
                raise NOT_FOUND
            if not row["is_urgent"] or row["reviewed_by"] not in {None, actor}:
                raise ApiError(409, "nothing_to_review", "this request needs no review", "load the page again")
            if row["requested_by"] == actor:
                raise ApiError(403, "own_request", "you rolled back yourself", "another approver must review it")
            if row["reviewed_by"] is not None:
                return  # the form was sent twice
            try:
                async with connection.transaction():
                    await store.review(connection, number, actor, reason)
            except psycopg.errors.InsufficientPrivilege:
                raise not_allowed() from None
            await _audit(connection, actor, "models.reviewed", request_id, _detail(number, row))


def state_of(row: Mapping[str, Any]) -> str:
    """Return the state of a request for readers."""
    if row["outcome"] is not None:
        return str(row["outcome"])
    if row["status"] == "approved":
        return "approved" if row["taken_at"] is None or row["taken_at"] < row["decided_at"] else "running"
    if row["status"] == "requested" and row["kind"] == "promotion":
        gate = {None: "the gate runs" if row["taken_at"] else "waits for the gate", True: "waits for approval"}
        return gate.get(row["gate_passed"], "refused by the gate")
    return "waits for approval" if row["status"] == "requested" else str(row["status"])


async def _add(connection: Connection, values: dict[str, Any], actor: str, request_id: str, reason: str) -> int:
    values |= {"reason": checked_reason(reason), "by": actor, "champion": await store.champion(connection)}
    try:
        async with connection.transaction():
            number = await store.add(connection, values)
    except psycopg.errors.InsufficientPrivilege:
        raise not_allowed() from None
    if number is None:  # the form was sent twice, or another person was faster
        other = await store.open_like(connection, values)
        if other is not None and other["requested_by"] == actor:
            return int(other["request_id"])
        raise ApiError(
            409,
            "request_open",
            "another request for this change is open" + ("" if other is None else f": request {other['request_id']}"),
            "see the page of the models",
        )
    action = "models.rolled_back_alone" if values["is_urgent"] else "models.requested"
    await _audit(connection, actor, action, request_id, _detail(number, values))
    return number


async def _open(connection: Connection, number: int, actor: str, status: str) -> Mapping[str, Any] | None:
    """Return a request without a decision, locked; ``None`` if the same person made the same decision before."""
    row = await store.one(connection, number, lock=True)
    if row is None:
        raise NOT_FOUND
    if row["status"] == "requested":
        return row
    if (row["status"], row["decided_by"]) == (status, actor) and not row["is_urgent"]:
        return None  # the form was sent twice
    raise ApiError(409, "request_decided", f"the request is {row['status']}", "load the page again")


async def _decide(connection: Connection, row: Mapping[str, Any], status: str, actor: str, reason: str) -> None:
    if row["requested_by"] == actor:
        raise ApiError(403, "own_request", "you made this request", "another approver must decide about it")
    reason = checked_reason(reason)
    try:
        async with connection.transaction():
            await store.decide(connection, row["request_id"], status, actor, reason)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.CheckViolation):
        raise not_allowed() from None


async def _audit(connection: Connection, actor: str, action: str, request_id: str, detail: str) -> None:
    await add_read(connection, Read(actor, action, None, request_id, detail))


def _detail(number: int, row: Mapping[str, Any]) -> str:
    return f"{number} {row['kind']} {row['version']} to {row['to_stage']}, champion {row['champion'] or 'none'}"
