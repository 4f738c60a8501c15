"""One local stack: start it, query it, stop it. The CLI and the tests use this class."""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from flink_jobs.errors import UserError
from flink_jobs.flink.rest import FlinkRest
from flink_jobs.flink.submit import FlinkClient
from flink_jobs.local import envfile, flink, postgres, process, registry, relocation, toolchain
from flink_jobs.local.certificates import Certificates
from flink_jobs.local.home import Home
from flink_jobs.local.job_state import keep_state
from flink_jobs.local.launch import COMPONENTS, Component, Launcher, Say
from flink_jobs.local.record import StackRecord
from flink_jobs.settings import Settings, load_settings, stack_home


@dataclass(frozen=True)
class ProcessStatus:
    """One process of the stack, as ``streamflow status`` shows it."""

    name: str
    state: Literal["running", "dead"]
    pid: int
    ports: dict[str, int]
    age_s: float | None
    log: str


def ports_of(record: StackRecord, name: str) -> dict[str, int]:
    """Return the ports that a process listens on."""
    mine = {key: port for key, port in record.ports.items() if key == name or key.startswith(f"{name}.")}
    if name == flink.JOB_MANAGER:
        mine["rest"] = record.ports["flink"]
    return mine


def _silent(_: str) -> None:
    """Ignore a progress line: the default of a stack."""


class Stack:
    """A Postgres, a Kafka broker and a Flink cluster in one home folder.

    As a context manager it starts on entry and stops on exit; its data stay unless :meth:`down` wipes them.
    """

    def __init__(self, home: Path | None = None, *, topic_prefix: str = "streamflow", say: Say = _silent) -> None:
        """Set the home folder (default: ``STREAMFLOW_HOME``, else ``.streamflow``); nothing starts yet."""
        self.home = Home((home or stack_home()).resolve())
        self.topic_prefix = topic_prefix
        self._say = say

    def __enter__(self) -> Self:
        """Start everything."""
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop everything."""
        self.down()

    # ---- queries

    @property
    def record(self) -> StackRecord:
        """The record of the running processes, read from its file."""
        return StackRecord.load(self.home.record)

    def is_up(self) -> bool:
        """Return whether any process of the stack runs."""
        record = self.record
        return any(record.alive(name) for name in record.processes)

    def settings(self) -> Settings:
        """Return this stack's settings.

        Raises:
            UserError: the stack was never started.
        """
        return load_settings(self.home.root)

    def rest(self) -> FlinkRest:
        """Return a client of this stack's JobManager."""
        return FlinkRest(self.settings().flink_rest_url)

    def flink_client(self) -> FlinkClient:
        """Return Flink's command-line client for this stack's cluster: what ``submit`` takes.

        Raises:
            UserError: the stack has no Flink cluster, or there is no usable Java.
        """
        return flink.client(self.home)

    def status(self) -> list[ProcessStatus]:
        """Return every process that should run, in the order they were started."""
        record = self.record
        found = []
        for name, item in record.processes.items():
            alive = record.alive(name)
            mine = ports_of(record, name)
            age = process.age_s(item) if alive else None
            found.append(ProcessStatus(name, "running" if alive else "dead", item.pid, mine, age, item.log))
        return found

    # ---- starting

    def up(
        self,
        components: Sequence[Component] = COMPONENTS,
        *,
        taskmanagers: int = 2,
        secure: bool | None = None,
        wanted_ports: dict[str, int | None] | None = None,
    ) -> Settings:
        """Start all components that do not run, create topics and tables, write ``stack.env``; return the settings.

        Args:
            components: the components to start.
            taskmanagers: number of TaskManagers, 1 to 16; each has one task slot and needs about 1.7 GiB.
            secure: run with TLS, logins and rights, with generated certificates and passwords; ``None`` keeps the
                last choice for this home folder.
            wanted_ports: fixed ports of components; the others get any free port.

        Raises:
            UserError: ``secure`` differs from the running stack, a port is in use, a program is missing, or a process
                did not start. All processes that this call started are stopped again.
        """
        toolchain.require_jars()
        java = toolchain.find_java()
        self.home.root.mkdir(parents=True, exist_ok=True)
        with self.locked():
            record = self.record
            launcher = self.launcher(record)
            before = {name for name in record.processes if record.alive(name)}
            self._choose_security(record, secure, before)
            self._adopt(record)
            try:
                launcher.choose_ports(components, wanted_ports or {})
                record.taskmanagers = taskmanagers if "flink" in components else record.taskmanagers
                known = envfile.read(self.home.env_file)
                passwords = {name: known.get(name) or secrets.token_urlsafe(24) for name in postgres.PASSWORDS}
                address = launcher.redis_address(components, known)
                launcher.write_env(passwords, address)
                if "redis" in components and address is not None:
                    launcher.start_redis(address)
                launcher.start_together(components, java, passwords)
                if "registry" in components:
                    registry.start(launcher, self.home, record, java)
                if "airflow" in components:
                    launcher.start_airflow(self.settings())
                if "api" in components:
                    launcher.start_api()
                record.origin = None
                record.save()
            except BaseException:
                launcher.stop([name for name in record.processes if name not in before])
                if not before:  # else processes with the marker may belong to components that keep running
                    process.end_leftovers(record.stack_id)
                raise
        return self.settings()

    def _choose_security(self, record: StackRecord, secure: bool | None, running: set[str]) -> None:  # noqa: FBT001
        if secure is not None and secure != record.secure:
            if running:
                raise UserError(
                    f"the stack in {self.home.root} is up {'with' if record.secure else 'without'} security",
                    "run `streamflow down` first",
                )
            record.secure = secure
        if record.secure and not running and Certificates(self.home.secrets).ensure():
            self._say(f"Made certificates in {self.home.secrets}")

    def _adopt(self, record: StackRecord) -> None:
        """Take over what a moved or copied folder holds."""
        if record.origin is None:
            return
        origin = Home(Path(record.origin))
        self._say(f"{self.home.root} was moved or copied from {origin.root}; its settings are written anew.")
        is_copy = origin.record.exists()
        relocation.adopt_database(self.home.postgres, origin.postgres, is_copy=is_copy, say=self._say)

    # ---- stopping

    def down(self, *, wipe: bool = False, savepoint_limit_s: float | None = None) -> list[str]:
        """Stop all processes of this stack; return the names of those that ran.

        Data and ports are kept for the next ``up``.

        Args:
            wipe: delete the home folder and the database.
            savepoint_limit_s: first stop every Flink job with a savepoint that takes at most so many seconds, and
                report what is kept of each; ``None`` leaves the jobs to their last checkpoints.
        """
        if not self.home.root.exists():
            return []
        with self.locked():
            record = self.record
            running = [name for name in record.processes if record.alive(name)]
            if savepoint_limit_s is not None and running:
                keep_state(record, self.settings, savepoint_limit_s, self._say)
            self.launcher(record).stop(list(record.processes))
            process.end_leftovers(record.stack_id)
        if wipe:
            self.wipe()
        return running

    def stop(self, name: str) -> bool:
        """Stop one process of the stack by its name; return whether it ran."""
        with self.locked():
            record = self.record
            runs = record.alive(name)
            self.launcher(record).stop([name])
        return runs

    def wipe(self) -> None:
        """Delete the home folder and the database of a stack that is down.

        Raises:
            UserError: the stack runs, or the folder holds no stack.
        """
        if self.is_up():
            raise UserError(f"the stack in {self.home.root} is up", "run `streamflow down` first")
        if not self.home.record.exists():
            raise UserError(f"{self.home.root} holds no stack", "check STREAMFLOW_HOME")
        folder = postgres.data_folder(self.home.postgres, toolchain.postgres_user())
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(self.home.root)

    def launcher(self, record: StackRecord) -> Launcher:
        """Return the starter and stopper of this stack's processes; hold the lock while it works."""
        return Launcher(self.home, record, self.topic_prefix, self._say)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of this home folder, so that only one ``up`` or ``down`` works on it at a time.

        Raises:
            UserError: another command holds the lock.
        """
        with self.home.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another streamflow command is starting or stopping the stack in {self.home.root}",
                    "wait for it to end",
                ) from None
            yield

    @contextlib.contextmanager
    def submitting(self) -> Iterator[None]:
        """Let one command at a time check for running jobs and submit its own; wait while another one does.

        Two commands at once would both see that no job runs, and the second job of a consumer group would process every
        record a second time.
        """
        self.home.root.mkdir(parents=True, exist_ok=True)
        with self.home.submit_lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._say("Another streamflow command is submitting jobs to this stack; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
