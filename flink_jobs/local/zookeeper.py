"""One ZooKeeper for JobManager failover: the server inside Flink's own distribution.

With it a JobManager that is started again after a crash restores its jobs from their last checkpoints.
"""

from __future__ import annotations

from pathlib import Path

from flink_jobs.local import checkout, flink
from flink_jobs.local.home import Home
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command

NAME = "zookeeper"
_HEAP_MB = 64


def render(folder: Path, port: int) -> str:
    """Return ``zoo.cfg`` for a standalone server on the loopback interface."""
    values = {
        "dataDir": str(folder),
        "clientPort": port,
        "clientPortAddress": HOST,
        "tickTime": 1000,
        "admin.enableServer": "false",
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def command(home: Home, java: Path, port: int) -> Command:
    """Write the configuration and return the server's command line."""
    folder = home.flink / NAME
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "zoo.cfg"
    configuration.write_text(render(folder / "data", port))
    argv = [
        str(java / "bin" / "java"),
        f"-Xmx{_HEAP_MB}m",
        "-XX:+UseSerialGC",
        f"-Dlog4j.configurationFile={checkout.FLINK_HOME / 'conf' / 'log4j-console.properties'}",
        "-cp",
        f"{checkout.FLINK_LIB}/*",
        "org.apache.flink.runtime.zookeeper.FlinkZooKeeperQuorumPeer",
        "--zkConfigFile",
        str(configuration),
        "--peerId",
        "1",
    ]
    return Command(
        name=NAME, argv=argv, log=home.logs / f"{NAME}.out", env=flink.environment(home, java, NAME), cwd=folder
    )
