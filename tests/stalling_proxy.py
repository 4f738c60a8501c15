"""A TCP proxy that can hang or refuse: a server in trouble, as its client sees it."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final

HOST: Final = "127.0.0.1"
_TICK_S: Final = 0.02


class Way(Enum):
    """How a proxy treats its clients."""

    PASS_ON = auto()
    HANG = auto()
    """Connections stay open and silent."""
    REFUSE = auto()
    """All connections are closed, new ones at once."""


class Proxy:
    """Passes bytes between clients and one server.

    Attributes:
        port: the port that clients connect to.
        way: how it treats them; may be set from any thread.
    """

    def __init__(self, server: tuple[str, int]) -> None:
        """Listen on a free port; nothing is passed on before ``run``."""
        self._server = server
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.way = Way.PASS_ON
        self._is_done = False
        self._other: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Serve until ``stop``."""
        with self._selector, self._listener:
            self._selector.register(self._listener, selectors.EVENT_READ)
            while not self._is_done:
                self._round()
            self._close_all()

    def stop(self) -> None:
        """End ``run``."""
        self._is_done = True

    def _round(self) -> None:
        way = self.way
        if way is Way.REFUSE:
            self._close_all()
        for key, _ in self._selector.select(_TICK_S):
            if key.fileobj is self._listener:
                self._accept(way)
            elif way is Way.PASS_ON and isinstance(key.fileobj, socket.socket):
                self._pass_on(key.fileobj)
        if way is not Way.PASS_ON:
            time.sleep(_TICK_S)  # bytes that are not read would wake the selector at once

    def _accept(self, way: Way) -> None:
        client, _ = self._listener.accept()
        if way is Way.REFUSE:
            client.close()
            return
        server = socket.create_connection(self._server)
        for end, other in ((client, server), (server, client)):
            self._other[end] = other
            self._selector.register(end, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        other = self._other.get(end)
        if other is None:  # closed in this round
            return
        try:
            data = end.recv(65_536)
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        self._close(end, other)

    def _close_all(self) -> None:
        while self._other:
            self._close(*next(iter(self._other.items())))

    def _close(self, *ends: socket.socket) -> None:
        for end in ends:
            self._selector.unregister(end)
            del self._other[end]
            end.close()


@contextmanager
def proxy_to(host: str, port: int) -> Iterator[Proxy]:
    """Yield a running proxy to a server."""
    proxy = Proxy((host, port))
    thread = threading.Thread(target=proxy.run)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join(30)
