"""A standalone Flink cluster: the distribution inside the pip package, with the local stack's configuration."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import yaml

from flink_jobs.errors import UserError
from flink_jobs.flink.submit import FlinkClient
from flink_jobs.lake_settings import s3_endpoint
from flink_jobs.local import checkout, toolchain
from flink_jobs.local.certificates import Certificates
from flink_jobs.local.home import Home
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command

JOB_MANAGER = "jobmanager"
# Variables of the caller's shell that would change the behaviour of Flink's scripts.
_FOREIGN = ("FLINK_", "HADOOP_", "HBASE_", "YARN_", "JVM_ARGS", "PYTHONHOME", "PYTHONSTARTUP", "JAVA_TOOL_OPTIONS")
_LOG_FILES = ("log4j-cli.properties", "log4j-console.properties")


def task_manager(index: int) -> str:
    """Return the name of the TaskManager with this number, from 1."""
    return f"taskmanager-{index}"


def config(
    home: Home,
    rest_port: int,
    rpc_port: int,
    certificates: Certificates | None = None,
    zookeeper_port: int | None = None,
) -> dict[str, str | int]:
    """Return the cluster's configuration; each job brings its own settings (guarantee, intervals).

    With certificates, Flink's processes use mutual TLS among themselves. The REST API listens on the loopback interface
    only, because each of its clients can run any code. With a ZooKeeper, jobs continue after their JobManager died.
    """
    return {
        **({} if certificates is None else _internal_tls(certificates)),
        **({} if zookeeper_port is None else _high_availability(home, rpc_port, zookeeper_port)),
        **_object_storage(),
        "jobmanager.rpc.address": HOST,
        "jobmanager.rpc.port": rpc_port,
        "jobmanager.bind-host": HOST,
        "jobmanager.memory.process.size": "1024m",
        "rest.address": HOST,
        "rest.bind-address": HOST,
        "rest.port": rest_port,
        "rest.bind-port": str(rest_port),
        # A savepoint of a busy job on a small machine can take longer than the default of 10 s.
        "client.timeout": "120 s",
        "web.submit.enable": "false",
        "web.cancel.enable": "true",
        "taskmanager.host": HOST,
        "taskmanager.bind-host": HOST,
        # Each JVM has one GIL, so a second slot would only wait for the first. Add TaskManagers instead.
        "taskmanager.numberOfTaskSlots": 1,
        "taskmanager.memory.process.size": "1728m",
        "taskmanager.memory.network.min": "64m",
        "taskmanager.memory.network.max": "96m",
        # A dead TaskManager is detected after 20 s instead of the default 50 s.
        "heartbeat.interval": "2 s",
        "heartbeat.timeout": "20 s",
        "cluster.registration.error-delay": "500 ms",  # not 10 s: TaskManagers start together with the JobManager
        "io.tmp.dirs": str(home.flink / "tmp"),
        "state.backend.type": "rocksdb",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.dir": home.checkpoints.as_uri(),
        "execution.checkpointing.savepoint-dir": home.savepoints.as_uri(),
        "execution.checkpointing.num-retained": 2,
        # Each JVM must load PEMJA's classes once, from the cluster's class path, even if a job contains them.
        "classloader.parent-first-patterns.additional": "pemja.",
        "python.executable": str(checkout.PYTHON),
        "python.client.executable": str(checkout.PYTHON),
        # Largest age of the metrics in the REST API, in ms; the default of 10 s is too slow for a live view.
        "metrics.fetcher.update-interval": 2000,
        "metrics.reporter.prom.factory.class": "org.apache.flink.metrics.prometheus.PrometheusReporterFactory",
        # Otherwise `le="0.5"` becomes `le="0_5"` and `+Inf` becomes `_Inf`, and no quantile can be computed.
        "metrics.reporter.prom.filterLabelValueCharacters": "false",
        "env.java.opts.all": _java_options(),
        # The heap is allocated at start, so that later growth of the process is a leak.
        "env.java.opts.jobmanager": "-XX:+AlwaysPreTouch",
        # The client runs for seconds: the optimising compiler would cost more time than it saves.
        "env.java.opts.client": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    }


def _internal_tls(certificates: Certificates) -> dict[str, str | int]:
    password = certificates.flink_store_password
    return {
        "security.ssl.internal.enabled": "true",
        "security.ssl.internal.keystore": str(certificates.flink_store),
        "security.ssl.internal.keystore-type": "PKCS12",
        "security.ssl.internal.keystore-password": password,
        "security.ssl.internal.key-password": password,
        "security.ssl.internal.truststore": str(certificates.flink_trust),
        "security.ssl.internal.truststore-type": "PKCS12",
        "security.ssl.internal.truststore-password": password,
        "security.ssl.protocol": "TLSv1.3",
        "security.ssl.algorithms": "TLS_AES_256_GCM_SHA384,TLS_AES_128_GCM_SHA256",
    }


def _object_storage() -> dict[str, str | int]:
    """Return the options for S3 (docs/lake.md). Credentials come from the environment, never from the configuration."""
    endpoint = s3_endpoint()
    return {} if endpoint is None else {"s3.endpoint": endpoint, "s3.path.style.access": "true"}


def _java_options() -> str:
    """Return the JVM flags of the distribution, which open required modules, and the local stack's own."""
    shipped = yaml.safe_load((checkout.FLINK_HOME / "conf" / "config.yaml").read_text())["env"]["java"]["opts"]["all"]
    # Java formats all times in UTC.
    return f"{shipped} -Duser.timezone=UTC"


def render(values: dict[str, str | int]) -> str:
    """Return ``config.yaml`` with flat keys; JSON strings are valid YAML."""
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in values.items())


def _high_availability(home: Home, rpc_port: int, zookeeper_port: int) -> dict[str, str | int]:
    return {
        "high-availability.type": "zookeeper",
        "high-availability.zookeeper.quorum": f"{HOST}:{zookeeper_port}",
        "high-availability.storageDir": (home.flink / "ha").as_uri(),
        "high-availability.cluster-id": "/streamflow",
        "high-availability.jobmanager.port": str(rpc_port),
    }


def prepare(
    home: Home,
    rest_port: int,
    rpc_port: int,
    certificates: Certificates | None = None,
    zookeeper_port: int | None = None,
) -> None:
    """Write the configuration folder and create the folders that the cluster needs."""
    conf = home.flink / "conf"
    for folder in (conf, home.flink / "pid", home.flink / "tmp", home.checkpoints, home.savepoints, home.logs):
        folder.mkdir(parents=True, exist_ok=True)
    path = conf / "config.yaml"
    path.touch(mode=0o600)
    path.chmod(0o600)  # it may hold the password of the key store
    path.write_text(render(config(home, rest_port, rpc_port, certificates, zookeeper_port)))
    for name in _LOG_FILES:
        shutil.copyfile(checkout.FLINK_HOME / "conf" / name, conf / name)


def environment(home: Home, java: Path, ident: str) -> dict[str, str]:
    """Return the environment variables of a Flink process or of the client."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    env.update(
        PATH=os.pathsep.join([str(checkout.PYTHON.parent), env.get("PATH", os.defpath)]),
        JAVA_HOME=str(java),
        FLINK_HOME=str(checkout.FLINK_HOME),
        FLINK_CONF_DIR=str(home.flink / "conf"),
        FLINK_LIB_DIR=str(checkout.FLINK_LIB),
        FLINK_PLUGINS_DIR=str(checkout.FLINK_PLUGINS),
        FLINK_LOG_DIR=str(home.logs),
        FLINK_PID_DIR=str(home.flink / "pid"),
        FLINK_IDENT_STRING=ident,
        PYTHONPATH=checkout.python_path(),
        STREAMFLOW_HOME=str(home.root),
        LC_ALL="C.UTF-8",
    )
    return env


def client(home: Home) -> FlinkClient:
    """Return Flink's command-line client, set up for the cluster of this home folder.

    Raises:
        UserError: the home folder has no Flink cluster, or there is no usable Java.
    """
    if not (home.flink / "conf" / "config.yaml").exists():
        raise UserError(f"the stack in {home.root} has no Flink", "run `streamflow up`")
    program = checkout.FLINK_HOME / "bin" / "flink"
    return FlinkClient(program, environment(home, toolchain.find_java(), "client"), home.flink, home.logs)


def _command(home: Home, java: Path, name: str, script: str, options: dict[str, str | int]) -> Command:
    dynamic = [item for key, value in options.items() for item in ("-D", f"{key}={value}")]
    return Command(
        name=name,
        argv=[str(checkout.FLINK_HOME / "bin" / script), "start-foreground", *dynamic],
        log=home.logs / f"{name}.out",
        env={**environment(home, java, name), "FLINK_ENV_JAVA_OPTS_CLI": ""},
        cwd=home.flink,
    )


def job_manager_command(home: Home, java: Path, prometheus_port: int) -> Command:
    """Return the JobManager's command line."""
    return _command(home, java, JOB_MANAGER, "jobmanager.sh", {"metrics.reporter.prom.port": prometheus_port})


def task_manager_command(home: Home, java: Path, index: int, prometheus_port: int, resource_id: str) -> Command:
    """Return a TaskManager's command line. ``resource_id`` is its name at the JobManager."""
    options: dict[str, str | int] = {
        "metrics.reporter.prom.port": prometheus_port,
        "taskmanager.resource-id": resource_id,
    }
    return _command(home, java, task_manager(index), "taskmanager.sh", options)
