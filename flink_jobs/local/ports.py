"""Choose TCP ports that nobody uses."""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack
from itertools import chain, repeat
from pathlib import Path

from flink_jobs.errors import UserError

HOST = "127.0.0.1"
_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST, _ROOM = 10_000, 12_000


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
    """Return ``count`` different free ports. They are held open together, so that none comes up twice.

    A server takes its port seconds after it was chosen. So the ports lie below those that the kernel gives to outgoing
    connections, any of which could have it by then.
    """
    found: list[int] = []
    below = _below_ephemeral()
    # Not by `random`: tests seed it, and two of them side by side would choose the same.
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
            found.append(int(item.getsockname()[1]))
    return found


def _below_ephemeral() -> range:
    """Return ports that the kernel gives nobody by itself (ip(7), ip_local_port_range); none where it does not say."""
    try:
        lowest = int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return range(0)
    return range(max(lowest - _ROOM, _LOWEST), lowest)


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
