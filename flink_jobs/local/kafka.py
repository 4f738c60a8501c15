"""A real Kafka broker (KRaft, one node) from plain jars."""

from __future__ import annotations

import base64
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import MECHANISM
from flink_jobs.local import checkout
from flink_jobs.local.certificates import ADMIN, BROKER, Certificates
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command

# Settings that differ from the broker's defaults, and why.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # One node cannot replicate.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Topics come from the contracts; a misspelt name must fail, as it would in production.
    "auto.create.topics.enable": "false",
    # The default value, set explicitly because the job checks its transaction timeout against it.
    "transaction.max.timeout.ms": "900000",
    # For a small machine: fewer internal partitions and buffers, and no wait for further consumers.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "group.initial.rebalance.delay.ms": "0",
}
# The whole heap is allocated at start: a heap that grows to its limit looks like a leak in the RSS.
HEAP = ["-Xms512m", "-Xmx512m", "-XX:+AlwaysPreTouch"]
_LOGGING = [
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
    "-Dlog4j2.loggerContextFactory=org.apache.logging.log4j.simple.SimpleLoggerContextFactory",
]


@dataclass(frozen=True)
class Ports:
    """The broker's ports. ``internal``, for the administrator and other brokers, exists only on a secured broker."""

    clients: int
    controller: int
    internal: int | None = None


def _plain(ports: Ports) -> dict[str, str]:
    return {
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": f"PLAINTEXT://{HOST}:{ports.clients},CONTROLLER://{HOST}:{ports.controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{ports.clients}",
    }


def _secured(ports: Ports, certificates: Certificates) -> dict[str, str]:
    """Return the settings of a broker that requires authentication and denies by default.

    Clients log in with SCRAM over TLS. The broker itself and the administrator log in with a certificate, because the
    broker stores the SCRAM passwords and has none at its first start.
    """
    clients = f"CLIENTS://{HOST}:{ports.clients}"
    internal = f"INTERNAL://{HOST}:{ports.internal}"
    return {
        "inter.broker.listener.name": "INTERNAL",
        "listeners": f"{clients},{internal},CONTROLLER://{HOST}:{ports.controller}",
        "advertised.listeners": f"{clients},{internal}",
        "listener.security.protocol.map": "CLIENTS:SASL_SSL,INTERNAL:SSL,CONTROLLER:SSL",
        "listener.name.internal.ssl.client.auth": "required",
        "listener.name.controller.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": MECHANISM,
        f"listener.name.clients.{MECHANISM.lower()}.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.pair(BROKER)),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.authority),
        "ssl.enabled.protocols": "TLSv1.3",
        "ssl.protocol": "TLSv1.3",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        "super.users": f"User:CN={BROKER};User:CN={ADMIN}",
    }


def render_properties(folder: Path, ports: Ports, certificates: Certificates | None = None) -> str:
    """Return the text of ``server.properties``; with certificates, for a secured broker."""
    addresses = {
        "controller.quorum.voters": f"1@{HOST}:{ports.controller}",
        "log.dirs": str(folder / "data"),
        **(_plain(ports) if certificates is None else _secured(ports, certificates)),
    }
    return "".join(f"{name}={value}\n" for name, value in {**SETTINGS, **addresses}.items())


def prepare(folder: Path, ports: Ports, java: Path, certificates: Certificates | None = None) -> Path:
    """Write the configuration and format the storage unless it is formatted; return the configuration's path.

    Raises:
        UserError: formatting failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    properties = folder / "server.properties"
    properties.write_text(render_properties(folder, ports, certificates))
    if (folder / "data" / "meta.properties").exists():
        return properties
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    # -XX:TieredStopAtLevel=1: the optimising compiler saves no time in a JVM that runs for 2 s.
    argv = [
        str(java / "bin" / "java"),
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xmx256m",
        *_LOGGING,
        "-cp",
        f"{checkout.KAFKA_JARS}/*",
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
        f"{checkout.KAFKA_JARS}/*",
        "kafka.Kafka",
        str(properties),
    ]
    return Command(name="kafka", argv=argv, log=log, env=env, cwd=properties.parent)
