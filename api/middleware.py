"""What every request passes: an id, a limit for its body, a limit for its time, and the metrics."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

from api.errors import ApiError, error_response
from flink_jobs.logs import CONTEXT, TRACE
from flink_jobs.metrics import catalogue
from flink_jobs.tracing.context import parse_traceparent

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from api.measures import ApiMetrics
    from api.settings import ApiSettings
    from api.tracing import RequestSpan, Tracing

REQUEST_ID: Final = "X-Request-Id"
NOTED: Final = "noted"
"""Name of the state of a request with the attributes that its route adds to its span."""
_NOT_TRACED: Final = ("/health", "/metrics")
_FAILED: Final = 500
_LOG: Final = logging.getLogger(__name__)
_VALID_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NO_TIME: Final = ApiError(504, "timeout", "the request took too long", "try again; use a shorter history")
_TOO_LARGE: Final = ApiError(413, "body_too_large", "the request body is too large", "send less")
_BROKEN: Final = ApiError(500, "internal_error", "a defect of StreamFlow", "report it with the request id")


class RequestLimits:
    """ASGI middleware; the outermost of the application."""

    def __init__(
        self, app: ASGIApp, settings: ApiSettings, metrics: ApiMetrics, tracing: Tracing | None = None
    ) -> None:
        """Wrap an application; without ``tracing`` there are no spans."""
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        request_id = given if _VALID_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        caller = headers.get("traceparent", "")
        _set_context(request_id, caller)
        span = self._span(scope, caller)
        status, is_stream = 0, False

        async def sending(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                is_stream = Headers(raw=message["headers"]).get("content-type", "").startswith("text/event-stream")
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
                MutableHeaders(scope=message).setdefault("Cache-Control", "no-store")
            await send(message)

        async def fail(error: ApiError) -> None:
            if not status:
                await error_response(error, request_id)(scope, receive, sending)

        length = headers.get("content-length", "")
        try:
            if length.isdigit() and int(length) > self._settings.largest_body_bytes:
                await fail(_TOO_LARGE)
            else:
                async with asyncio.timeout(self._settings.request_timeout_s):
                    await self._app(scope, self._limited(receive), sending)
        except TimeoutError:
            await fail(_NO_TIME)
        except Exception:
            await fail(_BROKEN)
            raise
        finally:
            self._metrics.count(catalogue.API_REQUESTS, str(status))
            _log_failure(scope, status)
            _end(span, scope, status)
            if not is_stream:
                self._metrics.observe(catalogue.API_REQUEST_TIME_MS, (time.monotonic() - started) * 1_000)

    def _span(self, scope: Scope, caller: str) -> RequestSpan | None:
        if self._tracing is None or scope["path"].startswith(_NOT_TRACED):
            return None
        return self._tracing.request(scope["method"], caller)

    def _limited(self, receive: Receive) -> Receive:
        total = 0

        async def receiving() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > self._settings.largest_body_bytes:
                raise HTTPException(_TOO_LARGE.status, _TOO_LARGE.message)
            return message

        return receiving


def _set_context(request_id: str, traceparent: str) -> None:
    """Set the ids that the log lines of this request have, and the trace that its messages to Kafka belong to."""
    trace = parse_traceparent(traceparent)
    CONTEXT.set({"request_id": request_id, **({"trace_id": trace.trace_id} if trace else {})})
    TRACE.set(traceparent if trace else "")


def _end(span: RequestSpan | None, scope: Scope, status: int) -> None:
    """End the span of a request, if it has one."""
    if span is not None:
        span.end(_route(scope), status, scope["state"].get(NOTED, {}))


def _log_failure(scope: Scope, status: int) -> None:
    """Log an answer with a status of 500 or above: its route and not its path, which can contain ids."""
    if status >= _FAILED:
        fields = {"method": scope["method"], "route": _route(scope), "status": status}
        _LOG.warning("request failed", extra={"fields": fields})


def _route(scope: Scope) -> str:
    """Return the path of the route, which has no ids."""
    return str(getattr(scope.get("route"), "path", "unknown"))
