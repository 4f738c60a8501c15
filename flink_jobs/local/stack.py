"""One local stack: start it, look at it, stop it. The CLI and the tests use this class and nothing below it."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import shutil
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from flink_jobs.errors import UserError
from flink_jobs.local import envfile, flink, kafka, migrations, paths, ports, postgres, process, toolchain, topics
from flink_jobs.local.flink_rest import FlinkRest
from flink_jobs.local.paths import Home
from flink_jobs.local.ports import HOST
from flink_jobs.local.process import Command, ProcessRecord
from flink_jobs.local.record import StackRecord
from flink_jobs.local.waiting import WaitTimeoutError, wait_for
from flink_jobs.settings import REPO_ROOT, Settings, load_settings, stack_home

Component = Literal["postgres", "kafka", "flink"]
COMPONENTS: tuple[Component, ...] = get_args(Component)
START_LIMIT_S = 120.0
# Taken when free and none was used before; only for the repository's own stack, so that no test races for them.
WELL_KNOWN_PORTS = {"flink": 8081, "kafka": 29092, "postgres": 25432}
Say = Callable[[str], None]


@dataclass(frozen=True)
class ProcessStatus:
    """One process of the stack, as `streamflow status` shows it."""

    name: str
    state: Literal["running", "dead"]
    pid: int
    ports: dict[str, int]
    age_s: float | None
    log: str


def _silent(_: str) -> None:
    """Say nothing: what a stack without a listener does."""


class Stack:
    """A Postgres, a Kafka broker and a Flink cluster that belong together, in one home folder.

    As a context manager it comes up on entry and is taken down on exit; its data stay unless :meth:`down` wipes them.
    """

    def __init__(self, home: Path | None = None, *, topic_prefix: str = "streamflow", say: Say = _silent) -> None:
        """Name the home folder (default: ``STREAMFLOW_HOME``, else ``.streamflow``); nothing starts yet."""
        self.home = Home((home or stack_home()).resolve())
        self.topic_prefix = topic_prefix
        self._say = say
        self._cancel = threading.Event()

    def __enter__(self) -> Self:
        """Start everything."""
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self.down()

    # ---- looking

    @property
    def record(self) -> StackRecord:
        """What runs, freshly read."""
        return StackRecord.load(self.home.record)

    def is_up(self) -> bool:
        """Say whether any process of the stack runs."""
        record = self.record
        return any(record.alive(name) for name in record.processes)

    def settings(self) -> Settings:
        """Return this stack's settings.

        Raises:
            UserError: the stack has never been up.
        """
        return load_settings(self.home.root)

    def rest(self) -> FlinkRest:
        """Return a client of this stack's JobManager."""
        return FlinkRest(self.settings().flink_rest_url)

    def status(self) -> list[ProcessStatus]:
        """Return every process that should run, in the order they were started."""
        record = self.record
        found = []
        for name, item in record.processes.items():
            alive = record.alive(name)
            mine = {key: port for key, port in record.ports.items() if key == name or key.startswith(f"{name}.")}
            if name == flink.JOB_MANAGER:
                mine["rest"] = record.ports["flink"]
            age = process.age_s(item) if alive else None
            found.append(ProcessStatus(name, "running" if alive else "dead", item.pid, mine, age, item.log))
        return found

    # ---- starting

    def up(
        self,
        components: Sequence[Component] = COMPONENTS,
        *,
        taskmanagers: int = 2,
        wanted_ports: dict[str, int | None] | None = None,
    ) -> Settings:
        """Start what does not run yet, create topics and tables, write ``stack.env``, return the settings.

        Args:
            components: which parts to start.
            taskmanagers: how many TaskManagers, 1 to 16; one task slot and about 1.7 GiB each.
            wanted_ports: fixed ports for ``postgres``, ``kafka`` or ``flink``; any free one otherwise.

        Raises:
            UserError: a port is taken, a tool is missing, or a process did not come up. What this call started is
                stopped again.
        """
        toolchain.require_jars()
        java = toolchain.find_java()
        self.home.root.mkdir(parents=True, exist_ok=True)
        with self._locked():
            record = self.record
            before = set(record.processes)
            try:
                self._choose_ports(record, components, wanted_ports or {})
                record.taskmanagers = taskmanagers if "flink" in components else record.taskmanagers
                password = envfile.read(self.home.env_file).get(
                    "STREAMFLOW_POSTGRES_PASSWORD"
                ) or secrets.token_urlsafe(24)
                self._write_env(record, password)
                self._start_together(record, components, java, password)
            except BaseException:
                self._stop(record, [name for name in record.processes if name not in before])
                raise
        return self.settings()

    def _choose_ports(
        self, record: StackRecord, components: Sequence[Component], wanted: dict[str, int | None]
    ) -> None:
        needed: dict[str, int | None] = {}
        if "postgres" in components and not record.alive("postgres"):
            needed["postgres"] = wanted.get("postgres")
        if "kafka" in components and not record.alive("kafka"):
            needed |= {"kafka": wanted.get("kafka"), "kafka.controller": None}
        if "flink" in components and not record.alive(flink.JOB_MANAGER):
            needed |= {"flink": wanted.get("flink"), "jobmanager.rpc": None, "jobmanager.prometheus": None}
        known = WELL_KNOWN_PORTS if self.home.root == REPO_ROOT / ".streamflow" else {}
        record.ports |= ports.choose(needed, {**known, **record.ports})
        record.save()

    def _start_together(self, record: StackRecord, components: Sequence[Component], java: Path, password: str) -> None:
        """Start the components side by side: each spends most of its start waiting for one core."""
        starters: dict[Component, Callable[[], None]] = {
            "postgres": lambda: self._start_postgres(record, password),
            "kafka": lambda: self._start_kafka(record, java),
            "flink": lambda: self._start_flink(record, java),
        }
        self._cancel.clear()
        with ThreadPoolExecutor(len(COMPONENTS)) as pool:
            futures = [pool.submit(starters[name]) for name in COMPONENTS if name in components]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                self._cancel.set()
                raise

    def _start_postgres(self, record: StackRecord, password: str) -> None:
        if not record.alive("postgres"):
            bin_dir, major = toolchain.find_postgres()
            user = toolchain.postgres_user()
            folder = postgres.data_folder(self.home.postgres, user)
            postgres.initialise(folder, bin_dir, major, password, user)
            port = record.ports["postgres"]
            self._start(record, postgres.command(folder, bin_dir, port, self.home.logs / "postgres.log", user))
            self._await(record, "postgres", postgres.ready_probe(port, password))
            postgres.create_database(port, password)
        applied = migrations.apply_migrations(postgres.dsn(record.ports["postgres"], password), paths.MIGRATIONS)
        self._say(
            f"Postgres is ready at {HOST}:{record.ports['postgres']}"
            + (f" ({len(applied)} migrations)" if applied else "")
        )

    def _start_kafka(self, record: StackRecord, java: Path) -> None:
        bootstrap = f"{HOST}:{record.ports['kafka']}"
        if not record.alive("kafka"):
            properties = kafka.prepare(self.home.kafka, record.ports["kafka"], record.ports["kafka.controller"], java)
            env = flink.environment(self.home, java, "kafka")
            self._start(record, kafka.command(properties, self.home.logs / "kafka.log", java, env))
            self._await(record, "kafka", lambda: ports.is_open(record.ports["kafka"]) and topics.is_ready(bootstrap))
        created = topics.create_topics(bootstrap, self.topic_prefix)
        self._say(f"Kafka is ready at {bootstrap}" + (f" ({len(created)} topics created)" if created else ""))

    def _start_flink(self, record: StackRecord, java: Path) -> None:
        rest = FlinkRest(f"http://{HOST}:{record.ports['flink']}")
        if not record.alive(flink.JOB_MANAGER):
            # TaskManagers of a JobManager that died hold nothing worth keeping, and look for it on its old port.
            self._stop(record, [name for name in record.processes if name.startswith("taskmanager-")])
            flink.prepare(self.home, record.ports["flink"], record.ports["jobmanager.rpc"])
            self._start(record, flink.job_manager_command(self.home, java, record.ports["jobmanager.prometheus"]))
        for index in range(1, record.taskmanagers + 1):
            if not record.alive(flink.task_manager(index)):
                self._start_taskmanager(record, java, index)
        self._await(record, flink.JOB_MANAGER, rest.is_up)
        wanted = sum(name.startswith("taskmanager-") for name in record.processes)
        for index in range(1, record.taskmanagers + 1):
            self._await(record, flink.task_manager(index), lambda: int(rest.overview()["taskmanagers"]) >= wanted)
        self._say(f"Flink is ready at {rest.url} ({wanted} TaskManagers)")

    def _start_taskmanager(self, record: StackRecord, java: Path, index: int) -> None:
        name = flink.task_manager(index)
        record.ports |= ports.choose({f"{name}.prometheus": None}, record.ports)
        port = record.ports[f"{name}.prometheus"]
        self._start(record, flink.task_manager_command(self.home, java, index, port, uuid.uuid4().hex[:6]))

    def _start(self, record: StackRecord, command: Command) -> None:
        record.add(process.spawn(command, record.stack_id))

    def _await(self, record: StackRecord, name: str, probe: Callable[[], bool]) -> None:
        """Wait until a process serves; give up as soon as it is dead."""

        def ready() -> bool:
            if not record.alive(name):
                raise UserError(f"{name} ended while starting", self._advice(record.processes[name]))
            return probe()

        try:
            wait_for(ready, limit_s=START_LIMIT_S, what=name, cancel=self._cancel)
        except WaitTimeoutError:
            raise UserError(
                f"{name} was not ready after {START_LIMIT_S:g} s", self._advice(record.processes[name])
            ) from None

    @staticmethod
    def _advice(item: ProcessRecord) -> str:
        tail = process.log_tail(item.log, 1).strip()
        return f"see {item.log}" + (f", which ends: {tail}" if tail else "")

    def _write_env(self, record: StackRecord, password: str) -> None:
        """Write the settings of everything the stack has ports for."""
        values = {
            "STREAMFLOW_TOPIC_PREFIX": self.topic_prefix,
            "STREAMFLOW_CHECKPOINT_DIR": self.home.checkpoints.as_uri(),
            "STREAMFLOW_SAVEPOINT_DIR": self.home.savepoints.as_uri(),
            "STREAMFLOW_KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{record.ports.get('kafka', 9092)}",
            "STREAMFLOW_FLINK_REST_URL": f"http://{HOST}:{record.ports.get('flink', 8081)}",
            "STREAMFLOW_POSTGRES_HOST": HOST,
            "STREAMFLOW_POSTGRES_PORT": str(record.ports.get("postgres", 5432)),
            "STREAMFLOW_POSTGRES_DATABASE": postgres.DATABASE,
            "STREAMFLOW_POSTGRES_USER": postgres.USER,
            "STREAMFLOW_POSTGRES_PASSWORD": password,
        }
        envfile.write(self.home.env_file, values)

    # ---- stopping

    def down(self, *, wipe: bool = False) -> list[str]:
        """Stop everything this stack started; return the names of the processes that had run.

        Data and ports are kept for the next `up`; ``wipe`` deletes the home folder and the database.
        """
        if not self.home.root.exists():
            return []
        with self._locked():
            record = self.record
            running = [name for name in record.processes if record.alive(name)]
            self._stop(record, list(record.processes))
            process.end_leftovers(record.stack_id)
        if wipe:
            self.wipe()
        return running

    def _stop(self, record: StackRecord, names: Sequence[str]) -> None:
        """Stop processes by name: TaskManagers first, so that the JobManager sees them go; then the rest together."""
        items = [record.processes[name] for name in names if name in record.processes]
        workers = [item for item in items if item.name.startswith("taskmanager-")]
        others = [item for item in items if not item.name.startswith("taskmanager-")]
        for group in (workers, others):
            for item in process.stop(group):
                self._say(f"{item.name} (pid {item.pid}) did not stop in time and was killed")
            record.remove(*(item.name for item in group))

    def wipe(self) -> None:
        """Delete the home folder and the database of a stack that is down.

        Raises:
            UserError: it is up, or the folder is not a stack's.
        """
        if self.is_up():
            raise UserError(f"the stack in {self.home.root} is up", "run `streamflow down` first")
        if not self.home.record.exists():
            raise UserError(f"{self.home.root} holds no stack", "check STREAMFLOW_HOME")
        folder = postgres.data_folder(self.home.postgres, toolchain.postgres_user())
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.home.root)

    # ---- faults, for tests

    def kill_taskmanager(self, index: int, number: int = signal.SIGKILL) -> None:
        """Send a signal to a TaskManager and, if it is SIGKILL or SIGTERM, wait until it is gone.

        Raises:
            UserError: it does not run.
        """
        name, record = flink.task_manager(index), self.record
        if not record.alive(name):
            raise UserError(f"{name} does not run", "see `streamflow status`")
        process.send(record.processes[name], number)
        if number in {signal.SIGKILL, signal.SIGTERM}:
            wait_for(lambda: not record.alive(name), limit_s=30, what=f"{name} to end", interval_s=0.02)

    def start_taskmanager(self, index: int) -> None:
        """Start a TaskManager again, or one more, and wait until the JobManager knows it.

        Raises:
            UserError: it runs already.
        """
        name = flink.task_manager(index)
        with self._locked():
            record = self.record
            if record.alive(name):
                raise UserError(f"{name} runs already", "kill it first")
            self._cancel.clear()
            self._start_taskmanager(record, toolchain.find_java(), index)
            record.taskmanagers = max(record.taskmanagers, index)
            record.save()
            rest, resource = FlinkRest(f"http://{HOST}:{record.ports['flink']}"), f"{name}-"
            known = {item["id"] for item in rest.taskmanagers()}
            self._await(
                record,
                name,
                lambda: any(
                    item["id"].startswith(resource) and item["id"] not in known for item in rest.taskmanagers()
                ),
            )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Let only one `up` or `down` work on this home at a time."""
        with self.home.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another streamflow command is starting or stopping the stack in {self.home.root}",
                    "wait for it to end",
                ) from None
            yield
