"""Reads the writers' schemas of a topic: from a registry with Confluent's API, or from a folder of ``ID.avsc`` files.

The detector calls this inside the TaskManager, so it imports nothing but the standard library and orjson.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import orjson

from flink_jobs.kafka.registry_access import RegistryAccess

TIMEOUT_S: Final = 3.0
REGISTRATION_S: Final = 30.0
"""Longest wait for a registration: Apicurio's first one loads its parsers."""
_MOST_BYTES: Final = 4_000_000
_NOT_FOUND: Final = 404
_MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"


class RegistryError(Exception):
    """The registry does not answer, or not as Confluent's API does; the message holds no password."""

    def __init__(self, message: str, status: int | None = None) -> None:
        """Keep the HTTP status, ``None`` where there is no answer."""
        super().__init__(message)
        self.status = status


def subject_of(topic: str) -> str:
    """Return the subject of a topic's values, as Confluent's clients name it.

    >>> subject_of("streamflow.transactions")
    'streamflow.transactions-value'
    """
    return f"{topic}-value"


class SchemaReader:
    """Reads the schemas of one subject; a version is read only once, because it never changes."""

    def __init__(self, access: RegistryAccess, subject: str) -> None:
        """Send no request yet."""
        self._access = access
        self._subject = subject
        self._versions: dict[int, tuple[int, str]] = {}

    def read(self) -> dict[int, str]:
        """Return the text of every schema of the subject, by id; empty if the registry does not have the subject.

        Raises:
            RegistryError: the registry or the folder cannot be read.
        """
        if self._access.is_folder:
            return _files(Path(self._access.place))
        path = f"subjects/{quote(self._subject, safe='')}/versions"
        try:
            versions = call(self._access, path)
        except RegistryError as problem:
            if problem.status == _NOT_FOUND:
                return {}
            raise
        for version in versions if isinstance(versions, list) else ():
            if version not in self._versions:
                self._versions[version] = _schema(call(self._access, f"{path}/{version}"))
        return dict(self._versions.values())


def register(access: RegistryAccess, subject: str, schema: str, compatibility: str) -> int:
    """Register an Avro schema under a subject, and set the compatibility of the subject; return the schema's id.

    Raises:
        RegistryError: there is no answer, or the schema is not compatible (status 409).
    """
    name = quote(subject, safe="")
    body = {"schema": schema, "schemaType": "AVRO"}
    answer = call(access, f"subjects/{name}/versions", body, timeout_s=REGISTRATION_S)
    call(access, f"config/{name}", {"compatibility": compatibility}, "PUT", timeout_s=REGISTRATION_S)
    if not isinstance(answer, dict) or type(answer.get("id")) is not int:
        raise RegistryError("the registry's answer has no id; does it have Confluent's API?")
    return int(answer["id"])


def call(
    access: RegistryAccess,
    path: str,
    body: object = None,
    method: str | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Any:  # noqa: ANN401 - JSON
    """Return the JSON answer of a registry.

    Args:
        access: the registry; not a folder.
        path: after the URL.
        body: sent as JSON; ``None`` for a request without a body.
        method: the HTTP method; default: GET, or POST with a body.
        timeout_s: longest wait for each part of the answer.

    Raises:
        RegistryError: there is no answer, or an error, or it is not JSON.
    """
    url = f"{access.place.rstrip('/')}/{path}"
    data = None if body is None else orjson.dumps(body)
    request = Request(url, data, {"Content-Type": _MEDIA_TYPE, "Accept": _MEDIA_TYPE}, method=method)  # noqa: S310 - http or https, as the setting's pattern says
    context = ssl.create_default_context(cafile=access.ca_file) if url.startswith("https:") else None
    try:
        if access.login_file is not None:
            login = Path(access.login_file).read_bytes().strip()
            request.add_header("Authorization", f"Basic {b64encode(login).decode('ascii')}")
        with urlopen(request, timeout=timeout_s, context=context) as answer:  # noqa: S310 - same
            return orjson.loads(answer.read(_MOST_BYTES))
    except HTTPError as error:
        with error:
            detail = _message(error.read(_MOST_BYTES))
        raise RegistryError(f"{url} answered {error.code}{detail}", error.code) from None
    except (OSError, HTTPException, ValueError) as cause:
        raise RegistryError(f"{url} cannot be read ({type(cause).__name__}: {cause})") from None


def _message(body: bytes) -> str:
    try:
        answer = orjson.loads(body)
    except ValueError:
        return ""
    return f": {answer['message']}" if isinstance(answer, dict) and "message" in answer else ""


def _schema(answer: object) -> tuple[int, str]:
    """Return id and text of a version."""
    if not isinstance(answer, dict) or type(answer.get("id")) is not int or not isinstance(answer.get("schema"), str):
        raise RegistryError("the registry's answer has no id or no schema; does it have Confluent's API?")
    return answer["id"], answer["schema"]


def _files(folder: Path) -> dict[int, str]:
    try:
        files = [path for path in folder.iterdir() if path.suffix == ".avsc"]
        named = {int(path.stem): path.read_text(encoding="utf-8") for path in files if path.stem.isdecimal()}
    except (OSError, ValueError) as cause:
        raise RegistryError(f"{folder} cannot be read ({cause})") from None
    return named
