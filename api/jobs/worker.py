"""Runs the jobs, one at a time over all processes of the API: a child process each, with limits and progress."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from typing import Any, Final

import orjson

from api.background import repeat
from api.database import Database
from api.errors import ApiError
from api.jobs import store
from api.jobs.store import Job
from flink_jobs.settings import REPO_ROOT

_LOG: Final = logging.getLogger(__name__)
EVERY_S: Final = 1.0
BEAT_S: Final = 5.0
LONGEST_S: Final = 900.0
"""A job that takes longer is ended; a redrive continues with the remaining records when it is started again."""
COMMAND: Final = (sys.executable, "-m", "api.jobs.child")


class JobWorker:
    """Takes jobs and runs them. A stop of the API ends the child process and marks its job as cancelled."""

    def __init__(self, database: Database) -> None:
        """Use a database; the child process reads the same settings from the environment."""
        self._database = database

    async def run(self) -> None:
        """Run jobs until cancelled."""
        await repeat(self._run_next, EVERY_S, _LOG, "a job of the console failed")

    async def _run_next(self) -> bool:
        job = await store.take(self._database)
        if job is not None:
            await self._run(job)
        return job is not None

    async def _run(self, job: Job) -> None:
        try:
            async with asyncio.timeout(LONGEST_S):
                last = await self._child(job)
        except TimeoutError:
            last = {"error": f"it took longer than {LONGEST_S:g} s"}
        except asyncio.CancelledError:
            with contextlib.suppress(ApiError):
                await store.end(self._database, job.job_id, "cancelled", error="the API was stopped; start it again")
            raise
        if "result" in last:
            await store.end(self._database, job.job_id, "done", last["result"])
        else:
            await store.end(self._database, job.job_id, "failed", error=str(last.get("error", "its process ended")))

    async def _child(self, job: Job) -> dict[str, Any]:
        """Return the last line of a job's process; no process outlives this call."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *COMMAND, cwd=REPO_ROOT, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, limit=2**24
        )
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        beats = asyncio.create_task(self._beats(job.job_id))
        last: dict[str, Any] = {}
        try:
            process.stdin.write(orjson.dumps(job._asdict()))
            process.stdin.close()
            async for line in process.stdout:
                last = orjson.loads(line)
                if "done" in last:
                    await store.beat(self._database, job.job_id, last["done"], last.get("total"))
        finally:
            beats.cancel()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return last

    async def _beats(self, job_id: int) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            with contextlib.suppress(ApiError):
                await store.beat(self._database, job_id)
