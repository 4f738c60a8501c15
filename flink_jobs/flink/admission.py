"""Checks before a job is submitted: it does not run already, and the cluster has the task slots it needs.

Flink itself would accept the job and fail two minutes later with ``NoResourceAvailableException``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flink_jobs.flink.answers import Job
    from flink_jobs.flink.rest import FlinkRest

TOPIC_PREFIX: Final = "streamflow.topic-prefix"
"""The job parameter that tells the jobs of two installations on one cluster apart."""
MOST_TASKMANAGERS: Final = 16
_ELASTIC: Final = ("kubernetes.cluster-id", "yarn.application.id")
"""Settings of clusters that start TaskManagers when a job needs them."""


def running(rest: FlinkRest, name: str, topic_prefix: str) -> Job | None:
    """Return the active job of this name that reads this installation's topics, if any.

    A job whose topics are unknown (submitted by release 0.2 or older) counts as one of them.
    """
    for job in rest.active_jobs():
        if job.name != f"streamflow-{name}":
            continue
        if rest.job_parameters(job.job_id).get(TOPIC_PREFIX, topic_prefix) == topic_prefix:
            return job
    return None


def refuse_second(rest: FlinkRest, name: str, topic_prefix: str) -> None:
    """Refuse a job that runs already.

    Raises:
        UserError: an active job has the name and the topics; the text names its id.
    """
    job = running(rest, name, topic_prefix)
    if job is not None:
        raise UserError(
            f"{name} is {job.state} already as job {job.job_id}, in consumer group {topic_prefix}-{name}; "
            "a second job of the group would process every record a second time",
            f"stop it first with `streamflow savepoint stop {job.job_id}`, or use another STREAMFLOW_TOPIC_PREFIX",
        )


def require_slots(rest: FlinkRest, parallelism: Mapping[str, int | None]) -> None:
    """Refuse jobs that need more task slots than are free.

    Args:
        rest: the cluster.
        parallelism: of each job to start; ``None`` for the cluster's default.

    Raises:
        UserError: there are too few; the text says how many TaskManagers are enough.
    """
    settings = rest.cluster_settings()
    if any(name in settings for name in _ELASTIC):
        return
    default = int(settings.get("parallelism.default", 1))
    needed = sum(default if wanted is None else wanted for wanted in parallelism.values())
    overview: dict[str, Any] = rest.overview()
    free = int(overview["slots-available"])
    if needed <= free:
        return
    per_manager = max(1, int(settings.get("taskmanager.numberOfTaskSlots", 1)))
    enough = int(overview["taskmanagers"]) + math.ceil((needed - free) / per_manager)
    if enough <= MOST_TASKMANAGERS:
        fix = f"run `streamflow up --taskmanagers {enough}`"
    else:
        fix = f"use a lower --parallelism, or a larger cluster (a local stack has at most {MOST_TASKMANAGERS} slots)"
    slots = f"{needed} task slot{'s' if needed != 1 else ''}"
    verb = "needs" if len(parallelism) == 1 else "need"
    raise UserError(f"{' and '.join(parallelism)} {verb} {slots}, {free} {'is' if free == 1 else 'are'} free", fix)
