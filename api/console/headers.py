"""The security headers of every answer of the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Only files of the console run or style its pages: no inline script, no inline style, no other server."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
HSTS: Final = "max-age=31536000"


class SecurityHeaders:
    """ASGI middleware; the outermost of the console."""

    def __init__(self, app: ASGIApp, *, is_https: bool, form_target: str | None = None) -> None:
        """Wrap an application.

        Args:
            app: the console.
            is_https: browsers use HTTPS only.
            form_target: another server to which a form may lead: the logout leads to the OIDC server.
        """
        self._app = app
        self._headers = HEADERS | ({"Strict-Transport-Security": HSTS} if is_https else {})
        if form_target is not None:
            policy = POLICY.replace("form-action 'self'", f"form-action 'self' {form_target}")
            self._headers["Content-Security-Policy"] = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, sending)
