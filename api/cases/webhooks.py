"""Signed webhooks: POST requests on changes of cases, to receivers that the owner of the installation chose.

The header ``StreamFlow-Signature`` is ``t=SECONDS,v1=HEX``: HMAC-SHA256 of ``SECONDS.BODY`` with the receiver's secret.
A receiver compares the signature, refuses old times, and ignores an ``id`` that it knows: a request can come twice.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Final

import orjson

from api.cases.outbox import Message
from flink_jobs.settings import SECRETS_DIR

SIGNATURE: Final = "StreamFlow-Signature"
EVENTS: Final = ("opened", "alerts_joined", "claimed", "changed", "noted", "verdict", "verdict_undone", "woken")
"""The actions of case events."""
SECRET_NAME: Final = re.compile(r"[A-Za-z0-9_]{1,64}")
LIMIT_S: Final = 5.0
_PREFIX: Final = "STREAMFLOW_WEBHOOK_SECRET_"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect is a failure: the signed request goes to the configured address only."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        """Return no request: the redirect is raised as an error."""


class WebhookSender:
    """Sends webhooks."""

    def __init__(self) -> None:
        """Use no proxy and follow no redirect."""
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())

    def send(self, message: Message) -> str | None:
        """Send a message; return ``None``, or why the receiver did not accept it. Blocks up to ``LIMIT_S``."""
        secret = secret_of(message.secret_name or "")
        if secret is None:
            return f"the secret {message.secret_name} is missing"
        body = orjson.dumps(message.payload)
        request = urllib.request.Request(  # noqa: S310 - the table allows http and https only
            message.url or "",
            body,
            {"Content-Type": "application/json", SIGNATURE: signature(secret, body, int(time.time()))},
        )
        try:
            with self._opener.open(request, timeout=LIMIT_S) as answer:
                answer.read(1)
        except urllib.error.HTTPError as error:
            error.close()
            return f"HTTP {error.code}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            return type(error).__name__
        return None


def signature(secret: bytes, body: bytes, seconds: int) -> str:
    """Return the signature of a body at a time in seconds since the epoch.

    >>> signature(b"key", b"{}", 1_700_000_000)[:16]
    't=1700000000,v1='
    """
    digest = hmac.new(secret, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def secret_of(name: str) -> bytes | None:
    """Return the secret of a name, from the environment or a file of ``STREAMFLOW_SECRETS_DIR``; ``None`` without."""
    variable = f"{_PREFIX}{name.upper()}"
    value = os.environ.get(variable)
    folder = os.environ.get(SECRETS_DIR)
    if value is None and folder is not None:
        file = Path(folder) / variable.lower()
        value = file.read_text(encoding="utf-8").strip() if file.is_file() else None
    return value.encode() if value else None
