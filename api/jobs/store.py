"""The rows of ``api.jobs``."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from api.database import Connection, Database

LOST_AFTER_S: Final = 30
"""A running job without a beat for this time has lost its process."""
_COLUMNS: Final = "job_id, kind, request, proposal_id, asked_by, asked_at, state, done, total, result, error, ended_at"
_ADD: Final = """
    INSERT INTO api.jobs (kind, request, proposal_id, asked_by)
    VALUES (%(kind)s, %(request)s, %(proposal)s, %(by)s) RETURNING job_id
"""
_GET: Final = f"SELECT {_COLUMNS} FROM api.jobs WHERE job_id = %(id)s"  # noqa: S608 - constant column names
_OF_PROPOSAL: Final = f"""
    SELECT {_COLUMNS} FROM api.jobs WHERE proposal_id = %(id)s ORDER BY job_id DESC LIMIT 1
"""  # noqa: S608 - constant column names
_FAIL_LOST: Final = """
    UPDATE api.jobs SET state = 'failed', ended_at = now(), error = 'the process that ran it has ended; start it again'
    WHERE state = 'running' AND beat_at < now() - make_interval(secs => %(seconds)s)
"""
_TAKE: Final = """
    UPDATE api.jobs j SET state = 'running', started_at = now(), beat_at = now()
    FROM (SELECT job_id FROM api.jobs
          WHERE state = 'waiting' AND NOT EXISTS (SELECT FROM api.jobs WHERE state = 'running')
          ORDER BY job_id LIMIT 1 FOR UPDATE SKIP LOCKED) AS first
    WHERE j.job_id = first.job_id RETURNING j.job_id, j.kind, j.request, j.asked_by
"""
_BEAT: Final = """
    UPDATE api.jobs SET beat_at = now(), done = coalesce(%(done)s, done), total = coalesce(%(total)s, total)
    WHERE job_id = %(id)s AND state = 'running'
"""
_END: Final = """
    UPDATE api.jobs SET state = %(state)s, ended_at = now(), result = %(result)s, error = %(error)s
    WHERE job_id = %(id)s AND state = 'running'
"""


class Kind(StrEnum):
    """What a job does."""

    WHAT_IF = "what-if"
    REDRIVE_PLAN = "redrive-plan"
    REDRIVE = "redrive"


class Job(NamedTuple):
    """A job to run."""

    job_id: int
    kind: str
    request: dict[str, Any]
    asked_by: str


async def add(connection: Connection, kind: Kind, request: dict[str, Any], by: str, proposal: int | None = None) -> int:
    """Add a job that waits; return its number."""
    values = {"kind": kind.value, "request": Jsonb(request), "proposal": proposal, "by": by}
    row = await (await connection.execute(_ADD, values)).fetchone()
    assert row is not None  # noqa: S101 - INSERT returns its row
    return int(row["job_id"])


async def get(database: Database, job_id: int) -> dict[str, Any] | None:
    """Return a job, ``None`` if there is none."""
    return next(iter(await database.rows(_GET, {"id": job_id})), None)


async def newest_what_if(database: Database, proposal_id: int) -> dict[str, Any] | None:
    """Return the newest what-if of a proposal."""
    return next(iter(await database.rows(_OF_PROPOSAL, {"id": proposal_id})), None)


async def take(database: Database) -> Job | None:
    """Take the job that waits longest, ``None`` while one runs; jobs that lost their process fail first."""
    await database.rows(_FAIL_LOST, {"seconds": LOST_AFTER_S})
    try:
        rows = await database.rows(_TAKE, {})
    except psycopg.errors.UniqueViolation:
        return None  # another process of the API was faster
    return Job(**rows[0]) if rows else None


async def beat(database: Database, job_id: int, done: int | None = None, total: int | None = None) -> None:
    """Note that the process of a job works, and its progress."""
    await database.rows(_BEAT, {"id": job_id, "done": done, "total": total})


async def end(
    database: Database, job_id: int, state: str, result: dict[str, Any] | None = None, error: str | None = None
) -> None:
    """Note the end of a job: ``done``, ``failed`` or ``cancelled``."""
    values = {"id": job_id, "state": state, "result": None if result is None else Jsonb(result), "error": error}
    await database.rows(_END, values)
