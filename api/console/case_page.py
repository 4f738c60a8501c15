"""Collects what the page of a case shows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from api.cases.documents import CaseAlert, CaseDetail, Status
from api.cases.viewer import Viewer
from api.console.declared import specs_of
from api.console.drawing import amount_chart, hour_bars
from api.console.history import Histories, Normal, Purchase, normal_of
from api.console.hop_map import hop_map
from api.console.links import hop_of, linked_customers
from api.console.similar import similar_alerts
from api.console.words import feature_rows, features_of, ids_of, reasons_of, shares_of
from api.documents import Decision
from api.services import Services
from flink_jobs.core.rules import RULE_BY_ID

LAST_PURCHASES: Final = 20
SHOWN_SHARES: Final = 8


async def case_view(services: Services, viewer: Viewer, case_id: int, alert: str | None) -> dict[str, Any]:
    """Return the values of the template ``case``. The customer's purchases are left out where the id is masked.

    Args:
        services: of the process.
        viewer: who reads the case; the service of the cases records the read.
        case_id: the case.
        alert: id of the alert to explain; default: the one with the highest score.

    Raises:
        ApiError: there is no such case for this viewer (404), or the database does not answer (503).
    """
    detail = await services.cases.get(viewer, case_id)
    account = await services.accounts.of_case(viewer, case_id)
    chosen = _chosen(detail, alert)
    customer = _customer(detail, viewer)
    purchases: list[Purchase] = []
    normal: Normal | None = None
    if customer is not None and chosen is not None:
        purchases = await Histories(services.database).before(customer, chosen.event_time_ms)
        normal = normal_of(purchases, chosen.event_time_ms, chosen.currency)
    decision = chosen.decision if chosen else None
    explained = {} if decision is None or chosen is None else await _explained(services, decision, normal, customer)
    links = []
    if decision is not None and customer is not None:
        links = await linked_customers(services.database, viewer, decision, customer)
    hop = None if decision is None else hop_of(decision, purchases)
    return {
        "case": detail.case,
        "account": account,
        "rules": list(RULE_BY_ID),
        "alerts": detail.alerts,
        "events": detail.events[::-1],
        "notes": detail.notes,
        "chosen": chosen,
        "customer": customer,
        "normal": normal,
        "purchases": purchases[:LAST_PURCHASES],
        "chart": None if chosen is None else amount_chart(
            purchases, chosen.event_time_ms, chosen.currency, chosen.transaction_id
        ),
        "hours": [] if normal is None or chosen is None else hour_bars(normal, _hour(chosen)),
        "is_mine": detail.case.assignee == viewer.actor,
        "is_closed": detail.case.status is Status.CLOSED,
        "actor": viewer.actor,
        "explained": explained,
        "ids": {} if decision is None else ids_of(decision),
        "links": links,
        "hop": hop,
        "map": None if hop is None else hop_map(hop.start or "", hop.end or ""),
    }  # fmt: skip


async def _explained(
    services: Services, decision: Decision, normal: Normal | None, customer: str | None
) -> dict[str, Any]:
    specs = await specs_of(services.database, decision, services.watch.now.own)
    shares = shares_of(decision, specs)
    features = features_of(decision)
    similar = await similar_alerts(services.database, customer or "", decision.transaction_id, features)
    return {
        "decision": decision,
        "reasons": reasons_of(decision, normal),
        "shares": shares[:SHOWN_SHARES],
        "largest": max((abs(share.adds) for share in shares), default=1.0) or 1.0,
        "features": feature_rows(decision, specs),
        "similar": similar,
    }


def _chosen(detail: CaseDetail, alert: str | None) -> CaseAlert | None:
    named = [item for item in detail.alerts if item.alert_id == alert]
    if named:
        return named[0]
    return max(detail.alerts, key=lambda item: (item.decision is not None, item.score), default=None)


def _customer(detail: CaseDetail, viewer: Viewer) -> str | None:
    """Return the customer id, ``None`` where it is masked."""
    is_shown = viewer.sees_customers or detail.case.assignee == viewer.actor
    return detail.case.customer_id if is_shown else None


def _hour(alert: CaseAlert) -> int:
    return datetime.fromtimestamp(alert.event_time_ms / 1_000, UTC).hour
