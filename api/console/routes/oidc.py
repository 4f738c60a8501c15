"""Login by the OIDC server: the page that begins it, and the page to which the server sends the browser back."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from api.console.guard import local_path, sessions_of
from api.console.routes.login import begin_session, login_page
from api.console.sessions import TooManyAttemptsError
from api.identity.oidc import LOGIN_MINUTES, OidcProvider, RefusedError
from api.reads import Read, record_read
from api.services import request_id_of, services_of

router = APIRouter()
_LONGEST: Final = 4_096


def _provider(request: Request) -> OidcProvider:
    provider = services_of(request).oidc
    if provider is None:
        raise HTTPException(404, "there is no login by OIDC here")
    return provider


def _cookie_name(request: Request) -> str:
    return "__Host-streamflow-login" if services_of(request).settings.secure_cookie else "streamflow-login"


@router.get("/login/oidc")
async def begin(request: Request, next: str = "") -> Response:  # noqa: A002 - name of the parameter
    """Send the browser to the OIDC server."""
    provider = _provider(request)
    try:
        await sessions_of(request).count_login(_address(request))
    except TooManyAttemptsError:
        return login_page(request, 429)
    begun = await provider.begin(local_path(next))
    answer = RedirectResponse(begun.address, 303)
    answer.set_cookie(
        _cookie_name(request),
        begun.browser,
        max_age=60 * LOGIN_MINUTES,
        path="/",
        secure=services_of(request).settings.secure_cookie,
        httponly=True,
        samesite="lax",
    )
    return answer


@router.get("/login/callback")
async def finish(request: Request) -> Response:
    """Start a session for the person whom the OIDC server names; else show the login page with the reason."""
    provider, services = _provider(request), services_of(request)
    values = {name: value[:_LONGEST] for name, value in request.query_params.items()}
    try:
        found = await provider.finish(values, request.cookies.get(_cookie_name(request)))
    except RefusedError as error:
        answer: Response = login_page(request, 403, problem=str(error))
    else:
        if found.outcome != "known":
            actor = found.identity.actor
            action = f"console.account.{found.outcome}"
            await record_read(
                services.database, Read(actor, action, None, request_id_of(request), str(provider.settings.issuer))
            )
        answer = await begin_session(request, found.identity, found.target)
    answer.delete_cookie(
        _cookie_name(request), path="/", secure=services.settings.secure_cookie, httponly=True, samesite="lax"
    )
    return answer


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
