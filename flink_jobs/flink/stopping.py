"""Stop jobs so that their state is kept: with a savepoint, else at their last completed checkpoint."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flink_jobs.errors import UserError
from flink_jobs.flink.rest import FlinkRestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flink_jobs.flink.answers import Job
    from flink_jobs.flink.rest import FlinkRest

SAVEPOINT_LIMIT_S: Final = 60.0
CANCEL_LIMIT_S: Final = 15.0
_FAILURES: Final = (UserError, FlinkRestError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Stopped:
    """What was kept of a job that was stopped.

    Attributes:
        job: the job.
        savepoint: the savepoint it was stopped with.
        checkpoint: without a savepoint: the last completed checkpoint, which is kept.
        problem: why there is no savepoint.
    """

    job: Job
    savepoint: str | None = None
    checkpoint: str | None = None
    problem: str = ""

    def line(self) -> str:
        """Return what happened, as one line."""
        if self.savepoint is not None:
            return f"{self.job.name} stopped with savepoint {self.savepoint}"
        kept = f"its last checkpoint is kept: {self.checkpoint}" if self.checkpoint else "it completed no checkpoint"
        return f"{self.job.name} stopped without a savepoint ({self.problem}); {kept}"


def stop_jobs(
    rest: FlinkRest, jobs: Sequence[Job], target: str, *, limit_s: float = SAVEPOINT_LIMIT_S, obstacle: str = ""
) -> list[Stopped]:
    """Stop jobs side by side and return what was kept of each; no failure of one keeps another from stopping.

    Args:
        rest: the cluster.
        jobs: active jobs.
        target: URI of the folder for savepoints.
        limit_s: seconds that a savepoint may take; 0 takes none.
        obstacle: a known reason why no savepoint can complete; none is tried then.
    """
    if not jobs:
        return []
    if limit_s <= 0:
        obstacle = obstacle or "none was asked for"

    def stop(job: Job) -> Stopped:
        problem = obstacle
        if not problem:
            try:
                return Stopped(job, rest.stop_with_savepoint(job.job_id, target, limit_s=limit_s))
            except _FAILURES as error:
                problem = error.what if isinstance(error, UserError) else str(error)
        return _cancelled(rest, job, problem)

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(stop, jobs))


def _cancelled(rest: FlinkRest, job: Job, problem: str) -> Stopped:
    """Cancel a job: it keeps its last checkpoint, and a JobManager with HA does not start it again."""
    with suppress(*_FAILURES):
        rest.cancel(job.job_id, limit_s=CANCEL_LIMIT_S)
    checkpoint = None
    with suppress(*_FAILURES):
        checkpoint = rest.checkpoints(job.job_id).last_path
    return Stopped(job, None, checkpoint, problem)
