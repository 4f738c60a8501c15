"""Starts `streamflow model carry-out` when a request about a model waits; a process of its own, with its own logins."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Final

from api.background import repeat
from api.model_requests import store
from flink_jobs.settings import REPO_ROOT

if TYPE_CHECKING:
    from api.database import Database

_LOG: Final = logging.getLogger(__name__)
EVERY_S: Final = 2.0
LOOK_S: Final = 0.5
PAUSE_S: Final = 60.0
"""Wait after a command that failed, for example because the settings lack a login."""
COMMAND: Final = (sys.executable, "-m", "flink_jobs.cli", "model", "carry-out")


class ModelWorker:
    """Looks for requests about models and starts the command that carries them out.

    A stop of the API does not end the command, because a promotion that is cut off leaves the registry behind the job.
    """

    def __init__(self, database: Database) -> None:
        """Use a database; the command reads the same settings from the environment."""
        self._database = database

    async def run(self) -> None:
        """Look and start until cancelled."""
        await repeat(self.step, EVERY_S, _LOG, "a request about a model was not carried out")

    async def step(self) -> None:
        """Carry out what waits, and wait for its end."""
        if not await store.is_due(self._database):
            return
        with tempfile.TemporaryFile() as messages:
            process = _start(messages)
            try:
                while process.poll() is None:  # noqa: ASYNC110 - asyncio would kill its own process when the API stops
                    await asyncio.sleep(LOOK_S)
            except asyncio.CancelledError:
                threading.Thread(target=process.wait, daemon=True).start()
                raise
            if process.returncode:
                messages.seek(0)
                text = messages.read().decode(errors="replace").strip()[-500:]
                _LOG.error("streamflow model carry-out failed with exit code %d: %s", process.returncode, text)
                await asyncio.sleep(PAUSE_S)


def _start(messages: IO[bytes]) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(COMMAND, cwd=REPO_ROOT, stdin=null, stdout=null, stderr=messages)
