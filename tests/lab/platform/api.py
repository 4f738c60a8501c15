"""A client of the Kubernetes API as small as our checks: server-side apply with strict fields, create, get, delete."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from tests.lab.platform.manifests import Manifest

MANAGER: Final = "argocd-controller"
_JSON, _APPLY, _MERGE = "application/json", "application/apply-patch+yaml", "application/merge-patch+json"


@dataclass(frozen=True)
class Answer:
    """What the server said: the status of HTTP, the object or the Status, and its warnings."""

    code: int
    body: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def refusal(self) -> str:
        """Why the server refused; empty when it did not."""
        return "" if self.code < http.HTTPStatus.BAD_REQUEST else f"{self.code} {self.body.get('message', self.body)}"


@dataclass(frozen=True)
class Api:
    """The server at ``host:port``, spoken to with ``token`` over TLS; ``user`` is whom the administrator acts for."""

    host: str
    port: int
    token: str
    authority: Path
    user: str = ""
    _paths: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict, compare=False)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority))

    def acting_for(self, user: str) -> Api:
        """Return a client whose requests have the rights of another user."""
        return Api(self.host, self.port, self.token, self.authority, user, self._paths)

    def is_ready(self) -> bool:
        """Say whether the server answers and has made what it starts with."""
        try:
            return self.call("GET", "/readyz").code == http.HTTPStatus.OK
        except OSError:
            return False

    def call(self, method: str, path: str, body: object = None, content: str = _JSON, **query: str) -> Answer:
        """Send one request."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": content, "Accept": _JSON}
        if self.user:
            headers["Impersonate-User"] = self.user
        connection = http.client.HTTPSConnection(self.host, self.port, context=self._context, timeout=60)
        try:
            connection.request(
                method, f"{path}?{urlencode(query)}", None if body is None else json.dumps(body), headers
            )
            reply = connection.getresponse()
            text = reply.read().decode()
            document = json.loads(text) if text.startswith("{") else {"message": text}
            return Answer(reply.status, document, tuple(reply.headers.get_all("Warning") or ()))
        finally:
            connection.close()

    def path(self, manifest: Manifest, *, named: bool = True) -> str:
        """Return where an object is, or with ``named=False`` where those of its kind are.

        Raises:
            LookupError: the server does not know the kind.
        """
        version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._paths:
            for item in self.call("GET", root).body.get("resources", ()):
                if "/" not in item["name"]:
                    self._paths[version, item["kind"]] = item["name"], item["namespaced"]
        if (version, kind) not in self._paths:
            raise LookupError(f"the server knows no {kind} of {version}")
        plural, namespaced = self._paths[version, kind]
        place = f"/namespaces/{metadata['namespace']}" if namespaced else ""
        return f"{root}{place}/{plural}" + (f"/{quote(metadata['name'])}" if named else "")

    def apply(self, manifest: Manifest, *, dry_run: bool = False) -> Answer:
        """Apply on the server's side, as Argo CD does; a field the server does not know is an error."""
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return self.call("PATCH", self.path(manifest), manifest, _APPLY, **query)

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> Answer:
        """Create an object, as a controller does."""
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return self.call("POST", self.path(manifest, named=False), manifest, **query)

    def get(self, manifest: Manifest) -> Answer:
        """Read an object."""
        return self.call("GET", self.path(manifest))

    def list(self, like: Manifest) -> list[Manifest]:
        """Return the objects of the same kind and namespace.

        Raises:
            RuntimeError: the server refused to say.
        """
        answer = self.call("GET", self.path(like, named=False))
        if answer.refusal:
            raise RuntimeError(answer.refusal)
        items: list[Manifest] = answer.body["items"]
        return items

    def set_status(self, manifest: Manifest, status: dict[str, Any]) -> Answer:
        """Write an object's status, as its controller would."""
        return self.call("PATCH", f"{self.path(manifest)}/status", {"status": status}, _MERGE)

    def delete(self, manifest: Manifest) -> Answer:
        """Delete an object, and what belongs to it."""
        return self.call("DELETE", self.path(manifest), propagationPolicy="Background")
