"""Login with a password or a one-time token, and logout."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from api.console.accounts import LONGEST_NAME, LONGEST_PASSWORD
from api.console.guard import (
    LOGIN,
    ROOT,
    cookie_name,
    cookie_of,
    form_of,
    local_path,
    require_same_origin,
    sessions_of,
)
from api.console.pages import page
from api.console.roles import Identity
from api.console.sessions import TooManyAttemptsError
from api.errors import ApiError
from api.services import services_of

router = APIRouter()
_WRONG = "The login failed. Check the name and the password, or make a new one-time login."
_TOO_MANY = "Too many failed logins. Wait one minute."


@router.get("/login")
async def show(request: Request, token: str = "", next: str = "") -> Response:  # noqa: A002 - name of the parameter
    """Return the login page. A one-time token in the address is used only when its button is pressed."""
    return login_page(request, 200, token=token[:100], target=local_path(next))


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Start a session and go to the page that the person asked for; else show the login page again."""
    require_same_origin(request)
    form = await form_of(request)
    target = local_path(form.get("next", ""))
    try:
        identity = await _identity(request, form)
    except TooManyAttemptsError:
        return login_page(request, 429, target=target)
    if identity is None:
        return login_page(request, 401, problem=_WRONG, target=target)
    return await begin_session(request, identity, target)


def login_page(
    request: Request, status: int, *, problem: str | None = None, token: str = "", target: str = f"{ROOT}/"
) -> Response:
    """Return the login page with the ways to log in that the settings allow."""
    oidc = services_of(request).oidc
    return page(
        request, "login", None, status, problem=_TOO_MANY if status == HTTPStatus.TOO_MANY_REQUESTS else problem,
        token=token, target=target,
        provider=None if oidc is None else oidc.settings.provider_name,
        has_passwords=oidc is None or oidc.settings.password_login,
    )  # fmt: skip


async def begin_session(request: Request, identity: Identity, target: str) -> Response:
    """End the session that the browser had, start one for a person, and go to a page of the console."""
    sessions, settings = sessions_of(request), services_of(request).settings
    await sessions.end(cookie_of(request))
    secret = await sessions.start(identity)
    answer = RedirectResponse(target, 303)
    answer.set_cookie(
        cookie_name(request),
        secret,
        max_age=settings.session_hours * 3_600,
        path="/",
        secure=settings.secure_cookie,
        httponly=True,
        samesite="lax",
    )
    return answer


async def _identity(request: Request, form: dict[str, str]) -> Identity | None:
    """Return the person of a one-time token or a password. ``oidc.py`` has the login by an OIDC server."""
    sessions, oidc = sessions_of(request), services_of(request).oidc
    address = request.client.host if request.client else ""
    if token := form.get("token"):
        return await sessions.by_token(token, address)
    if oidc is not None and not oidc.settings.password_login:
        raise ApiError(403, "not_allowed", "passwords are turned off here", "log in at the identity provider")
    name, password = form.get("name", "").strip(), form.get("password", "")
    if len(name) > LONGEST_NAME or len(password) > LONGEST_PASSWORD or "\x00" in name:
        name = ""  # it takes the time of a wrong password
    return await sessions.by_password(name, password, address)


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session, and that at the OIDC server if it began there; without an open one, delete only the cookie."""
    require_same_origin(request)
    secret = cookie_of(request)
    session = await sessions_of(request).find(secret)
    if session is not None and (await form_of(request)).get("csrf") != session.csrf:
        raise ApiError(403, "form_expired", "the form is not valid any more", "reload the page and try again")
    await sessions_of(request).end(secret)
    oidc = services_of(request).oidc
    is_there = oidc is not None and session is not None and await sessions_of(request).is_linked(session.identity)
    elsewhere = await oidc.logout_address() if oidc is not None and is_there else None
    answer = RedirectResponse(elsewhere or LOGIN, 303)
    answer.delete_cookie(
        cookie_name(request),
        path="/",
        secure=services_of(request).settings.secure_cookie,
        httponly=True,
        samesite="lax",
    )
    return answer
