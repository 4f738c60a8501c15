"""Partitions by day of the raw tables: see sql/migrations, partitions by day."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import psycopg

from flink_jobs.errors import UserError


class PartitionChange(NamedTuple):
    """What became of one partition."""

    partition: str
    action: str
    """created, dropped, or emptied (old rows of a DEFAULT partition)."""
    rows: int
    """Rows it got or lost."""


def roll_partitions(dsn: str, today: date) -> list[PartitionChange]:
    """Make the partitions that the raw tables need and drop those they keep no longer, by ``ops.partition_policy``.

    Args:
        dsn: of the transformer, or the owner.
        today: the UTC day of the caller's clock.

    Raises:
        UserError: a table stayed in use for so long that its partitions could not be changed.
    """
    done: list[PartitionChange] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        tables = connection.execute("SELECT table_name FROM ops.partition_policy ORDER BY 1").fetchall()
        for (table,) in tables:
            try:
                rows = connection.execute("SELECT * FROM ops.roll_partitions(%s, %s)", (table, today)).fetchall()
            except psycopg.errors.LockNotAvailable:
                raise UserError(
                    f"{table} is in use, its partitions could not be changed", "try again when the long query has ended"
                ) from None
            done += map(PartitionChange._make, rows)
    return done
