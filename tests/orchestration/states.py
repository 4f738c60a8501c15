"""The states of the tasks of a DAG run."""

from __future__ import annotations

from typing import Any


def states(run: Any) -> dict[str, set[str]]:  # noqa: ANN401 - a DagRun, in either environment
    """Return the states of each task; a mapped task has several."""
    found: dict[str, set[str]] = {}
    for instance in run.get_task_instances():
        found.setdefault(instance.task_id, set()).add(str(getattr(instance.state, "value", instance.state)))
    return found
