"""Search, and the page of a customer."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import RedirectResponse

from api.cases.documents import Case, Status
from api.cases.store import QueueFilter
from api.cases.viewer import Viewer, masked
from api.console.drawing import amount_chart, hour_bars
from api.console.guard import requires
from api.console.history import Histories, normal_of
from api.console.pages import page
from api.console.roles import Permission
from api.console.routes.cases import viewer_of
from api.console.sessions import Session
from api.errors import ApiError
from api.reads import Read, record_read
from api.routes.identifiers import Identifier
from api.services import Services, services_of
from flink_jobs.core.parsing.purchase_ids import card_token

router = APIRouter()
Reader = Annotated[Session, Depends(requires(Permission.CASES_READ))]
SHOWN_PURCHASES: Final = 50
_LARGEST_CASE: Final = 2**63 - 1
_ALERTS: Final = """
    SELECT alert_id, customer_id, transaction_id, event_time_ms, amount_minor, currency, merchant, score
    FROM raw.alerts WHERE transaction_id = %(transaction)s ORDER BY event_time_ms DESC LIMIT 10
"""


@router.get("/search")
async def search(request: Request, session: Reader, q: Annotated[str, Query(max_length=300)] = "") -> Response:
    """Return cases, customers and alerts with this number or id; a number of a case leads to its page."""
    services, viewer, text = services_of(request), viewer_of(request, session), q.strip().replace("\x00", "")
    number = text.removeprefix("#").removeprefix("case").removeprefix("Case").strip()
    if number.isascii() and number.isdigit() and 0 < int(number) <= _LARGEST_CASE and number != text:
        return RedirectResponse(f"/console/cases/{number}", 303)
    alerts, cases = [], []
    if text:
        # A search for a card number finds nothing, and the record of reads must not keep it.
        detail = Read(viewer.actor, "console.search", None, viewer.request_id, card_token(text) or "")
        await record_read(services.database, detail)
        alerts = await services.database.rows(_ALERTS, {"transaction": text})
        customers = {text, *(row["customer_id"] for row in alerts)}
        cases = [case for name in sorted(customers) for case in await _cases(services, viewer, name)]
        alerts = [
            {**row, "customer_id": row["customer_id"] if viewer.sees_customers else masked(row["customer_id"])}
            for row in alerts
        ]
    is_customer = bool(text) and await _shows_customer(services, viewer, text)
    return page(
        request, "search", session, q=text, alerts=alerts, cases=cases, actor=viewer.actor,
        customer=text if is_customer else None,
        number=text if text.isascii() and text.isdigit() and 0 < int(text) <= _LARGEST_CASE else None,
    )  # fmt: skip


@router.get("/customers")
async def customer(
    request: Request, session: Reader, name: Annotated[Identifier, Query(alias="id", min_length=1, max_length=300)]
) -> Response:
    """Return the page of a customer; one whom the person may not see does not exist."""
    services, viewer = services_of(request), viewer_of(request, session)
    if not await _shows_customer(services, viewer, name):
        raise ApiError(
            404, "not_found", "there is no such customer, or none of your cases is about this customer", "search again"
        )
    await record_read(services.database, Read(viewer.actor, "console.customer", name, viewer.request_id))
    histories = Histories(services.database)
    newest = await histories.newest_ms(name) or 0
    purchases = await histories.before(name, newest)
    currency = purchases[0].currency if purchases else ""
    normal = normal_of(purchases, newest + 1, currency)
    return page(
        request, "customer", session, name=name, purchases=purchases[:SHOWN_PURCHASES], normal=normal,
        currency=currency, cases=await _cases(services, viewer, name), actor=viewer.actor,
        chart=amount_chart(purchases, newest, currency, ""), hours=hour_bars(normal, None),
        alerts=sum(item.is_alert for item in purchases), frauds=sum(item.label == "fraud" for item in purchases),
    )  # fmt: skip


async def _shows_customer(services: Services, viewer: Viewer, name: str) -> bool:
    """Return whether a customer exists and the person may see it: by role, or by a case that the person has."""
    if not viewer.sees_customers:
        found = await _cases(services, viewer, name)
        return any(case.assignee == viewer.actor for case in found)
    return await Histories(services.database).newest_ms(name) is not None


async def _cases(services: Services, viewer: Viewer, name: str) -> list[Case]:
    """Return the cases of a customer, the open one first."""
    found = []
    for status in (None, Status.CLOSED):
        found += (await services.cases.queue(viewer, QueueFilter(status=status, customer_id=name), limit=20)).cases
    return found
