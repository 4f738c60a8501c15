"""Who may open a page or send a form: an open session with the permission, and the session's form token."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Request

from api.console.roles import Permission
from api.console.sessions import Session, Sessions
from api.errors import ApiError
from api.services import services_of

ROOT: Final = "/console"
LOGIN: Final = f"{ROOT}/login"
SAFE_METHODS: Final = frozenset({"GET", "HEAD"})
_FORM: Final = "application/x-www-form-urlencoded"
_MOST_FIELDS: Final = 100


class LoginNeededError(Exception):
    """The request has no open session."""


def sessions_of(request: Request) -> Sessions:
    """Return the sessions of the application that serves a request."""
    found: Sessions = request.app.state.sessions
    return found


def cookie_name(request: Request) -> str:
    """Return the name of the cookie; browsers accept the prefix only with ``Secure``, ``Path=/`` and no domain."""
    return "__Host-streamflow" if services_of(request).settings.secure_cookie else "streamflow"


def cookie_of(request: Request) -> str | None:
    """Return the secret of the session that a request names."""
    return request.cookies.get(cookie_name(request))


def requires(permission: Permission) -> Callable[[Request], Awaitable[Session]]:
    """Return a dependency that gives a route the session of its caller.

    Without an open session, the person is sent to the login page. A form needs the token of the session as the field
    ``csrf`` or the header ``X-CSRF-Token``.
    """

    async def check(request: Request) -> Session:
        session = await sessions_of(request).find(cookie_of(request))
        if session is None:
            raise LoginNeededError
        request.state.session = session
        if request.method not in SAFE_METHODS:
            require_same_origin(request)
            sent = request.headers.get("x-csrf-token") or (await form_of(request)).get("csrf", "")
            if not hmac.compare_digest(sent.encode(), session.csrf.encode()):
                raise ApiError(403, "form_expired", "the form is not valid any more", "reload the page and try again")
        if not session.identity.may(permission):
            raise ApiError(403, "not_allowed", "your roles do not allow this page", "ask an administrator for a role")
        return session

    return check


def require_same_origin(request: Request) -> None:
    """Refuse a form that another site sent.

    Raises:
        ApiError: the browser names another origin (403).
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    is_ours = site in {None, "same-origin", "none"} and (
        origin is None or urlsplit(origin).netloc == request.headers.get("host")
    )
    if not is_ours:
        raise ApiError(403, "other_site", "another site sent this form", "use the form on the page")


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form; of a repeated field, the last value.

    Raises:
        ApiError: the body is no form (422).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != _FORM:
        raise ApiError(422, "invalid_request", "the body is no form", "use the form on the page")
    try:
        text = (await request.body()).decode()
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise ApiError(422, "invalid_request", "the form cannot be read", "use the form on the page") from None


def local_path(text: str) -> str:
    """Return a path of the console to go to after the login; anything else becomes the first page.

    >>> local_path("/console/cases/7?x=1"), local_path("//other.example/console"), local_path("/v1")
    ('/console/cases/7?x=1', '/console/', '/console/')
    """
    is_ours = text.startswith(f"{ROOT}/") and text.isprintable() and text.isascii() and "\\" not in text
    return text if is_ours else f"{ROOT}/"


def login_address(request: Request) -> str:
    """Return the address of the login page that leads back to the page of a request."""
    if request.method not in SAFE_METHODS:
        return LOGIN
    query = f"?{request.url.query}" if request.url.query else ""
    return f"{LOGIN}?next={quote(request.url.path + query, safe='')}"
