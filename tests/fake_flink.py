"""A server that answers like Flink's REST API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ID = "a" * 32


class FakeFlink:
    """Answers by path; a list is answered one item per request, the last one for good."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.requests: list[tuple[str, str, Any]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"null")
                fake.requests.append((self.command, self.path, body))
                answer = fake.answers.get(f"{self.command} {self.path}")
                if isinstance(answer, list) and self.path.startswith("/jobs/" + ID):
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                status = 404 if answer is None else 200
                text = json.dumps({"errors": ["Not found: nothing here"]} if answer is None else answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - the names the server looks for

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def job(self, states: list[str], tasks: str = "RUNNING") -> None:
        vertices = [{"id": "v", "name": "fraud", "status": tasks}]
        self.answers[f"GET /jobs/{ID}"] = [{"state": state, "vertices": vertices} for state in states]

    def runs(self, name: str, job_id: str = ID, **parameters: str) -> None:
        """Add an active job with its parameters."""
        jobs = self.answers.setdefault("GET /jobs/overview", {"jobs": []})["jobs"]
        jobs.append({"jid": job_id, "name": name, "state": "RUNNING", "start-time": 0, "duration": 1})
        self.answers[f"GET /jobs/{job_id}/config"] = {"execution-config": {"user-config": parameters}}

    def offers(self, free: int, *, taskmanagers: int = 1, settings: dict[str, str] | None = None) -> None:
        """Set the cluster's slots and settings."""
        self.answers["GET /overview"] = {"slots-available": free, "slots-total": 9, "taskmanagers": taskmanagers}
        self.answers["GET /jobmanager/config"] = [
            {"key": key, "value": value} for key, value in (settings or {}).items()
        ]


@contextmanager
def serving() -> Iterator[FakeFlink]:
    """Serve a fake without jobs."""
    fake = FakeFlink()
    thread = threading.Thread(target=fake.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.server.shutdown()
        fake.server.server_close()
        thread.join()
