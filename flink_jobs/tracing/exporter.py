"""Sends spans to an OTLP/HTTP receiver from a thread of its own; the caller never waits.

Only the standard library and orjson are imported: the detector runs inside the JVM, where C extensions such as grpc's
can block for ever (ADR 39).
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from flink_jobs.tracing.spans import CONTENT_TYPE, encode
from flink_jobs.tracing.target import PATH

if TYPE_CHECKING:
    from flink_jobs.tracing.spans import Span
    from flink_jobs.tracing.target import TraceTarget

MOST_WAITING: Final = 8_192
"""Spans that wait for the thread, about 1 kB each; further ones are dropped."""
_AT_ONCE: Final = 256
_POLL_S: Final = 0.2
_TIMEOUT_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 30.0
_OK: Final = range(200, 300)


class SpanCounts(NamedTuple):
    """Numbers of spans since the exporter was created."""

    sent: int = 0
    """The receiver accepted them."""
    dropped: int = 0
    """Too many waited, or the receiver did not answer or did not accept them."""


class SpanExporter:
    """A bounded queue of spans and the thread that sends them."""

    def __init__(self, target: TraceTarget, service: str, most_waiting: int = MOST_WAITING) -> None:
        """Start the thread; it connects with the first span.

        Args:
            target: the receiver.
            service: name of this part of StreamFlow, such as ``streamflow-detect``.
            most_waiting: size of the queue.
        """
        self._resource = {
            "service.name": service,
            "service.namespace": "streamflow",
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
        place = urlsplit(target.endpoint)
        self._path = place.path.rstrip("/") + PATH
        self._headers = {"Content-Type": CONTENT_TYPE, **target.headers}
        host, port = place.hostname or "", place.port
        self._connection: http.client.HTTPConnection
        if place.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        self._most_waiting = most_waiting
        self._waiting: deque[Span] = deque()
        # Each number is changed by one thread only.
        self._overflown = self._sent = self._failed = 0
        self._reported = SpanCounts()
        self._pause_s = _POLL_S
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="span-exporter", daemon=True)
        self._thread.start()

    def offer(self, span: Span) -> None:
        """Give a span to the thread, or drop it if too many wait."""
        if len(self._waiting) < self._most_waiting:
            self._waiting.append(span)
        else:
            self._overflown += 1

    def counts(self) -> SpanCounts:
        """Return how many spans were sent and dropped."""
        return SpanCounts(self._sent, self._overflown + self._failed)

    def news(self) -> SpanCounts:
        """Return how many spans were sent and dropped since the last call; for one caller only."""
        counts, before = self.counts(), self._reported
        self._reported = counts
        return SpanCounts(counts.sent - before.sent, counts.dropped - before.dropped)

    def close(self, limit_s: float = 2.0) -> None:
        """Send the spans that wait and stop the thread; give up after ``limit_s``."""
        self._stop.set()
        self._thread.join(limit_s)

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            self._send_waiting()
        self._send_waiting()
        self._connection.close()

    def _send_waiting(self) -> None:
        """Send what waits. After a failure the pause grows: the spans of that time are dropped."""
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(len(self._waiting), _AT_ONCE))]
            refused = self._post(encode(self._resource, some), len(some))
            self._sent += len(some) - refused
            self._failed += refused
            if refused == len(some):
                self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
                return
        self._pause_s = _POLL_S

    def _post(self, body: bytes, size: int) -> int:
        """Send one request; return the number of its spans that the receiver did not accept."""
        for is_last in (False, True):
            try:
                self._connection.request("POST", self._path, body, self._headers)
                response = self._connection.getresponse()
                answer = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()  # the next request connects again
                # The receiver may have closed a connection that was idle.
                if is_last or not isinstance(error, ConnectionError):
                    return size
            else:
                return _refused(answer) if response.status in _OK else size
        return size


def _refused(answer: bytes) -> int:
    """Return the number of spans that a receiver refused although it accepted the request."""
    try:
        return int(orjson.loads(answer)["partialSuccess"]["rejectedSpans"])
    except (ValueError, TypeError, KeyError):
        return 0  # the usual answer is empty
