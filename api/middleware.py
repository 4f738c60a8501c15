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

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from api.measures import ApiMetrics
    from api.settings import ApiSettings

REQUEST_ID: Final = "X-Request-Id"
TRACEPARENT: Final = re.compile(r"00-((?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""The context of a trace (W3C Trace Context); group 1 is the trace's id."""
_FAILED: Final = 500
_LOG: Final = logging.getLogger(__name__)
_VALID_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NO_TIME: Final = ApiError(504, "timeout", "the request took too long", "try again; use a shorter history")
_TOO_LARGE: Final = ApiError(413, "body_too_large", "the request body is too large", "send less")
_BROKEN: Final = ApiError(500, "internal_error", "a defect of StreamFlow", "report it with the request id")


class RequestLimits:
    """ASGI middleware; the outermost of the application."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, metrics: ApiMetrics) -> None:
        """Wrap an application."""
        self._app = app
        self._settings = settings
        self._metrics = metrics

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
        _set_context(request_id, headers.get("traceparent", ""))
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
            if not is_stream:
                self._metrics.observe(catalogue.API_REQUEST_TIME_MS, (time.monotonic() - started) * 1_000)

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
    trace = TRACEPARENT.fullmatch(traceparent)
    CONTEXT.set({"request_id": request_id, **({"trace_id": trace[1]} if trace else {})})
    TRACE.set(trace[0] if trace else "")


def _log_failure(scope: Scope, status: int) -> None:
    """Log an answer with a status of 500 or above: its route and not its path, which can contain ids."""
    if status >= _FAILED:
        route = getattr(scope.get("route"), "path", "unknown")
        fields = {"method": scope["method"], "route": route, "status": status}
        _LOG.warning("request failed", extra={"fields": fields})
