"""A real Kafka broker (KRaft, one node) from plain jars."""

from __future__ import annotations

import base64
import subprocess
import uuid
from pathlib import Path

from flink_jobs.errors import UserError
from flink_jobs.local import paths
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command

# What differs from the broker's defaults, and why.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    # One node cannot replicate.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Topics come from the contracts; a misspelt name must fail, as it would in production.
    "auto.create.topics.enable": "false",
    # The default of real brokers, written down because the job checks its transaction timeout against it.
    "transaction.max.timeout.ms": "900000",
    # A small machine: fewer internal partitions and buffers, no wait for consumers that will not come.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "group.initial.rebalance.delay.ms": "0",
}
HEAP = ["-Xms256m", "-Xmx768m"]
_LOGGING = [
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
    "-Dlog4j2.loggerContextFactory=org.apache.logging.log4j.simple.SimpleLoggerContextFactory",
]


def render_properties(folder: Path, port: int, controller_port: int) -> str:
    """Return the text of ``server.properties``."""
    places = {
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "log.dirs": str(folder / "data"),
    }
    return "".join(f"{name}={value}\n" for name, value in {**SETTINGS, **places}.items())


def prepare(folder: Path, port: int, controller_port: int, java: Path) -> Path:
    """Write the configuration and format the storage unless it is; return the configuration's path.

    Raises:
        UserError: formatting failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    properties = folder / "server.properties"
    properties.write_text(render_properties(folder, port, controller_port))
    if (folder / "data" / "meta.properties").exists():
        return properties
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # -XX:TieredStopAtLevel=1: a JVM that lives for two seconds gains nothing from the optimising compiler.
    argv = [
        str(java / "bin" / "java"),
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xmx256m",
        *_LOGGING,
        "-cp",
        f"{paths.KAFKA_JARS}/*",
        "kafka.tools.StorageTool",
        "format",
        "--cluster-id",
        f"k{cluster_id[1:]}",
        "--config",
        str(properties),
    ]  # an id must not start with a dash
    result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
    if result.returncode:
        last = (result.stderr or result.stdout).strip().splitlines()[-1:]
        raise UserError(
            f"cannot format Kafka's storage in {folder / 'data'}: {last}", "`streamflow down --wipe` starts empty"
        )
    return properties


def command(properties: Path, log: Path, java: Path, env: dict[str, str]) -> Command:
    """Return the broker's command line."""
    argv = [
        str(java / "bin" / "java"),
        *HEAP,
        "-XX:+UseG1GC",
        "-Djava.awt.headless=true",
        *_LOGGING,
        "-cp",
        f"{paths.KAFKA_JARS}/*",
        "kafka.Kafka",
        str(properties),
    ]
    return Command(name="kafka", argv=argv, log=log, env=env, cwd=properties.parent)
