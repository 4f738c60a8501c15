"""``/v1/cases/{case_id}/account``: the account of a case's customer, and actions on it."""

from __future__ import annotations

from fastapi import APIRouter, Request

from api.cases.account_documents import Account, ActionRequest
from api.errors import responses
from api.keys import Scope
from api.routes.cases import CaseId, Reader, Writer, viewer_of
from api.services import services_of

router = APIRouter(tags=["cases"])


@router.get("/v1/cases/{case_id}/account", responses=responses(404))
async def get_account(request: Request, key: Reader, case_id: CaseId) -> Account:
    """Return risk and actions of the customer of a case."""
    return await services_of(request).accounts.of_case(viewer_of(request, key), case_id)


@router.post("/v1/cases/{case_id}/account", status_code=201, responses=responses(404))
async def act(request: Request, key: Writer, case_id: CaseId, action: ActionRequest) -> Account:
    """Block, allow or watch the customer of a case, suppress a rule, or clear; ``accounts:write`` for all but watch."""
    may_only_watch = Scope.ACCOUNTS_WRITE not in key.scopes
    viewer = viewer_of(request, key)
    return await services_of(request).accounts.act(viewer, case_id, action, may_only_watch=may_only_watch)
