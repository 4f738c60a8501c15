"""The local stack's Postgres: initialised once, on the loopback interface only, with generated passwords."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psycopg
from psycopg.conninfo import make_conninfo

from flink_jobs.errors import UserError
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command, run_as

DATABASE = USER = "streamflow"
# The variable of stack.env that holds each account's password.
PASSWORDS = {
    "STREAMFLOW_POSTGRES_PASSWORD": USER,
    "STREAMFLOW_POSTGRES_WRITER_PASSWORD": "streamflow_writer",
    "STREAMFLOW_POSTGRES_TRANSFORMER_PASSWORD": "streamflow_transformer",
    "STREAMFLOW_POSTGRES_ANALYST_PASSWORD": "streamflow_analyst",
    "STREAMFLOW_POSTGRES_API_PASSWORD": "streamflow_api",
    "STREAMFLOW_POSTGRES_MODELS_PASSWORD": "streamflow_models",
    "STREAMFLOW_POSTGRES_BACKUP_PASSWORD": "streamflow_backup",
}
# fsync is off: a crash of the machine can lose this database, a crash of a process cannot.
SERVER_SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}


def reachable_by(path: Path, user: pwd.struct_passwd) -> bool:
    """Return whether an account may enter every folder above ``path``."""
    for folder in path.parents:
        status = folder.stat() if folder.exists() else None
        if status is None:
            continue
        shift = 6 if status.st_uid == user.pw_uid else 3 if status.st_gid == user.pw_gid else 0
        if not (stat.S_IMODE(status.st_mode) >> shift) & 1:
            return False
    return True


def data_folder(preferred: Path, user: pwd.struct_passwd | None) -> Path:
    """Return the database's folder: ``preferred``, unless the account that Postgres runs as cannot reach it.

    That account cannot enter a checkout below ``/root`` (mode 0700). Then it is a folder in ``/var/tmp`` whose name
    depends on ``preferred``.
    """
    if user is None or reachable_by(preferred, user):
        return preferred
    return Path("/var/tmp") / f"streamflow-{hashlib.sha256(str(preferred).encode()).hexdigest()[:12]}"  # noqa: S108 - 0700, ours


def initialise(folder: Path, bin_dir: Path, major: int, password: str, user: pwd.struct_passwd | None) -> None:
    """Create the database cluster in ``folder`` unless it exists.

    Raises:
        UserError: the folder belongs to another Postgres version or another account, or initdb fails.
    """
    version = folder / "data" / "PG_VERSION"
    if version.exists():
        found = version.read_text().strip()
        if found != str(major):
            raise UserError(
                f"{folder} was made by PostgreSQL {found}, this machine has {major}",
                "run `streamflow down --wipe` to start with an empty database",
            )
        return
    owner = user.pw_uid if user else os.geteuid()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    if folder.stat().st_uid != owner:
        raise UserError(f"{folder} belongs to another account", f"remove it, or give it to uid {owner}")
    # initdb refuses a folder that an interrupted initdb left.
    shutil.rmtree(folder / "data", ignore_errors=True)
    password_file = folder / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password + "\n")
    if user:
        os.chown(password_file, user.pw_uid, user.pw_gid)
    argv = [
        str(bin_dir / "initdb"),
        "-D",
        str(folder / "data"),
        "-U",
        USER,
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
    ]
    result = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=120,
        **run_as(user),
    )
    password_file.unlink()
    if result.returncode:
        raise UserError(
            f"initdb failed in {folder}: {result.stderr.strip().splitlines()[-1:]}",
            "see the message; is the disk full?",
        )


def install_certificate(folder: Path, pair: Path, user: pwd.struct_passwd | None) -> dict[str, str]:
    """Copy key and certificate to a file that the server's account can read; return the settings that require TLS.

    ``pg_hba.conf`` then has one line: TLS with a SCRAM password. Postgres refuses all other connections.
    """
    own, rules = folder / "server.pem", folder / "pg_hba.conf"
    for path, text in ((own, pair.read_text(encoding="ascii")), (rules, f"hostssl all all {HOST}/32 scram-sha-256\n")):
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        if user:
            os.chown(path, user.pw_uid, user.pw_gid)
    return {
        "ssl": "on",
        "ssl_cert_file": str(own),
        "ssl_key_file": str(own),
        "ssl_min_protocol_version": "TLSv1.3",
        "password_encryption": "scram-sha-256",
        "hba_file": str(rules),
    }


def command(
    folder: Path,
    bin_dir: Path,
    port: int,
    log: Path,
    user: pwd.struct_passwd | None,
    more: Mapping[str, str] = MappingProxyType({}),
) -> Command:
    """Return the server's command line; ``more`` are further settings."""
    values = {**SERVER_SETTINGS, "port": str(port), **more}
    settings = [item for name, value in values.items() for item in ("-c", f"{name}={value}")]
    return Command(
        name="postgres",
        argv=[str(bin_dir / "postgres"), "-D", str(folder / "data"), *settings],
        log=log,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        cwd=folder,
        stop_signal=signal.SIGINT,  # fast shutdown: with SIGTERM Postgres waits until every client has disconnected
        user=user,
    )


@dataclass(frozen=True)
class OwnerLogin:
    """The login of the database's owner: port, password, and the authority if connections use TLS."""

    port: int
    password: str
    authority: Path | None = None

    def dsn(self, database: str = DATABASE) -> str:
        """Return the libpq connection string."""
        tls = {"sslmode": "verify-full", "sslrootcert": str(self.authority)} if self.authority else {}
        return make_conninfo(
            host=HOST, port=self.port, dbname=database, user=USER, password=self.password, connect_timeout=3, **tls
        )


def is_ready(login: OwnerLogin) -> bool:
    """Return whether the server accepts the login now.

    Raises:
        UserError: the server refuses the password of this home folder.
    """
    try:
        with psycopg.connect(login.dsn("postgres")):
            return True
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise UserError(
                f"Postgres on port {login.port} refuses this stack's password",
                "the data folder and stack.env do not belong together: `streamflow down --wipe`",
            ) from None
        return False


def create_database(login: OwnerLogin) -> None:
    """Create the database unless it exists."""
    with (
        psycopg.connect(login.dsn("postgres"), autocommit=True) as connection,
        suppress(psycopg.errors.DuplicateDatabase),
    ):
        connection.execute(f'CREATE DATABASE "{DATABASE}"')


def ready_probe(login: OwnerLogin) -> Callable[[], bool]:
    """Return the readiness check as a function to poll."""
    return lambda: is_ready(login)
