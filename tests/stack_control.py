"""What tests do to a stack and ask of Flink that the product does not: kill processes, wait for checkpoints."""

from __future__ import annotations

import signal
import urllib.parse
from typing import TYPE_CHECKING, Any

from flink_jobs.errors import UserError
from flink_jobs.local import flink, ports, process, toolchain
from flink_jobs.local.stack import ports_of
from flink_jobs.waiting import wait_for

if TYPE_CHECKING:
    from flink_jobs.flink.answers import Checkpoints
    from flink_jobs.flink.rest import FlinkRest
    from flink_jobs.local.stack import Stack


def kill(stack: Stack, name: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process of the stack and, if it is SIGKILL or SIGTERM, wait until it has ended.

    A killed JVM is a zombie for a moment while its threads still hold its ports. A process that starts then would get
    other ports, and clients that use the old ones would not find it.

    Raises:
        UserError: it does not run.
    """
    record = stack.record
    if not record.alive(name):
        raise UserError(f"{name} does not run", "see `streamflow status`")
    process.send(record.processes[name], number)
    if number in {signal.SIGKILL, signal.SIGTERM}:
        wait_for(lambda: not record.alive(name), limit_s=240, what=f"{name} to end", interval_s=0.02)
        held = ports_of(record, name).values()
        wait_for(lambda: all(map(ports.is_free, held)), limit_s=240, what=f"the ports of {name}", interval_s=0.02)


def kill_taskmanager(stack: Stack, index: int) -> None:
    """Kill a TaskManager and wait until it has ended.

    Raises:
        UserError: it does not run.
    """
    kill(stack, flink.task_manager(index))


def start_taskmanager(stack: Stack, index: int) -> None:
    """Start a TaskManager again, or one more, and wait until it is registered at the JobManager.

    Raises:
        UserError: it runs already.
    """
    name = flink.task_manager(index)
    with stack.locked():
        record = stack.record
        if record.alive(name):
            raise UserError(f"{name} runs already", "kill it first")
        stack.launcher(record).start_taskmanagers(toolchain.find_java(), [index])
        record.taskmanagers = max(record.taskmanagers, index)
        record.save()


def wait_checkpoint(rest: FlinkRest, job_id: str, *, limit_s: float = 400.0) -> Checkpoints:
    """Wait until one more checkpoint of a job has completed."""
    seen = rest.checkpoints(job_id).completed

    def newer() -> Checkpoints | None:
        now = rest.checkpoints(job_id)
        return now if now.completed > seen else None

    return wait_for(newer, limit_s=limit_s, what=f"a checkpoint of job {job_id}", interval_s=0.1)


def flink_metrics(rest: FlinkRest, path: str, names: list[str]) -> dict[str, float]:
    """Return metrics below a REST path such as ``/jobs/<id>``; metrics that Flink does not have yet are left out."""
    answer: Any = rest.get(f"{path}/metrics?{urllib.parse.urlencode({'get': ','.join(names)})}")
    return {item["id"]: float(item["value"]) for item in answer}
