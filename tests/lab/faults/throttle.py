"""A TCP proxy with a limit in bytes per second; it simulates a slow network or a slow server."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 4_096


class Throttle:
    """Forwards connections to an address; each direction carries at most ``bytes_per_s`` (None: no limit)."""

    def __init__(self, host: str, port: int) -> None:
        """Listen on a free port of the loopback interface."""
        self._target = (host, port)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.bytes_per_s: float | None = None
        self.passed = 0
        """Bytes forwarded so far in both directions."""

    def serve(self) -> None:
        """Accept connections until the server socket is closed."""
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                upstream = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                continue
            upstream.settimeout(None)
            threading.Thread(target=self._carry, args=(client, upstream), daemon=True).start()

    def close(self) -> None:
        """Accept no more connections; open connections stay until one end closes them."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _carry(self, client: socket.socket, upstream: socket.socket) -> None:
        """Forward both directions of a connection until both have ended."""
        with client, upstream:
            back = threading.Thread(target=self._pump, args=(upstream, client), daemon=True)
            back.start()
            self._pump(client, upstream)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK_BYTES):
                if self.bytes_per_s is not None:
                    time.sleep(len(data) / self.bytes_per_s)
                sink.sendall(data)
                self.passed += len(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def throttle(host: str, port: int) -> Iterator[Throttle]:
    """Run a proxy during a ``with`` block."""
    proxy = Throttle(host, port)
    thread = threading.Thread(target=proxy.serve, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(timeout=5)
