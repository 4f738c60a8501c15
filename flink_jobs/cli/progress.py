"""Shows the progress of a long read, on standard error and only on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flink_jobs.cli.output import err

SHOW_EVERY = 1_000
T = TypeVar("T")


def counted(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield the items and show their number so far, with ``total`` if it is known."""
    of = "" if total is None else f" of {total:,}"
    columns = SpinnerColumn(), TextColumn(what + ": {task.completed:,.0f}" + of), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        for count, item in enumerate(items, start=1):
            if count % SHOW_EVERY == 0:
                progress.update(task, completed=count)
            yield item
