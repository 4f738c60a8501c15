"""One schema registry, Apicurio, for Avro transactions. It keeps the schemas in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flink_jobs.errors import UserError
from flink_jobs.kafka.registry_access import RegistryAccess
from flink_jobs.kafka.schema_registry import RegistryError, call
from flink_jobs.local import checkout
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.local.home import Home
    from flink_jobs.local.launch import Launcher
    from flink_jobs.local.record import StackRecord

NAME = "registry"
SETTING = "STREAMFLOW_SCHEMA_REGISTRY"
_HEAP_MB = 256


def url(port: int) -> str:
    """Return the URL of the API that Confluent's clients use."""
    return f"http://{HOST}:{port}/apis/ccompat/v7"


def settings(record: StackRecord) -> dict[str, str]:
    """Return the variables for ``stack.env``; none for a stack that never had a registry."""
    return {SETTING: url(record.ports[NAME])} if NAME in record.ports else {}


def command(home: Home, java: Path, port: int) -> Command:
    """Return the server's command line.

    Raises:
        UserError: the registry is not installed.
    """
    programs = sorted((checkout.TOOLS / NAME).glob("*-runner.jar"))
    if not programs:
        raise UserError("the schema registry is not installed", "run `make setup-registry`")
    folder = home.root / NAME
    folder.mkdir(parents=True, exist_ok=True)
    argv = [
        str(java / "bin" / "java"),
        f"-Xmx{_HEAP_MB}m",
        "-XX:+UseSerialGC",
        "-Dregistry.auth.enabled=false",
        f"-Dquarkus.http.host={HOST}",
        f"-Dquarkus.http.port={port}",
        "-jar",
        str(programs[-1]),
    ]
    return Command(name=NAME, argv=argv, log=home.logs / f"{NAME}.log", env={"JAVA_HOME": str(java)}, cwd=folder)


def start(launcher: Launcher, home: Home, record: StackRecord, java: Path) -> None:
    """Start the registry, unless it runs, and wait until it answers."""
    port = record.ports[NAME]
    if not record.alive(NAME):
        launcher.start(command(home, java, port))
        launcher.await_ready(NAME, lambda: is_ready(port))


def is_ready(port: int) -> bool:
    """Return whether the registry answers."""
    try:
        call(RegistryAccess(url(port)), "subjects")
    except RegistryError:
        return False
    return True
