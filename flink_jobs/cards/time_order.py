"""Passes the events of a card file oldest first, whatever the order of the file: models never train backwards in time.

A file that is oldest first is read once. For any other file the reading starts again with a merge sort by event time
that keeps at most ``RUN_EVENTS`` events in memory and the rest in temporary files.
"""

from __future__ import annotations

import heapq
import tempfile
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any, TypeVar

import orjson

from flink_jobs.cards.card_files import SourceEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

RUN_EVENTS = 200_000
"""Events that are sorted in memory at once; about 200 MB."""
T = TypeVar("T")
_Keyed = tuple[int, int, Any]


class _OutOfOrderError(Exception):
    """An event is earlier than the event before it."""


def oldest_first(
    read: Callable[[], Iterable[SourceEvent]], use: Callable[[Iterable[SourceEvent]], T], on_sort: Callable[[int], None]
) -> T:
    """Return what ``use`` returns for the events in the order of their event time.

    Args:
        read: starts to read the file from its beginning; called a second time if the file is not oldest first.
        use: consumes all events; called again in that case, so it must start anew at each call.
        on_sort: called before the second reading, with the number of the first event that is too early, from 1.
    """
    try:
        return use(_checked(read()))
    except _OutOfOrderError as problem:
        on_sort(problem.args[0])
        return use(sorted_by_time(read()))


def _checked(events: Iterable[SourceEvent]) -> Iterator[SourceEvent]:
    latest = None
    for number, event in enumerate(events, start=1):
        time_ms = event.transaction["event_time_ms"]
        if latest is not None and time_ms < latest:
            raise _OutOfOrderError(number)
        latest = time_ms
        yield event


def sorted_by_time(events: Iterable[SourceEvent], run_events: int = RUN_EVENTS) -> Iterator[SourceEvent]:
    """Yield the events in the order of their event time.

    Events of one time keep the order of the file. In a file that is newest first they get the reverse order.

    Args:
        events: the events of a file.
        run_events: the largest number of events in memory.
    """
    run: list[_Keyed] = []
    steps = latest = 0
    with ExitStack() as files:
        runs: list[IO[bytes]] = []
        for number, event in enumerate(events):
            time_ms = event.transaction["event_time_ms"]
            steps += (time_ms > latest) - (time_ms < latest)
            latest = time_ms
            run.append((time_ms, number, event))
            if len(run) == run_events:
                runs.append(_spilled(run, files))
                run = []
        direction = 1 if steps >= 0 else -1
        if not runs:
            run.sort(key=lambda item: (item[0], direction * item[1]))
            yield from (event for _, _, event in run)
            return
        if run:
            runs.append(_spilled(run, files))
        merged = heapq.merge(*(_read(file, direction) for file in runs))
        for _, _, parts in merged:
            yield SourceEvent(*parts)


def _spilled(run: list[_Keyed], files: ExitStack) -> IO[bytes]:
    """Write a sorted run to a temporary file, which the stack closes and deletes."""
    run.sort(key=lambda item: item[:2])
    file = files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack is the context
    for time_ms, number, event in run:
        parts = [event.transaction, event.label, event.pattern, event.segment, event.row]
        file.write(orjson.dumps([time_ms, number, parts], option=orjson.OPT_APPEND_NEWLINE))
    return file


def _read(file: IO[bytes], direction: int) -> Iterator[_Keyed]:
    """Yield the events of a run by time; with direction -1, later rows of one time come first."""
    file.seek(0)
    same: list[_Keyed] = []
    for line in file:
        time_ms, number, parts = orjson.loads(line)
        if same and same[0][0] != time_ms:
            yield from sorted(same)
            same = []
        same.append((time_ms, direction * number, parts))
    yield from sorted(same)
