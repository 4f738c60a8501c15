"""Replays a card file in several processes: each has the states of its customers, and one more reads the file.

A customer belongs to the process that the CRC-32 of the id names. The reader sends a batch of events, each process
returns its rows, and the reader puts them into the order of the file. So the data set equals that of ``build_dataset``,
bit for bit, whatever the number of processes.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from zlib import crc32

import numpy as np
import orjson

from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.errors import UserError
from ml.dataset import build_dataset
from ml.dataset_parts import DatasetParts
from ml.replay_worker import Answer, Failure, ReplayPlan, run_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from flink_jobs.cards.card_files import SourceEvent
    from flink_jobs.core.own_features.values import OwnValues
    from flink_jobs.core.transaction import Rejection
    from ml.dataset import Dataset

BATCH_EVENTS: Final = 20_000
"""Events of one batch; about 30 MB in the reader, and as much in all other processes together."""
FEWEST_EVENTS: Final = 50_000
"""A shorter file is replayed in this process: the others take about a second to start."""
PROCESS_BYTES: Final = 512 * 1024**2
"""Free memory for which a further process starts by default. It needs about 70 MB, and its customers' states."""
_END_S: Final = 10.0


def usable_processes() -> int:
    """Return the number of processes for this machine: one per core that it may use, as far as memory allows."""
    cores = len(os.sched_getaffinity(0))
    free = free_memory()
    return cores if free is None else max(1, min(cores, free // PROCESS_BYTES))


def free_memory(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the bytes that this process can still use: the smaller of the machine's and the container's.

    Args:
        meminfo: the kernel's report.
        group: folder of the control group, version 2.

    Returns:
        None where neither is known.
    """
    found = []
    with suppress(OSError, ValueError, KeyError):
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    with suppress(OSError, ValueError):  # ``max`` is no number: no limit
        limit = int((group / "memory.max").read_text())
        found.append(max(0, limit - int((group / "memory.current").read_text())))
    return min(found, default=None)


def replay(
    events: Iterable[SourceEvent],
    now_ms: int,
    config: DetectionConfig | None = None,
    on_rejected: Callable[[SourceEvent, Rejection], None] | None = None,
    own: OwnValues | None = None,
    *,
    processes: int = 1,
    batch_events: int = BATCH_EVENTS,
    fewest_events: int = FEWEST_EVENTS,
) -> Dataset:
    """Return what ``build_dataset`` returns for the same arguments, computed in several processes.

    Memory beyond that of ``build_dataset``: about 70 MB for each process, and two batches (``BATCH_EVENTS``).

    Args:
        events: in the order the stream would receive them.
        now_ms: see ``build_dataset``.
        config: see ``build_dataset``.
        on_rejected: see ``build_dataset``; called in the order of the events.
        own: see ``build_dataset``.
        processes: number of processes that compute; with 1, this process does all.
        batch_events: number of events of one batch.
        fewest_events: number of events from which other processes start.

    Raises:
        UserError: a process ended early, for example for lack of memory.
    """
    config = config or DetectionConfig()
    source = iter(events)
    first = list(itertools.islice(source, fewest_events if processes > 1 else 0))
    source = itertools.chain(first, source)
    if processes <= 1 or len(first) < fewest_events:
        return build_dataset(source, now_ms, config, on_rejected, own)
    del first
    plan = ReplayPlan(now_ms, config, () if own is None else own.features.sources)
    with _Workers(plan, processes) as workers:
        rejected = _collect(source, workers, on_rejected, batch_events)
    return workers.parts.dataset(None if own is None else own.features, rejected)


def _collect(
    source: Iterator[SourceEvent],
    workers: _Workers,
    on_rejected: Callable[[SourceEvent, Rejection], None] | None,
    batch_events: int,
) -> int:
    """Send all events and join the answers; return the number of rejected events."""
    rejected = 0
    sent: list[SourceEvent] = []
    while True:
        batch = list(itertools.islice(source, batch_events))
        messages = workers.messages(batch)
        answers = workers.receive() if sent else []
        if batch:
            workers.send(messages)  # the processes compute while this one joins the rows and reads on
        if answers:
            for place, rejection in sorted(itertools.chain(*(answer.rejections for answer in answers))):
                rejected += 1
                if on_rejected is not None:
                    on_rejected(sent[place], rejection)
            workers.join(answers)
        if not batch:
            return rejected
        sent = batch


class _Workers:
    """The processes, while a ``with`` block runs."""

    def __init__(self, plan: ReplayPlan, count: int) -> None:
        self.parts = DatasetParts()
        self._started: list[tuple[BaseProcess, Connection]] = []
        self._plan, self._count = plan, count

    def __enter__(self) -> Self:
        # A fresh interpreter for each: a copy of this process would have the locks of its threads.
        context = multiprocessing.get_context("spawn")
        try:
            for number in range(self._count):
                here, there = context.Pipe()
                process = context.Process(
                    target=run_worker, args=(there, self._plan), name=f"replay-{number + 1}", daemon=True
                )
                process.start()
                there.close()
                self._started.append((process, here))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for _process, connection in self._started:
            connection.close()  # ends the process: it waits for a message
        for process, _connection in self._started:
            process.join(_END_S)
            if process.is_alive():
                process.terminate()
                process.join()

    def messages(self, batch: Sequence[SourceEvent]) -> list[bytes]:
        """Return a message for each process: the events of its customers, with their places in the batch."""
        shares: list[list[Any]] = [[] for _ in range(self._count)]
        for place, event in enumerate(batch):
            customer = str(event.transaction.get("customer_id")).encode(errors="replace")
            parts = event.transaction, event.label, event.pattern, event.segment, event.row
            shares[crc32(customer) % self._count].append((place, parts))
        return [orjson.dumps(share) for share in shares]

    def send(self, messages: Sequence[bytes]) -> None:
        """Send one message to each process; all of them wait for it."""
        for (process, connection), message in zip(self._started, messages, strict=True):
            with _reported(process):
                connection.send_bytes(message)

    def receive(self) -> list[Answer]:
        """Return the answers of all processes.

        Raises:
            UserError: a process ended early.
            RuntimeError: the replay failed in a process.
        """
        answers = []
        for process, connection in self._started:
            with _reported(process):
                answer = connection.recv()
            if isinstance(answer, Failure):
                raise RuntimeError(  # noqa: TRY004 - the answer has the right type
                    f"the replay failed in the process {process.name}:\n{answer.text}"
                )
            answers.append(answer)
        return answers

    def join(self, answers: Sequence[Answer]) -> None:
        """Add the rows of a batch in the order of its events."""
        places = np.concatenate([np.array(answer.places, dtype=np.intp) for answer in answers])
        self.parts.extend([answer.columns for answer in answers], np.argsort(places))


@contextmanager
def _reported(process: BaseProcess) -> Iterator[None]:
    """Turn the end of a process into an error that says so.

    Raises:
        UserError: the process has ended.
    """
    try:
        yield
    except (EOFError, OSError) as error:
        process.join(_END_S)
        what = f"the process {process.name} of the replay ended early (exit code {process.exitcode})"
        fix = "use fewer processes, such as --processes 1; exit code -9 mostly means that memory ran out"
        raise UserError(what, fix) from error
