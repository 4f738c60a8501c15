"""Where a job in a container of its own begins: prints the snapshot's URI, or nothing for no state.

    python -m flink_jobs.job.start_point detect

``k8s/images/entrypoint.sh`` gives the URI to Flink, so that a container that is started again resumes. On Kubernetes
Flink's operator does this, on a local stack ``streamflow submit``.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from flink_jobs.errors import UserError
from flink_jobs.flink.resume import choose_start, refuse_lost_histories
from flink_jobs.flink.savepoints.latest import Place
from flink_jobs.flink.savepoints.snapshot import local_path
from flink_jobs.settings import Settings, load_settings

FRESH: Final = "STREAMFLOW_FRESH"
"""Set to 1, the container starts without state."""


def place_of(settings: Settings) -> Place:
    """Return where this installation's snapshots are."""
    return Place(
        settings.checkpoint_dir,
        settings.savepoint_dir,
        settings.topic_prefix,
        settings.execution_mode,
        settings.entities,
    )


def main(job: str) -> int:
    """Print the snapshot that a job resumes from, and report the choice on standard error; return the exit code."""
    try:
        settings, is_fresh = load_settings(), os.environ.get(FRESH) == "1"
        place = place_of(settings)
        for uri in (place.checkpoints, place.savepoints):
            local_path(uri).mkdir(parents=True, exist_ok=True)  # a new volume is empty
        start = choose_start(job, place, fresh=is_fresh)
        if not is_fresh:
            refuse_lost_histories(start, place, settings.broker())
    except UserError as error:
        sys.stderr.write(f"{job}: {error}. In a container: set {FRESH}=1, or add `--fromSavepoint PATH`\n")
        return 2
    sys.stderr.write("".join(f"{line}\n" for line in start.lines))
    sys.stdout.write(start.savepoint or "")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
