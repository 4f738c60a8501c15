"""A small HTTP server that answers as a schema registry with Confluent's API, for tests without Apicurio."""

from __future__ import annotations

import json
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Self
from urllib.parse import unquote, urlsplit


class RegistryServer:
    """Knows subjects, their versions and ids; it checks no compatibility."""

    def __init__(self, login: str | None = None) -> None:
        self._login = login
        self._ids: dict[str, int] = {}
        self._subjects: dict[str, list[str]] = {}
        self.paths: list[str] = []
        self.compatibility: dict[str, str] = {}
        self.status = 200
        self.body: bytes | None = None
        """Answers every request, if it is set."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def register(self, subject: str, schema: str) -> int:
        """Add a version to a subject, unless it has this schema; return the id."""
        versions = self._subjects.setdefault(subject, [])
        if schema not in versions:
            versions.append(schema)
        return self._ids.setdefault(schema, len(self._ids) + 1)

    def answer(self, method: str, path: str, body: Any) -> tuple[int, object]:  # noqa: ANN401, PLR0911 - JSON, calls
        """Return status and JSON of a request."""
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        if parts[:2] == ["schemas", "ids"]:
            found = [text for text, number in self._ids.items() if str(number) == parts[2]]
            return (200, {"schema": found[0]}) if found else (404, {"error_code": 40403, "message": "no such schema"})
        if method == "PUT" and parts[0] == "config":
            self.compatibility[parts[1]] = body["compatibility"]
            return 200, body
        if parts[0] != "subjects" or len(parts) < 2:
            return 404, {"error_code": 404, "message": "no such call"}
        subject = parts[1]
        if method == "POST" and parts[2:] == ["versions"]:
            return 200, {"id": self.register(subject, body["schema"])}
        versions = self._subjects.get(subject)
        if versions is None:
            return 404, {"error_code": 40401, "message": "no such subject"}
        if parts[2:] == ["versions"]:
            return 200, list(range(1, len(versions) + 1))
        if method == "POST":  # a look-up by content
            known = [json.loads(text) for text in versions]
            if json.loads(body["schema"]) not in known:
                return 404, {"error_code": 40403, "message": "no such schema"}
            number = known.index(json.loads(body["schema"])) + 1
        else:
            number = len(versions) if parts[3] == "latest" else int(parts[3])
        text = versions[number - 1]
        return 200, {"subject": subject, "version": number, "id": self._ids[text], "schema": text}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def _reply(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                sent = json.loads(self.rfile.read(length)) if length else None
                registry.paths.append(self.path)
                expected = registry._login and f"Basic {b64encode(registry._login.encode()).decode()}"
                status, value = registry.status, registry.body
                if expected and self.headers.get("Authorization") != expected:
                    status, value = 401, b'{"error_code": 401, "message": "login needed"}'
                elif value is None:
                    status, answer = registry.answer(self.command, self.path, sent)
                    value = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(value)))
                self.end_headers()
                self.wfile.write(value)

            do_GET = do_POST = do_PUT = _reply  # noqa: N815 - named by the base class

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        return Handler
