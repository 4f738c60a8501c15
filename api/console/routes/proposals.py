"""Proposals of changes of the rules: propose, approve, refuse, withdraw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import RedirectResponse

from api.console.guard import form_of, requires
from api.console.pages import page
from api.console.roles import Permission
from api.console.routes.operations import DAYS
from api.console.sessions import Session
from api.jobs.store import newest_what_if
from api.rules.forms import ACTIONS, SCORES, STATES, Line, changes_of, lines_of
from api.rules.precision import CONSIDERED, rule_rows
from api.rules.service import Proposals
from api.services import request_id_of, services_of
from flink_jobs.core.control.blacklist import KINDS

router = APIRouter()
Reader = Annotated[Session, Depends(requires(Permission.RULES_READ))]
Proposer = Annotated[Session, Depends(requires(Permission.RULES_PROPOSE))]
Approver = Annotated[Session, Depends(requires(Permission.RULES_APPROVE))]
ProposalId = Annotated[int, Path(ge=1, le=2**63 - 1)]
_SEE_CUSTOMERS = (Permission.CUSTOMERS_READ, Permission.RULES_PROPOSE, Permission.RULES_APPROVE)


def lines_for(session: Session, row: Mapping[str, Any]) -> list[Line]:
    """Return the changed values of a proposal, with masked customers for a person who neither proposes nor approves."""
    shows = any(session.identity.may(permission) for permission in _SEE_CUSTOMERS)
    return lines_of(row["changes"], row["before"], shows_customers=shows)


@router.get("/rules/propose")
async def form(request: Request, session: Proposer) -> Response:
    """Return the forms with which a rules editor proposes a change."""
    services = services_of(request)
    config = services.watch.now.config
    return page(
        request, "propose", session, config=config, rules=await rule_rows(services.database, config),
        considered=CONSIDERED, scores=SCORES, states=STATES, kinds=KINDS, actions=ACTIONS,
    )  # fmt: skip


@router.post("/rules/proposals")
async def propose(request: Request, session: Proposer) -> Response:
    """Store a proposal and go to its page."""
    sent = await form_of(request)
    number = await _proposals(request).propose(
        session.identity.actor, request_id_of(request), changes_of(sent), sent.get("reason", "")
    )
    return _to(number)


@router.get("/rules/proposals/{proposal_id}")
async def show(request: Request, session: Reader, proposal_id: ProposalId) -> Response:
    """Return a proposal: its values before and after, the precision of its rules, and its steps."""
    services, identity = services_of(request), session.identity
    row = await Proposals(services.database).get(proposal_id, identity.actor, request_id_of(request))
    named = row["changes"].get("rules", {})
    rules = await rule_rows(services.database, services.watch.now.config)
    is_own = row["proposed_by"] == identity.actor
    return page(
        request, "proposal", session, proposal=row, lines=lines_for(session, row), considered=CONSIDERED,
        what_if=await newest_what_if(services.database, proposal_id), days=DAYS,
        rules=[rule for rule in rules if rule["rule"].id in named], actor=identity.actor,
        may_decide=row["status"] == "proposed" and not is_own and identity.may(Permission.RULES_APPROVE),
        may_withdraw=row["status"] == "proposed" and is_own and identity.may(Permission.RULES_PROPOSE),
    )  # fmt: skip


@router.post("/rules/proposals/{proposal_id}/approve")
async def approve(request: Request, session: Approver, proposal_id: ProposalId) -> Response:
    """Approve a proposal of another person."""
    reason = (await form_of(request)).get("reason", "")
    await _proposals(request).approve(session.identity.actor, request_id_of(request), proposal_id, reason)
    return _to(proposal_id)


@router.post("/rules/proposals/{proposal_id}/refuse")
async def refuse(request: Request, session: Approver, proposal_id: ProposalId) -> Response:
    """Refuse a proposal of another person."""
    reason = (await form_of(request)).get("reason", "")
    await _proposals(request).refuse(session.identity.actor, request_id_of(request), proposal_id, reason)
    return _to(proposal_id)


@router.post("/rules/proposals/{proposal_id}/withdraw")
async def withdraw(request: Request, session: Proposer, proposal_id: ProposalId) -> Response:
    """Take one's own proposal back."""
    await _proposals(request).withdraw(session.identity.actor, request_id_of(request), proposal_id)
    return _to(proposal_id)


def _proposals(request: Request) -> Proposals:
    return Proposals(services_of(request).database)


def _to(proposal_id: int) -> Response:
    return RedirectResponse(f"/console/rules/proposals/{proposal_id}", 303)
