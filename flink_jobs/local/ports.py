"""Choose unused TCP ports."""

from __future__ import annotations

import secrets
import socket
import sys
from contextlib import ExitStack
from itertools import chain, repeat
from pathlib import Path

from flink_jobs.errors import UserError

HOST = "127.0.0.1"
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _ROOM = 10_000, 12_000


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port of the loopback interface now."""
    with socket.socket() as probe:
        # Servers set this option, too. Without it a port with connections in TIME_WAIT would seem to be in use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def is_open(port: int) -> bool:
    """Return whether a server accepts connections on this port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0


def free_ports(count: int) -> list[int]:
    """Return ``count`` different free ports; all are held open at once, so none is returned twice.

    A server opens its port seconds after this choice. The ports are below the range that the kernel uses for outgoing
    connections, because such a connection could take the port in the meantime. For the same reason, no other process
    that uses this function gets one of them before this process ends.
    """
    found: list[int] = []
    below = _below_ephemeral()
    # Not `random`: tests seed it, and two parallel tests would choose the same ports.
    candidates = chain(secrets.SystemRandom().sample(below, len(below)), repeat(0))
    with ExitStack() as held:
        while len(found) < count:
            item = held.enter_context(socket.socket())
            candidate = next(candidates)
            try:
                item.bind((HOST, candidate))
            except OSError:
                if not candidate:
                    raise
                continue
            if _reserve(port := int(item.getsockname()[1])):
                found.append(port)
    return found


def _reserve(port: int) -> bool:
    """Keep a port for this process until it ends; return ``False`` if another process has it, or this one already.

    The reservation is the name of a socket, which the kernel frees with the process. Like ports, such names belong to
    a network namespace. They exist on Linux alone; elsewhere nothing is reserved.
    """
    if sys.platform != "linux":
        return True
    holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        holder.bind(f"\0streamflow-port-{port}")
    except OSError:
        holder.close()
        return False
    holder.detach()  # stays open until the process ends
    return True


def _below_ephemeral() -> range:
    """Return ports below the ephemeral range (``ip_local_port_range`` in ip(7)); none if the range is unknown."""
    try:
        lowest = int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return range(0)
    return range(max(lowest - _ROOM, _LOWEST), lowest)


def choose(wanted: dict[str, int | None], preferred: dict[str, int]) -> dict[str, int]:
    """Return a port for each name.

    Args:
        wanted: name to the requested port; ``None`` for any port.
        preferred: name to the port to use if it is free: the last one used, or a well-known one.

    Raises:
        UserError: a requested port is in use.
    """
    chosen: dict[str, int] = {}
    spare = free_ports(len(wanted))
    for name, port in wanted.items():
        if port is not None:
            if not is_free(port):
                raise UserError(
                    f"port {port} for {name} is in use on {HOST}",
                    f"stop the process that listens there (`ss -ltnp 'sport = :{port}'` shows it) or choose another",
                )
            chosen[name] = port
            continue
        candidate = preferred.get(name)
        usable = candidate is not None and candidate not in chosen.values() and is_free(candidate)
        chosen[name] = candidate if usable and candidate is not None else spare.pop()
        _reserve(chosen[name])
    return chosen
