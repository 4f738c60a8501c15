"""Runs ``streamflow`` with the given arguments and kills itself with SIGKILL at one point of a redrive.

``killed_redrive.py claimed|half|sent dlq redrive ...``: ``claimed`` is after the dead letters are claimed and before
any is sent; ``half`` is when half of them have reached Kafka; ``sent`` is when all have, before the audit is written.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from flink_jobs.cli.app import main
from flink_jobs.dead_letters.redrive_run import RedriveProducer

if TYPE_CHECKING:
    from flink_jobs.dead_letters.redrive_audit import RedriveItem

send = RedriveProducer.send


def send_and_die(point: str, producer: RedriveProducer, claimed: dict[int, RedriveItem]) -> dict[int, tuple[int, int]]:
    """Send as many of the claimed records as the point says, then die."""
    numbers = {"claimed": 0, "half": len(claimed) // 2, "sent": len(claimed)}[point]
    send(producer, dict(list(claimed.items())[:numbers]))
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("SIGKILL cannot be caught")


if __name__ == "__main__":
    point = sys.argv.pop(1)
    RedriveProducer.send = lambda self, claimed: send_and_die(point, self, claimed)  # type: ignore[method-assign]
    main()
