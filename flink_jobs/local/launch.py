"""Start and stop the processes of a stack. :class:`~flink_jobs.local.stack.Stack` decides what and when."""

from __future__ import annotations

import functools
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from flink_jobs.errors import UserError
from flink_jobs.flink.rest import FlinkRest
from flink_jobs.kafka import topics
from flink_jobs.kafka.broker import Broker
from flink_jobs.local import (
    airflow,
    api_server,
    envfile,
    flink,
    kafka,
    ports,
    postgres,
    process,
    redis,
    registry,
    toolchain,
    zookeeper,
)
from flink_jobs.local.certificates import ADMIN, POSTGRES, Certificates
from flink_jobs.local.home import Home
from flink_jobs.local.kafka_access import grant_access
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command, ProcessRecord
from flink_jobs.local.record import StackRecord
from flink_jobs.settings import REPO_ROOT, STACK_HOME, Settings
from flink_jobs.waiting import WaitTimeoutError, wait_for
from flink_jobs.warehouse import migrations
from flink_jobs.warehouse.database import set_logins
from flink_jobs.warehouse.partitions import create_partitions
from flink_jobs.warehouse.paths import MIGRATIONS

Component = Literal["postgres", "kafka", "flink", "airflow", "api", "redis", "registry", "zookeeper"]
COMPONENTS: tuple[Component, ...] = ("postgres", "kafka", "flink")
"""The default components. All others start only on request; ZooKeeper is for JobManager failover."""
START_LIMIT_S = 120.0
STOP_LIMIT_S = 15.0
AIRFLOW_STOP_LIMIT_S = 90.0
AIRFLOW_LIMIT_S = 600.0
"""At its first start Airflow creates about 80 tables, and four processes import its packages."""
# Used when free at the first start; only for the checkout's own stack, so that tests do not compete for them.
WELL_KNOWN_PORTS = {"airflow": 28080, "api": 8088, "flink": 8081, "kafka": 29092, "postgres": 25432}
Say = Callable[[str], None]


def _is_registered(rest: FlinkRest, resource: str) -> bool:
    # A TaskManager is listed a moment before its slots.
    return any(item["id"] == resource and item["slotsNumber"] > 0 for item in rest.taskmanagers())


class Launcher:
    """Starts and stops processes and writes them to the record, for one ``up`` or ``down``."""

    def __init__(self, home: Home, record: StackRecord, topic_prefix: str, say: Say) -> None:
        """Work on a record; the caller holds its lock."""
        self._home = home
        self._record = record
        self._topic_prefix = topic_prefix
        self._say = say
        self._cancel = threading.Event()

    def choose_ports(self, components: Sequence[Component], wanted: dict[str, int | None]) -> None:
        """Choose the ports of every component that does not run yet."""
        needed: dict[str, int | None] = {}
        if "postgres" in components and not self._record.alive("postgres"):
            needed["postgres"] = wanted.get("postgres")
        if "kafka" in components and not self._record.alive("kafka"):
            needed |= {"kafka": wanted.get("kafka"), "kafka.controller": None}
            needed |= {"kafka.internal": None} if self._record.secure else {}
        if "flink" in components and not self._record.alive(flink.JOB_MANAGER):
            needed |= {"flink": wanted.get("flink"), "jobmanager.rpc": None, "jobmanager.prometheus": None}
        for name in (airflow.NAME, api_server.NAME, redis.NAME, registry.NAME, zookeeper.NAME):
            if name in components and not self._record.alive(name):
                needed[name] = wanted.get(name)
        known = WELL_KNOWN_PORTS if self._home.root == REPO_ROOT / ".streamflow" else {}
        self._record.ports |= ports.choose(needed, {**known, **self._record.ports})
        self._record.save()

    def start_together(self, components: Sequence[Component], java: Path, passwords: Mapping[str, str]) -> None:
        """Start the components in parallel: during most of its start each uses only one core.

        ``passwords`` are those of Postgres, by the name of their variable.
        """
        if zookeeper.NAME in components:
            self._start_zookeeper(java)
        starters: dict[Component, Callable[[], None]] = {
            "postgres": lambda: self._start_postgres(passwords),
            "kafka": lambda: self._start_kafka(java),
            "flink": lambda: self._start_flink(java),
        }
        with ThreadPoolExecutor(len(COMPONENTS)) as pool:
            futures = [pool.submit(starters[name]) for name in COMPONENTS if name in components]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self._cancel.set()
                raise

    def _start_postgres(self, passwords: Mapping[str, str]) -> None:
        certificates = self._certificates()
        login = postgres.OwnerLogin(
            self._record.ports["postgres"],
            passwords["STREAMFLOW_POSTGRES_PASSWORD"],
            certificates.authority if certificates else None,
        )
        if not self._record.alive("postgres"):
            bin_dir, major = toolchain.find_postgres()
            user = toolchain.postgres_user()
            folder = postgres.data_folder(self._home.postgres, user)
            postgres.initialise(folder, bin_dir, major, login.password, user)
            tls = postgres.install_certificate(folder, certificates.pair(POSTGRES), user) if certificates else {}
            self.start(postgres.command(folder, bin_dir, login.port, self._home.logs / "postgres.log", user, tls))
            self.await_ready("postgres", postgres.ready_probe(login))
            postgres.create_database(login)
        owner = login.dsn()
        applied = migrations.apply_migrations(owner, MIGRATIONS)
        set_logins(owner, {role: passwords[name] for name, role in postgres.PASSWORDS.items()})
        create_partitions(owner)
        self._say(
            f"Postgres is ready at {HOST}:{login.port}{' with TLS' if certificates else ''}"
            + (f" ({len(applied)} migrations)" if applied else "")
        )

    def start_airflow(self, settings: Settings) -> None:
        """Start Airflow; Postgres must be up."""
        port = self._record.ports[airflow.NAME]
        server = airflow.Airflow(port)
        if not self._record.alive(airflow.NAME):
            airflow.create_database(settings)
            self.start(airflow.command(self._home, port, settings))
            self.await_ready(airflow.NAME, server.is_healthy, limit_s=AIRFLOW_LIMIT_S)
            server.ensure_pool()

    def start_redis(self, address: str) -> None:
        """Start the Redis of an address of ``redis_address``."""
        if not self._record.alive(redis.NAME):
            self.start(redis.command(self._home, address, self._certificates()))
            self.await_ready(redis.NAME, lambda: redis.is_ready(address, self._certificates()))

    def redis_address(self, components: Sequence[Component], known: Mapping[str, str]) -> str | None:
        """Return the address of the stack's Redis; ``None`` without Redis."""
        is_there = redis.NAME in components or self._record.alive(redis.NAME)
        return redis.address_of(self._record, known) if is_there else None

    def start_api(self) -> None:
        """Start the HTTP API; Postgres and Kafka must be up."""
        port = self._record.ports[api_server.NAME]
        if not self._record.alive(api_server.NAME):
            self.start(api_server.command(self._home, port))
            self.await_ready(api_server.NAME, lambda: api_server.is_ready(port))
        self._say(
            f"The API is ready at http://{HOST}:{port} (`streamflow api keys create NAME` makes a key, "
            "`streamflow console login` a login to the console)"
        )

    def _start_kafka(self, java: Path) -> None:
        known, certificates = self._record.ports, self._certificates()
        address, broker = f"{HOST}:{known['kafka']}", self.kafka_administrator()
        is_new = not self._record.alive("kafka")
        if is_new:
            listening = kafka.Ports(known["kafka"], known["kafka.controller"], known.get("kafka.internal"))
            properties = kafka.prepare(self._home.kafka, listening, java, certificates)
            env = flink.environment(self._home, java, "kafka")
            self.start(kafka.command(properties, self._home.logs / "kafka.log", java, env))
            self.await_ready("kafka", lambda: ports.is_open(listening.clients) and topics.is_ready(broker))
        created = topics.create_topics(broker, self._topic_prefix)
        said = [f"{len(created)} topics created"] if created else []
        if certificates and is_new:
            with topics.admin(broker) as client:
                rights = grant_access(client, self._topic_prefix, self._home.kafka_passwords)
            said.append(f"TLS, SCRAM, {rights} rights granted")
        self._say(f"Kafka is ready at {address}" + (f" ({', '.join(said)})" if said else ""))

    def kafka_administrator(self) -> Broker:
        """Return the connection of the broker's administrator; on a secured stack it logs in with a certificate."""
        certificates = self._certificates()
        if certificates is None:
            return Broker(f"{HOST}:{self._record.ports['kafka']}")
        internal = f"{HOST}:{self._record.ports['kafka.internal']}"
        return Broker(internal, certificates.authority, certificate=certificates.pair(ADMIN))

    def _certificates(self) -> Certificates | None:
        """Return the certificates of a secured stack; ``None`` if it is not secured."""
        return Certificates(self._home.secrets) if self._record.secure else None

    def _start_zookeeper(self, java: Path) -> None:
        port = self._record.ports[zookeeper.NAME]
        if not self._record.alive(zookeeper.NAME):
            if self._record.alive(flink.JOB_MANAGER) and zookeeper.NAME not in self._record.processes:
                raise UserError("Flink runs without a ZooKeeper", "run `streamflow down` before `streamflow up --ha`")
            self.start(zookeeper.command(self._home, java, port))
            self.await_ready(zookeeper.NAME, lambda: ports.is_open(port))

    def _start_flink(self, java: Path) -> None:
        rest = FlinkRest(f"http://{HOST}:{self._record.ports['flink']}")
        if not self._record.alive(flink.JOB_MANAGER):
            keeper = self._record.ports[zookeeper.NAME] if self._record.alive(zookeeper.NAME) else None
            if keeper is None:
                # TaskManagers of a dead JobManager hold no state that is needed, and connect to its old port.
                self.stop([name for name in list(self._record.processes) if name.startswith("taskmanager-")])
            known = self._record.ports
            flink.prepare(self._home, known["flink"], known["jobmanager.rpc"], self._certificates(), keeper)
            self.start(flink.job_manager_command(self._home, java, self._record.ports["jobmanager.prometheus"]))
        wanted = range(1, self._record.taskmanagers + 1)
        self.start_taskmanagers(java, [index for index in wanted if not self._record.alive(flink.task_manager(index))])
        self._say(f"Flink is ready at {rest.url} ({len(rest.taskmanagers())} TaskManagers)")

    def start_taskmanagers(self, java: Path, indexes: Sequence[int]) -> None:
        """Start TaskManagers in parallel and wait until each is registered at the JobManager."""
        rest = FlinkRest(f"http://{HOST}:{self._record.ports['flink']}")
        resources: dict[str, str] = {}
        for index in indexes:
            name = flink.task_manager(index)
            self._record.ports |= ports.choose({f"{name}.prometheus": None}, self._record.ports)
            # The id is new at every start: after a SIGKILL the JobManager may still list the old one.
            resources[name] = f"{name}-{uuid.uuid4().hex[:6]}"
            port = self._record.ports[f"{name}.prometheus"]
            self.start(flink.task_manager_command(self._home, java, index, port, resources[name]))
        self.await_ready(flink.JOB_MANAGER, rest.is_up)
        for name, resource in resources.items():
            self.await_ready(name, functools.partial(_is_registered, rest, resource))

    def start(self, command: Command) -> None:
        """Start a process and write it to the record."""
        self._record.add(process.spawn(command, self._record.stack_id))

    def await_ready(self, name: str, probe: Callable[[], bool], limit_s: float = START_LIMIT_S) -> None:
        """Wait until a process is ready.

        Raises:
            UserError: the process ended, or ``limit_s`` seconds passed; the message ends with its last log line.
        """

        def ready() -> bool:
            if not self._record.alive(name):
                raise UserError(f"{name} ended while starting", self._advice(self._record.processes[name]))
            return probe()

        try:
            wait_for(ready, limit_s=limit_s, what=name, cancel=self._cancel)
        except WaitTimeoutError:
            raise UserError(
                f"{name} was not ready after {limit_s:g} s", self._advice(self._record.processes[name])
            ) from None

    @staticmethod
    def _advice(item: ProcessRecord) -> str:
        tail = process.log_tail(item.log, 1).strip()
        return f"see {item.log}" + (f", which ends: {tail}" if tail else "")

    def write_env(self, passwords: Mapping[str, str], redis_address: str | None = None) -> None:
        """Write the settings of all components to ``stack.env``, with the passwords of Postgres and Redis."""
        values = {
            STACK_HOME: str(self._home.root),
            "STREAMFLOW_TOPIC_PREFIX": self._topic_prefix,
            "STREAMFLOW_CHECKPOINT_DIR": self._home.checkpoints.as_uri(),
            "STREAMFLOW_SAVEPOINT_DIR": self._home.savepoints.as_uri(),
            "STREAMFLOW_KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self._record.ports.get('kafka', 9092)}",
            "STREAMFLOW_FLINK_REST_URL": f"http://{HOST}:{self._record.ports.get('flink', 8081)}",
            "STREAMFLOW_POSTGRES_HOST": HOST,
            "STREAMFLOW_POSTGRES_PORT": str(self._record.ports.get("postgres", 5432)),
            "STREAMFLOW_POSTGRES_DATABASE": postgres.DATABASE,
            "STREAMFLOW_POSTGRES_USER": postgres.USER,
            **passwords,
        }
        certificates = self._certificates()
        if certificates is not None:
            values |= {
                "STREAMFLOW_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "STREAMFLOW_KAFKA_CA_FILE": str(certificates.authority),
                "STREAMFLOW_KAFKA_SECRETS_DIR": str(self._home.kafka_passwords),
                "STREAMFLOW_POSTGRES_SSL_MODE": "verify-full",
                "STREAMFLOW_POSTGRES_CA_FILE": str(certificates.authority),
            }
        values |= redis.settings(redis_address, certificates) | registry.settings(self._record)
        envfile.write(self._home.env_file, values)

    def stop(self, names: Sequence[str]) -> None:
        """Stop processes by name: TaskManagers first, so that the JobManager can unregister them; then the others."""
        items = [self._record.processes[name] for name in names if name in self._record.processes]
        workers = [item for item in items if item.name.startswith("taskmanager-")]
        others = [item for item in items if not item.name.startswith("taskmanager-")]
        for group in (workers, others):
            # Airflow waits for its tasks and its four processes; if it is killed, they keep running.
            patience = AIRFLOW_STOP_LIMIT_S if any(item.name == airflow.NAME for item in group) else STOP_LIMIT_S
            for item in process.stop(group, limit_s=patience):
                self._say(f"{item.name} (pid {item.pid}) did not stop in time and was killed")
            self._record.remove(*(item.name for item in group))
