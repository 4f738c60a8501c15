"""The console as an application of its own under ``/console``: its errors are pages, its routes are not in OpenAPI."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from api.console.guard import ROOT, LoginNeededError, login_address
from api.console.headers import SecurityHeaders
from api.console.pages import page
from api.console.routes import ROUTERS
from api.console.sessions import Sessions
from api.errors import ApiError
from api.services import Services


def create_console(services: Services) -> FastAPI:
    """Return the console; it shares the services of the API."""
    console = FastAPI(title="StreamFlow console", openapi_url=None, docs_url=None, redoc_url=None)
    console.state.services = services
    console.state.sessions = Sessions(services.database, services.settings, services.counters)
    for router in ROUTERS:
        console.include_router(router)
    console.add_exception_handler(LoginNeededError, _to_login)
    console.add_exception_handler(ApiError, _of_ours)
    console.add_exception_handler(RequestValidationError, _of_validation)
    console.add_exception_handler(HTTPException, _of_http)
    console.add_exception_handler(Exception, _of_defect)
    target = None if services.oidc is None else services.oidc.origin
    console.add_middleware(SecurityHeaders, is_https=services.settings.secure_cookie, form_target=target)
    return console


def install(app: FastAPI, services: Services) -> None:
    """Add the console to the application of the API."""

    async def first_page(_: Request) -> Response:
        return RedirectResponse(f"{ROOT}/", 303)

    app.add_route("/", first_page, include_in_schema=False)
    app.mount(ROOT, create_console(services))


def _to_login(request: Request, _: Exception) -> Response:
    if request.headers.get("hx-request") == "true":
        return Response(status_code=401, headers={"HX-Redirect": f"{ROOT}/login"})
    return RedirectResponse(login_address(request), 303)


def _error(request: Request, status: int, message: str, hint: str) -> Response:
    session = getattr(request.state, "session", None)
    request_id = getattr(request.state, "request_id", "")
    return page(request, "error", session, status, message=message, hint=hint, request_id=request_id)


def _of_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - registered for this class
    return _error(request, error.status, error.message, error.hint)


def _of_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    problems = "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())
    return _error(request, 422, problems, "correct the address or the form")


def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    hint = "check the address, or start at the queue"
    return _error(request, error.status_code, str(error.detail), hint)


def _of_defect(request: Request, _: Exception) -> Response:
    return _error(request, 500, "a defect of StreamFlow", "report it with the request id")
