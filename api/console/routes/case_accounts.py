"""The form of a case's page that acts on the customer's account."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from api.cases.account_documents import ActionRequest
from api.console.guard import form_of
from api.console.roles import Permission
from api.console.routes.cases import CaseId, Writer, valid, viewer_of
from api.services import services_of

router = APIRouter()


@router.post("/cases/{case_id}/account")
async def act(request: Request, session: Writer, case_id: CaseId) -> Response:
    """Take the action of the form; an analyst may watch, a senior analyst may do everything."""
    form = await form_of(request)
    given = {name: form[name] for name in ("action", "reason", "merchant", "card", "rule", "days") if form.get(name)}
    if given.get("action") == "clear":
        given.pop("days", None)
    if given.get("action") not in {"suppress", "clear"}:
        given.pop("rule", None)
    may_only_watch = not session.identity.may(Permission.ACCOUNTS_WRITE)
    await services_of(request).accounts.act(
        viewer_of(request, session), case_id, valid(ActionRequest, given), may_only_watch=may_only_watch
    )
    return RedirectResponse(f"/console/cases/{case_id}#account", 303)
