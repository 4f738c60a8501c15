"""Start processes that outlive this program, identify them later, and end them with all processes they started.

A pid alone is no identity, because pids are reused. A process belongs to the stack if its pid, its start time and the
id of the boot all match the record. Its children are found by the session that each recorded process leads. Children
that left the session are found by an environment variable that all processes of a stack inherit; some programs
overwrite their environment, so both ways are needed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from flink_jobs.waiting import WaitTimeoutError, wait_for

MARKER = "STREAMFLOW_STACK_ID"
LEFTOVER_LIMIT_S = 3.0
_ENDED = {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
# Children of this process. They must be reaped; otherwise they stay zombies until this process ends.
_children: set[int] = set()


@dataclass(frozen=True)
class ProcessRecord:
    """One process of the stack, as stored in ``stack.json``."""

    name: str
    pid: int
    start_ticks: int
    boot_id: str
    log: str
    stop_signal: int = signal.SIGTERM

    def to_json(self) -> dict[str, Any]:
        """Return plain values for the record file."""
        return asdict(self)


def boot_id() -> str:
    """Return an id that changes with every boot: pids and start times are only unique within one boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_ticks(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot; ``None`` if it does not run or is a zombie."""
    try:
        found = psutil.Process(pid)
        return None if found.status() in _ENDED else _ticks_since_boot(pid)
    except psutil.NoSuchProcess:
        return None


def _ticks_since_boot(pid: int) -> int:
    """Return the start time relative to the boot, which no change of the clock moves."""
    while True:
        boot = psutil.boot_time()
        started = psutil.Process(pid).create_time()
        if psutil.boot_time() == boot:  # else the clock was set between the two calls
            return round((started - boot) * _TICKS_PER_S)


def _reap(pid: int) -> None:
    if pid in _children:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                return
        _children.discard(pid)


def is_alive(record: ProcessRecord) -> bool:
    """Return whether the recorded process still runs; another process with the same pid does not count."""
    _reap(record.pid)
    return record.boot_id == boot_id() and start_ticks(record.pid) == record.start_ticks


def age_s(record: ProcessRecord) -> float:
    """Return how long a live process has run, in seconds."""
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - record.start_ticks / _TICKS_PER_S)


@dataclass(frozen=True)
class Command:
    """A program to start."""

    name: str
    argv: Sequence[str]
    log: Path
    env: Mapping[str, str]
    cwd: Path
    stop_signal: int = signal.SIGTERM
    user: pwd.struct_passwd | None = None


def run_as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return the arguments that make subprocess start a program as another account (``None``: the current account)."""
    return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def spawn(command: Command, stack_id: str) -> ProcessRecord:
    """Start a process in a new session and append its output to its log."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log:
        child = subprocess.Popen(
            list(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**command.env, MARKER: stack_id},
            cwd=command.cwd,
            start_new_session=True,
            **run_as(command.user),
        )
    _children.add(child.pid)
    child.returncode = 0  # otherwise Popen warns at exit that it still runs, which is intended
    ticks = start_ticks(child.pid)
    return ProcessRecord(
        name=command.name,
        pid=child.pid,
        # A process that ended at once has no start time; -1 matches no process, so it counts as dead.
        start_ticks=-1 if ticks is None else ticks,
        boot_id=boot_id(),
        log=str(command.log),
        stop_signal=command.stop_signal,
    )


def send(record: ProcessRecord, number: int) -> None:
    """Send a signal to the recorded process if it still runs."""
    if is_alive(record):
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, number)


def stop(records: Sequence[ProcessRecord], *, limit_s: float = 15.0) -> list[ProcessRecord]:
    """Stop processes together: send each its stop signal, and SIGKILL to those that run after ``limit_s`` seconds.

    Then the remaining processes of their sessions are ended, too. Returns the records that had to be killed.
    """
    sessions = {record.pid for record in records if is_alive(record)}
    for record in records:
        send(record, record.stop_signal)
    with contextlib.suppress(WaitTimeoutError):
        wait_for(lambda: not any(map(is_alive, records)), limit_s=limit_s, what="processes to end", interval_s=0.05)
    killed = [record for record in records if is_alive(record)]
    for record in killed:
        send(record, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, records)), limit_s=60, what="killed processes to go", interval_s=0.02)
    _end(lambda: _in_sessions(sessions), LEFTOVER_LIMIT_S)
    return killed


def _in_sessions(leaders: Collection[int]) -> list[int]:
    """Return the pids of live processes in these sessions. A session's id is not reused while a process is in it."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) in leaders and start_ticks(pid) is not None:
                found.append(pid)
    return found


def marked(stack_id: str) -> list[int]:
    """Return the pids of live processes that carry the stack's marker in their environment."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if pid != os.getpid() and psutil.Process(pid).environ().get(MARKER) == stack_id:
                found.append(pid)
    return [pid for pid in found if start_ticks(pid) is not None]


def end_leftovers(stack_id: str, *, limit_s: float = LEFTOVER_LIMIT_S) -> list[int]:
    """Kill remaining children of the stack's processes; most are Python workers of Flink's process mode.

    They get ``limit_s`` seconds to end by themselves. Returns the pids that had to be killed.
    """
    return _end(lambda: marked(stack_id), limit_s)


def _end(find: Callable[[], list[int]], limit_s: float) -> list[int]:
    """Wait up to ``limit_s`` seconds until the found processes have ended; kill the others and return their pids."""
    end = time.monotonic() + limit_s
    while (left := find()) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not find(), limit_s=60, what="leftover processes to go", interval_s=0.05)
    return left


def log_tail(path: str | Path, lines: int = 15) -> str:
    """Return the last lines of a log; an empty string if it cannot be read."""
    try:
        return "\n".join(Path(path).read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
