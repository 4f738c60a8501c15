"""A real OIDC server for tests: oidc-provider-mock, behind a check of PKCE, which it does not make itself.

Run ``python -m tests.integration.oidc_server PORT``. It is a process of its own, because it changes settings of Authlib
for the whole process.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from flink_jobs.local.ports import HOST, free_ports
from flink_jobs.settings import REPO_ROOT
from flink_jobs.waiting import wait_for

LIMIT_S = 240.0


class Pkce:
    """WSGI middleware: the token request must have the verifier of the challenge that the login began with."""

    def __init__(self, app: Any) -> None:  # noqa: ANN401 - of Flask
        """Wrap a server; it has one open login at a time."""
        self._app = app
        self._challenges: dict[str, str] = {}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:  # noqa: ANN401 - WSGI
        """Serve one request."""
        if environ["PATH_INFO"] == "/oauth2/authorize":
            query = parse_qs(environ["QUERY_STRING"])
            if query.get("code_challenge_method") != ["S256"] or "nonce" not in query or "state" not in query:
                return _refused(start_response)
            return self._authorized(environ, start_response, query["code_challenge"][0])
        if environ["PATH_INFO"] == "/oauth2/token":
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = BytesIO(body)
            form = parse_qs(body.decode())
            verifier = form.get("code_verifier", [""])[0]
            challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
            if self._challenges.pop(form.get("code", [""])[0], None) != challenge:
                return _refused(start_response)
        return self._app(environ, start_response)

    def _authorized(self, environ: dict[str, Any], start_response: Any, challenge: str) -> Any:  # noqa: ANN401 - WSGI
        def starting(status: str, headers: list[tuple[str, str]], *more: object) -> Any:  # noqa: ANN401 - WSGI
            code = parse_qs(urlsplit(dict(headers).get("Location", "")).query).get("code")
            if code:
                self._challenges[code[0]] = challenge
            return start_response(status, headers, *more)

        return self._app(environ, starting)


def _refused(start_response: Any) -> list[bytes]:  # noqa: ANN401 - WSGI
    start_response("400 Bad Request", [("Content-Type", "application/json")])
    return [b'{"error": "invalid_grant"}']


@contextmanager
def oidc_server() -> Iterator[str]:
    """Run the server; yield its address."""
    (port,) = free_ports(1)
    command = [sys.executable, "-W", "ignore", "-m", "tests.integration.oidc_server", str(port)]
    process = subprocess.Popen(command, cwd=REPO_ROOT, env={**os.environ, "PYTHONPATH": str(REPO_ROOT)})
    address = f"http://{HOST}:{port}"
    try:
        wait_for(lambda: _answers(address), limit_s=LIMIT_S, what="the OIDC server")
        yield address
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/.well-known/openid-configuration", timeout=LIMIT_S).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def put_person(address: str, subject: str, **claims: object) -> None:
    """Set the claims of a person."""
    httpx.put(f"{address}/users/{subject}", json=claims, timeout=LIMIT_S).raise_for_status()


def main() -> None:
    """Serve until the process is ended."""
    import oidc_provider_mock  # noqa: PLC0415 - warns at its import
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415 - as above

    WSGIRequestHandler.log_request = lambda *_: None  # type: ignore[method-assign]
    os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"
    server = make_server(HOST, int(sys.argv[1]), Pkce(oidc_provider_mock.app(require_nonce=True)), threaded=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
