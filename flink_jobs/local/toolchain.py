"""Find the programs that the local stack runs; a missing program is named in the error."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from flink_jobs.errors import UserError
from flink_jobs.local import checkout

# system_programs.sh states the same limits with their reasons.
JAVA_MINIMUM, JAVA_MAXIMUM = 17, 21
POSTGRES_MINIMUM = 15
BOOTSTRAP = "run `make setup`"


def _java_homes() -> Iterator[Path]:
    if os.environ.get("JAVA_HOME"):
        yield Path(os.environ["JAVA_HOME"])
    java = shutil.which("java")
    if java:
        yield Path(java).resolve().parent.parent
    for folder in ("/usr/lib/jvm", "/opt/java"):
        yield from sorted(Path(folder).glob("*"))


def java_major(home: Path) -> int | None:
    """Return the major version of a Java home from its ``release`` file; ``None`` if it is no Java home."""
    try:
        text = (home / "release").read_text()
    except OSError:
        return None
    match = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    return int(match[1]) if match and (home / "bin" / "java").exists() else None


def find_java() -> Path:
    """Return the home of a Java that both Flink and Kafka support.

    Raises:
        UserError: no such Java was found.
    """
    for home in _java_homes():
        major = java_major(home)
        if major is not None and JAVA_MINIMUM <= major <= JAVA_MAXIMUM:
            return home
    raise UserError(f"no Java {JAVA_MINIMUM} to {JAVA_MAXIMUM} found", f"{BOOTSTRAP} or set JAVA_HOME")


def _postgres_folders() -> Iterator[Path]:
    if os.environ.get("STREAMFLOW_POSTGRES_BIN"):
        yield Path(os.environ["STREAMFLOW_POSTGRES_BIN"])
    postgres = shutil.which("postgres")
    if postgres:
        yield Path(postgres).resolve().parent
    folders = [
        *Path("/usr/lib/postgresql").glob("*/bin"),
        *Path("/usr").glob("pgsql-*/bin"),
        Path("/usr/local/pgsql/bin"),
    ]
    yield from sorted(folders, key=lambda folder: [int(part) for part in re.findall(r"\d+", str(folder))], reverse=True)


def find_postgres() -> tuple[Path, int]:
    """Return the folder of ``initdb`` and ``postgres``, and their major version.

    Raises:
        UserError: no server was found, or only an older one.
    """
    for folder in _postgres_folders():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            text = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
            match = re.search(r"(\d+)", text)
            if match and int(match[1]) >= POSTGRES_MINIMUM:
                return folder, int(match[1])
    raise UserError(
        f"no PostgreSQL {POSTGRES_MINIMUM} or newer server found",
        f"{BOOTSTRAP} or set STREAMFLOW_POSTGRES_BIN to the folder of initdb",
    )


def postgres_user() -> pwd.struct_passwd | None:
    """Return the account that Postgres must run as: ``postgres`` if this process is root, else ``None``.

    Postgres refuses to run as root. ``None`` is the current account.

    Raises:
        UserError: the current account is root and there is no account ``postgres``.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise UserError(
            "Postgres cannot run as root, and there is no account `postgres`",
            "create it with `useradd --system postgres`, or run as an ordinary user",
        ) from None


def require_jars() -> None:
    """Check that ``make setup`` has fetched the jars of Kafka, Flink and the connectors.

    Raises:
        UserError: jars or Flink's distribution are missing.
    """
    for folder in (checkout.KAFKA_JARS, checkout.FLINK_LIB):
        if not any(folder.glob("*.jar")):
            raise UserError(f"no jars in {folder}", BOOTSTRAP)
    if not (checkout.FLINK_HOME / "bin" / "flink").exists():
        raise UserError(f"no Flink distribution in {checkout.FLINK_HOME}", BOOTSTRAP)
