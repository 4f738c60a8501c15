"""What people and programs do with cases. Every change is one transaction: the case, its event, and what follows."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import psycopg

from api.cases import store, verdicts
from api.cases.documents import (
    Case,
    CaseAlert,
    CaseChange,
    CaseDetail,
    CaseEvent,
    CaseList,
    CaseNote,
    Order,
    Status,
    VerdictRequest,
)
from api.cases.store import Place, QueueFilter
from api.cases.viewer import Viewer, masked_ids
from api.database import Connection, Database
from api.decisions import Decisions
from api.errors import ApiError
from api.reads import Read, add_read, record_read
from api.settings import ApiSettings

NOT_FOUND: Final = ApiError(404, "case_not_found", "there is no such case", "see `GET /v1/cases`")
STALE: Final = ApiError(
    412, "version_stale", "the case was changed after you read it", "read the case again and send its version"
)


class Cases:
    """The cases of one database. Methods raise ``ApiError``; a case of another team does not exist (404)."""

    def __init__(self, database: Database, decisions: Decisions, settings: ApiSettings) -> None:
        """Use a database."""
        self._database = database
        self._decisions = decisions
        self._undo = timedelta(seconds=settings.case_undo_s)

    async def queue(
        self, viewer: Viewer, chosen: QueueFilter | None = None, cursor: str | None = None, limit: int = 50
    ) -> CaseList:
        """Return one page of the visible cases; ``cursor`` is ``next_cursor`` of the page before."""
        chosen = chosen or QueueFilter()
        after = None if cursor is None else _place(cursor, chosen.order)
        detail = f"limit={limit} order={chosen.order} status={chosen.status or 'not closed'}"
        await record_read(
            self._database, Read(viewer.actor, "cases.list", chosen.customer_id, viewer.request_id, detail)
        )
        async with self._database.connection() as connection:
            rows = await store.page(connection, viewer, chosen, after, limit + 1)
        shown = rows[:limit]
        more = _cursor(shown[-1], chosen.order) if len(rows) > limit else None
        return CaseList(cases=[_case(row, viewer) for row in shown], next_cursor=more)

    async def probabilities(self, cases: Sequence[Case]) -> dict[int, float]:
        """Return the highest probability of fraud in each case; without cases whose alerts have none."""
        async with self._database.connection() as connection:
            return await store.probabilities(connection, [case.case_id for case in cases])

    async def claim_next(self, viewer: Viewer) -> Case | None:
        """Claim the open case with the highest priority for the viewer; ``None`` if the queue is empty."""
        async with self._database.connection() as connection, connection.transaction():
            row = await store.next_open(connection, viewer)
            if row is None:
                return None
            values = {"status": Status.CLAIMED.value, "assignee": viewer.actor}
            changed = await store.update(connection, viewer, row, "claimed", values)
            await _audit(connection, viewer, "cases.claimed", changed)
        return _case(changed, viewer)

    async def get(self, viewer: Viewer, case_id: int) -> CaseDetail:
        """Return a case with its newest alerts, their decisions, its events and its notes."""
        async with self._database.connection() as connection:
            row = _visible(await store.one(connection, viewer, case_id))
            read = Read(viewer.actor, "cases.get", row["customer_id"], viewer.request_id, str(case_id))
            async with connection.transaction():
                await add_read(connection, read)
            alerts = await store.alerts(connection, case_id)
            events = await store.events(connection, case_id)
            notes = await store.notes(connection, case_id)
        decisions = await self._decisions.of_case(case_id, store.MOST_ALERTS)
        customer = viewer.customer_of(row)
        hides = not viewer.shows_customer(row)
        shown = {
            place: found.model_copy(update={"customer_id": customer, **(masked_ids(found) if hides else {})})
            for place, found in decisions.items()
        }
        return CaseDetail(
            case=_case(row, viewer),
            alerts=[
                CaseAlert.model_validate(
                    {**alert, "decision": shown.get((alert["transaction_id"], alert["event_time_ms"]))}
                )
                for alert in alerts
            ],
            events=[CaseEvent.model_validate(event) for event in events],
            notes=[CaseNote.model_validate(note) for note in notes],
        )

    async def change(self, viewer: Viewer, case_id: int, version: int, change: CaseChange) -> Case:
        """Assign, release, snooze, reopen or hand over a case whose version is still ``version`` (else 412).

        Raises:
            ApiError: it is closed, or it cannot be opened again because the customer has a newer open case (409).
        """
        try:
            async with self._database.connection() as connection, connection.transaction():
                row = await self._locked(connection, viewer, case_id, version)
                changed = await store.update(connection, viewer, row, "changed", _values(row, change))
                await _audit(connection, viewer, "cases.changed", changed)
        except psycopg.errors.UniqueViolation:
            raise _another_open() from None
        return _case(changed, viewer)

    async def add_note(self, viewer: Viewer, case_id: int, body: str) -> CaseNote:
        """Add a note to a case; ``body`` must be valid (see ``NoteRequest``). It does not change the version."""
        async with self._database.connection() as connection, connection.transaction():
            row = _visible(await store.one(connection, viewer, case_id))
            note = await store.add_note(connection, case_id, viewer.actor, body)
            await store.add_event(connection, viewer, case_id, "noted", None, {"note_id": note["note_id"]})
            await _audit(connection, viewer, "cases.noted", row)
        return CaseNote.model_validate(note)

    async def give_verdict(self, viewer: Viewer, case_id: int, version: int, request: VerdictRequest) -> Case:
        """Close a case with a verdict and put its labels into the outbox, in one transaction."""
        async with self._database.connection() as connection, connection.transaction():
            row = await self._locked(connection, viewer, case_id, version)
            if row["status"] == Status.CLOSED:
                raise _closed()
            pairs = await verdicts.transactions(connection, case_id, request.transaction_ids)
            labels = verdicts.labels_of(pairs, request, viewer.actor, row["now"])
            values = {
                "status": Status.CLOSED.value,
                "assignee": row["assignee"] or viewer.actor,
                "closed_at": row["now"],
                "snoozed_until": None,
                "verdict": request.verdict.value,
                "verdict_reason": request.reason,
                "verdict_by": viewer.actor,
                "verdict_at": row["now"],
                "undo_until": row["now"] + self._undo,
            }
            changed = await store.update(connection, viewer, row, "verdict", values)
            await verdicts.add_labels(connection, row, labels, self._undo)
            await _audit(connection, viewer, f"cases.verdict.{request.verdict}", changed)
        return _case(changed, viewer)

    async def undo_verdict(self, viewer: Viewer, case_id: int, version: int) -> Case:
        """Take a verdict back: the case is claimed by the viewer again, and no label is sent.

        Raises:
            ApiError: there is no verdict, or the time to undo is over (409).
        """
        try:
            async with self._database.connection() as connection, connection.transaction():
                row = await self._locked(connection, viewer, case_id, version)
                is_open = row["undo_until"] is None or row["undo_until"] <= row["now"]
                if row["status"] != Status.CLOSED or is_open or not await verdicts.cancel_messages(connection, row):
                    raise _final()
                values = {**_REOPENED, "status": Status.CLAIMED.value, "assignee": viewer.actor}
                changed = await store.update(connection, viewer, row, "verdict_undone", values)
                await _audit(connection, viewer, "cases.verdict_undone", changed)
        except psycopg.errors.UniqueViolation:
            raise _final() from None
        return _case(changed, viewer)

    async def _locked(self, connection: Connection, viewer: Viewer, case_id: int, version: int) -> Mapping[str, Any]:
        row = _visible(await store.one(connection, viewer, case_id, is_locked=True))
        if row["version"] != version:
            raise STALE
        return row


_REOPENED: Final = dict.fromkeys(
    ("closed_at", "snoozed_until", "verdict", "verdict_reason", "verdict_by", "verdict_at", "undo_until")
)


def _values(row: Mapping[str, Any], change: CaseChange) -> dict[str, Any]:
    """Return the new values of the columns that a change names or implies."""
    given = change.model_fields_set
    if row["status"] == Status.CLOSED and change.status not in {Status.OPEN, Status.CLAIMED}:
        raise _closed()
    values: dict[str, Any] = {"team": change.team} if change.team is not None else {}
    if row["status"] == Status.CLOSED:
        values |= _REOPENED
    if change.status is Status.SNOOZED:
        assert change.snoozed_until is not None  # noqa: S101 - the document checks it
        if change.snoozed_until <= row["now"]:
            raise ApiError(422, "invalid_request", "snoozed_until: is in the past", "give a later time")
        values |= {"status": Status.SNOOZED.value, "snoozed_until": change.snoozed_until}
        if "assignee" in given:
            values["assignee"] = change.assignee
    elif change.status is not None or "assignee" in given:
        status = Status.OPEN if change.assignee is None else Status.CLAIMED
        values |= {"status": status.value, "assignee": change.assignee, "snoozed_until": None}
    return values


def _visible(row: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if row is None:
        raise NOT_FOUND
    return row


def _closed() -> ApiError:
    return ApiError(409, "case_closed", "the case is closed", "open it again with status open")


def _another_open() -> ApiError:
    return ApiError(409, "another_case_open", "the customer has a newer open case", "work on that case")


def _final() -> ApiError:
    return ApiError(
        409, "verdict_final", "there is no verdict that can be undone", "open the case again and give another verdict"
    )


def _case(row: Mapping[str, Any], viewer: Viewer) -> Case:
    return Case.model_validate({**row, "customer_id": viewer.customer_of(row)})


async def _audit(connection: Connection, viewer: Viewer, action: str, row: Mapping[str, Any]) -> None:
    detail = f"{row['case_id']} version={row['version']}"
    await add_read(connection, Read(viewer.actor, action, row["customer_id"], viewer.request_id, detail))


def _cursor(row: Mapping[str, Any], order: Order) -> str:
    value = row["due_at"].isoformat() if order is Order.DUE else repr(row["priority"])
    return f"{value}~{row['case_id']}"


def _place(cursor: str, order: Order) -> Place:
    value, _, case_id = cursor.rpartition("~")
    place = None
    if case_id.isascii() and case_id.isdigit() and int(case_id) < 2**63:
        with contextlib.suppress(ValueError):
            place = Place(datetime.fromisoformat(value) if order is Order.DUE else float(value), int(case_id))
    if place is None:
        raise ApiError(422, "invalid_request", "cursor: not a cursor of this list", "use next_cursor of the last page")
    return place
