"""The errors of the API, in the form that the command line uses too: ``{"error": {"code", "message", "hint"}}``."""

from __future__ import annotations

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException


class ErrorBody(BaseModel):
    """One error."""

    code: str = Field(description="stable name for programs")
    message: str = Field(description="what is wrong")
    hint: str = Field(description="what to do")
    request_id: str | None = None
    retry_token: str | None = Field(default=None, description="send it as Retry-Token with the same transaction")


class ErrorDocument(BaseModel):
    """The body of every answer that is an error."""

    error: ErrorBody


class ApiError(Exception):
    """An error with its HTTP status.

    Attributes:
        status: HTTP status code.
        code: stable name for programs.
        message: what is wrong.
        hint: what the caller should do.
        headers: headers of the answer.
        retry_token: the token of a transaction whose fate is unknown.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str,
        *,
        headers: dict[str, str] | None = None,
        retry_token: str | None = None,
    ) -> None:
        """Keep the parts."""
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.hint = status, code, message, hint
        self.headers, self.retry_token = headers or {}, retry_token


_NAMES: Final = {404: "not_found", 405: "method_not_allowed", 413: "body_too_large"}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documented errors of a route; every route can also answer 401, 403, 429, 503 and 504."""
    return {status: {"model": ErrorDocument} for status in sorted({*statuses, 401, 403, 413, 422, 429, 503, 504})}


def error_response(error: ApiError, request_id: str | None) -> JSONResponse:
    """Return an error as an HTTP answer."""
    body = ErrorBody(
        code=error.code,
        message=error.message,
        hint=error.hint,
        request_id=request_id,
        retry_token=error.retry_token,
    )
    document = ErrorDocument(error=body).model_dump(exclude_none=True)
    return JSONResponse(document, error.status, headers=error.headers)


def install(app: FastAPI) -> None:
    """Answer every error of an application in the house form."""

    def of_ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ApiError)  # noqa: S101 - registered for this class
        return error_response(error, _request_id(request))

    def of_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
        problems = "; ".join(
            f"{'.'.join(str(part) for part in item['loc'][1:]) or item['loc'][0]}: {item['msg']}"
            for item in error.errors()
        )
        return error_response(
            ApiError(422, "invalid_request", problems, "correct the request; /docs describes it"), _request_id(request)
        )

    def of_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
        code = _NAMES.get(error.status_code, "invalid_request")
        wrapped = ApiError(error.status_code, code, str(error.detail), "see /docs", headers=dict(error.headers or {}))
        return error_response(wrapped, _request_id(request))

    app.add_exception_handler(ApiError, of_ours)
    app.add_exception_handler(RequestValidationError, of_validation)
    app.add_exception_handler(HTTPException, of_http)


def unavailable(what: str) -> ApiError:
    """Return the error of a part that does not answer."""
    return ApiError(
        503, "unavailable", f"{what} does not answer", "try again in a second", headers={"Retry-After": "1"}
    )


def _request_id(request: Request) -> str | None:
    found: str | None = getattr(request.state, "request_id", None)
    return found
