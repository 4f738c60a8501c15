"""Choose TCP ports that nobody uses."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from flink_jobs.errors import UserError

HOST = "127.0.0.1"


def is_free(port: int) -> bool:
    """Say whether a server could listen on this port of the loopback interface now."""
    with socket.socket() as probe:
        # As servers do: without it, a port whose last connections are still in TIME_WAIT would look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def is_open(port: int) -> bool:
    """Say whether something accepts connections on this port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def free_ports(count: int) -> list[int]:
    """Return ``count`` different free ports. They are held open together, so that none comes up twice."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind((HOST, 0))
        return [int(item.getsockname()[1]) for item in sockets]


def choose(wanted: dict[str, int | None], preferred: dict[str, int]) -> dict[str, int]:
    """Give each name a port.

    Args:
        wanted: name to the port someone asked for, or None for "any".
        preferred: name to the port to take if it is free (the one used last time, or a well-known one).

    Raises:
        UserError: a port that was asked for is taken.
    """
    chosen: dict[str, int] = {}
    spare = free_ports(len(wanted))
    for name, port in wanted.items():
        if port is not None:
            if not is_free(port):
                raise UserError(
                    f"port {port} for {name} is taken on {HOST}",
                    f"stop what listens there (`ss -ltnp 'sport = :{port}'` shows it) or choose another port",
                )
            chosen[name] = port
            continue
        candidate = preferred.get(name)
        usable = candidate is not None and candidate not in chosen.values() and is_free(candidate)
        chosen[name] = candidate if usable and candidate is not None else spare.pop()
    return chosen
