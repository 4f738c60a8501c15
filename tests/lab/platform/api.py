"""A small client of the Kubernetes API for the checks: strict server-side apply, create, get, list, status, delete."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from tests.lab.platform.k8s_manifests import Manifest

MANAGER: Final = "argocd-controller"
_JSON, _APPLY, _MERGE = "application/json", "application/apply-patch+yaml", "application/merge-patch+json"


@dataclass(frozen=True)
class ApiResponse:
    """Response of the server: HTTP status code, the object or a ``Status``, and warnings."""

    code: int
    body: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def error(self) -> str:
        """Error message of the server; empty if the request succeeded."""
        return "" if self.code < http.HTTPStatus.BAD_REQUEST else f"{self.code} {self.body.get('message', self.body)}"


@dataclass(frozen=True)
class Api:
    """The API server at ``host:port``, called with ``token`` over TLS; ``user`` is the impersonated user, if any."""

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
        """Return a client whose requests have the permissions of another user."""
        return Api(self.host, self.port, self.token, self.authority, user, self._paths)

    def is_ready(self) -> bool:
        """Return whether the server answers and has created its initial objects."""
        try:
            return self.call("GET", "/readyz").code == http.HTTPStatus.OK
        except OSError:
            return False

    def call(self, method: str, path: str, body: object = None, content: str = _JSON, **query: str) -> ApiResponse:
        """Send one request and return the response."""
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
            return ApiResponse(reply.status, document, tuple(reply.headers.get_all("Warning") or ()))
        finally:
            connection.close()

    def path(self, manifest: Manifest, *, named: bool = True) -> str:
        """Return the path of an object, or with ``named=False`` the path of all objects of its kind.

        Raises:
            LookupError: the server does not have the kind.
        """
        version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._paths:
            for item in self.call("GET", root).body.get("resources", ()):
                if "/" not in item["name"]:
                    self._paths[version, item["kind"]] = item["name"], item["namespaced"]
        if (version, kind) not in self._paths:
            raise LookupError(f"the server has no kind {kind} in {version}")
        plural, namespaced = self._paths[version, kind]
        scope = f"/namespaces/{metadata['namespace']}" if namespaced else ""
        return f"{root}{scope}/{plural}" + (f"/{quote(metadata['name'])}" if named else "")

    def apply(self, manifest: Manifest, *, dry_run: bool = False) -> ApiResponse:
        """Apply an object on the server side, as Argo CD does; an unknown field is an error."""
        query = {"fieldManager": MANAGER, "fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return self.call("PATCH", self.path(manifest), manifest, _APPLY, **query)

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> ApiResponse:
        """Create an object, as a controller does; an unknown field is an error."""
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        return self.call("POST", self.path(manifest, named=False), manifest, **query)

    def get(self, manifest: Manifest) -> ApiResponse:
        """Read an object."""
        return self.call("GET", self.path(manifest))

    def list(self, like: Manifest) -> list[Manifest]:
        """Return the objects of the same kind and namespace.

        Raises:
            RuntimeError: the server rejected the request.
        """
        response = self.call("GET", self.path(like, named=False))
        if response.error:
            raise RuntimeError(response.error)
        items: list[Manifest] = response.body["items"]
        return items

    def set_status(self, manifest: Manifest, status: dict[str, Any]) -> ApiResponse:
        """Write the status of an object, as its controller would."""
        return self.call("PATCH", f"{self.path(manifest)}/status", {"status": status}, _MERGE)

    def delete(self, manifest: Manifest) -> ApiResponse:
        """Delete an object and the objects that it owns."""
        return self.call("DELETE", self.path(manifest), propagationPolicy="Background")
