"""The live feed: new alerts as server-sent events.

A stream ends after some seconds, and the browser connects again with the time of the last alert. So a stream needs no
exception from the limit of a request's time, and a session that ended gets nothing more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse

from api.cases.viewer import Viewer, masked
from api.console.guard import requires
from api.console.pages import ENVIRONMENT, page
from api.console.roles import Permission
from api.console.routes.cases import viewer_of
from api.console.sessions import Session
from api.errors import ApiError
from api.policy import in_words
from api.reads import Read, record_read
from api.services import Services, services_of

router = APIRouter()
Reader = Annotated[Session, Depends(requires(Permission.CASES_READ))]
EVERY_S: Final = 1.0
LONGEST_S: Final = 6.0
LOOK_BACK: Final = timedelta(seconds=10)
"""Transactions of the archive do not commit in the order of ``loaded_at``."""
SHOWN: Final = 50
_COLUMNS: Final = """
    alert_id, customer_id, transaction_id, event_time_ms, amount_minor, currency, merchant, score, reasons, loaded_at
"""
_LATEST: Final = f"SELECT {_COLUMNS} FROM raw.alerts ORDER BY loaded_at DESC, alert_id LIMIT %(limit)s"  # noqa: S608 - constants
_SINCE: Final = f"""
    SELECT {_COLUMNS} FROM raw.alerts WHERE loaded_at > %(since)s ORDER BY loaded_at, alert_id LIMIT %(limit)s
"""  # noqa: S608 - constant column names


@router.get("/feed")
async def feed(request: Request, session: Reader) -> Response:
    """Return the newest alerts; the script of the page adds new ones."""
    services, viewer = services_of(request), viewer_of(request, session)
    await record_read(services.database, Read(viewer.actor, "console.feed", None, viewer.request_id))
    rows = await services.database.rows(_LATEST, {"limit": SHOWN})
    return page(request, "feed", session, alerts=[_shown(row, viewer) for row in rows])


@router.get("/feed/events")
async def events(
    request: Request, session: Reader, last_event_id: Annotated[str | None, Header(max_length=64)] = None
) -> Response:
    """Stream the alerts that are stored from now on, or since the last one that the browser has."""
    services, viewer = services_of(request), viewer_of(request, session)
    longest_s = min(LONGEST_S, services.settings.request_timeout_s / 2)
    stream = _stream(services, viewer, _time(last_event_id), longest_s)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _stream(services: Services, viewer: Viewer, since: datetime, longest_s: float) -> AsyncIterator[str]:
    row_of = ENVIRONMENT.get_template("feed_row.html.j2")
    sent: set[str] = set()
    end = time.monotonic() + longest_s
    yield "retry: 500\n\n"
    while time.monotonic() < end:
        try:
            rows = await services.database.rows(_SINCE, {"since": since - LOOK_BACK, "limit": 1_000})
        except ApiError:
            return  # the browser connects again
        for row in rows:
            if row["alert_id"] not in sent:
                sent.add(row["alert_id"])
                since = max(since, row["loaded_at"])
                text = " ".join(row_of.render(alert=_shown(row, viewer)).split())
                yield f"id: {since.isoformat()}\nevent: alert\ndata: {text}\n\n"
        await asyncio.sleep(min(EVERY_S, max(0.0, end - time.monotonic())))


def _shown(row: Mapping[str, Any], viewer: Viewer) -> dict[str, Any]:
    customer = row["customer_id"] if viewer.sees_customers else masked(row["customer_id"])
    return {**row, "customer_id": customer, "words": [in_words(reason["code"]) for reason in row["reasons"]]}


def _time(text: str | None) -> datetime:
    """Return the time of a last event id; now, for an id that is none."""
    try:
        found = datetime.fromisoformat(text or "")
        return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except ValueError:
        return datetime.now(UTC)
