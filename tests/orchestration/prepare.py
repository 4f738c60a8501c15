"""Run in the streaming environment: a Postgres with decided cards, and a database for Airflow.

``python -m tests.orchestration.prepare HOME`` starts it, ``... HOME stop`` ends it and deletes everything.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psycopg

from flink_jobs.local.stack import Stack
from tests.integration.decided_cards import archive, decide

EVENTS = 4_000


def main(home: Path, *, stop: bool) -> None:
    """Start and fill, or stop."""
    stack = Stack(home)
    if stop:
        stack.down(wipe=True)
        return
    settings = stack.up(["postgres"])
    archive(settings.postgres_dsn_as("writer"), decide(EVENTS))
    with psycopg.connect(settings.postgres_dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE airflow")


if __name__ == "__main__":
    main(Path(sys.argv[1]), stop="stop" in sys.argv[2:])
