"""One Redis for the rate limits that replicas of the API share. It keeps nothing on disk."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flink_jobs.errors import UserError
from flink_jobs.local import checkout
from flink_jobs.local.certificates import REDIS, Certificates
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flink_jobs.local.home import Home
    from flink_jobs.local.record import StackRecord

NAME = "redis"
URL = "STREAMFLOW_API_REDIS_URL"
CA_FILE = "STREAMFLOW_API_REDIS_CA_FILE"
TIMEOUT_S = 1.0
_LARGEST = "64mb"


def find() -> Path | None:
    """Return the program ``redis-server``: of this machine, or the link of the set-up; ``None`` if there is none."""
    found = shutil.which("redis-server") or shutil.which("redis-server", path=str(checkout.TOOLS / "redis"))
    return None if found is None else Path(found)


def address_of(record: StackRecord, known: Mapping[str, str]) -> str:
    """Return the address with the password of ``stack.env``, which a running API has; else with a new one."""
    password = urlsplit(known.get(URL, "")).password or secrets.token_hex(24)
    return f"{'rediss' if record.secure else 'redis'}://:{password}@{HOST}:{record.ports[NAME]}/0"


def settings(address: str | None, certificates: Certificates | None) -> dict[str, str]:
    """Return the variables for ``stack.env``; none without Redis."""
    if address is None:
        return {}
    return {URL: address} | ({CA_FILE: str(certificates.authority)} if certificates else {})


def render(folder: Path, port: int, password: str, certificates: Certificates | None) -> str:
    """Return ``redis.conf``: a login is needed, TLS only in a secured stack, nothing on disk."""
    values = {
        "bind": HOST,
        "port": str(0 if certificates else port),
        "requirepass": password,
        "dir": str(folder),
        "save": '""',
        "appendonly": "no",
        "maxmemory": _LARGEST,
        "maxmemory-policy": "allkeys-lru",
    }
    if certificates is not None:
        pair = str(certificates.pair(REDIS))
        values |= {
            "tls-port": str(port),
            "tls-cert-file": pair,
            "tls-key-file": pair,
            "tls-ca-cert-file": str(certificates.authority),
            "tls-auth-clients": "no",  # clients log in with the password
        }
    return "".join(f"{name} {value}\n" for name, value in values.items())


def command(home: Home, address: str, certificates: Certificates | None) -> Command:
    """Write the configuration and return the command line; the address has the port and the password.

    Raises:
        UserError: there is no ``redis-server``.
    """
    program = find()
    if program is None:
        raise UserError("no redis-server found", "run `make setup` as root, or install Redis")
    folder, place = home.root / NAME, urlsplit(address)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    configuration = folder / "redis.conf"
    configuration.unlink(missing_ok=True)
    with os.fdopen(os.open(configuration, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(render(folder, place.port or 0, place.password or "", certificates))
    return Command(
        name=NAME,
        argv=[str(program), str(configuration)],
        log=home.logs / f"{NAME}.log",
        env=dict(os.environ),
        cwd=folder,
    )


def is_ready(address: str, certificates: Certificates | None) -> bool:
    """Return whether Redis answers after the login."""
    from redis import Redis  # noqa: PLC0415 - a slow import, which only starting Redis needs
    from redis.exceptions import RedisError  # noqa: PLC0415

    options = {} if certificates is None else {"ssl_ca_certs": str(certificates.authority)}
    try:
        with Redis.from_url(address, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, **options) as client:
            return bool(client.ping())
    except (RedisError, OSError):
        return False
