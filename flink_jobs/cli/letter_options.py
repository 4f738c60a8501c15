"""Options that choose dead letters: the same for every command that takes some."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from flink_jobs.cli.times import moment_ms
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from flink_jobs.dead_letters.letters import LetterFilter
from flink_jobs.errors import UserError

# typer offers the values of an enum on the command line and refuses others with a list of them.
Reasons = Annotated[list[DeadLetterReason] | None, typer.Option("--reason", help="only these reasons; may be repeated")]
Stages = Annotated[list[PipelineStage] | None, typer.Option("--stage", help="only these stages; may be repeated")]
Dispositions = Annotated[list[Disposition] | None, typer.Option("--disposition", help="only these; may be repeated")]
Since = Annotated[str | None, typer.Option(help="set aside since: 15m, 2h, 3d, or an ISO 8601 time (UTC)")]
Until = Annotated[str | None, typer.Option(help="set aside before: the same")]
Customers = Annotated[list[str] | None, typer.Option("--customer", help="only records that name them; may be repeated")]
Topics = Annotated[list[str] | None, typer.Option("--topic", help="only records of these topics (full names)")]
Partitions = Annotated[list[int] | None, typer.Option("--partition", min=0, help="only records of these partitions")]
Offsets = Annotated[str | None, typer.Option("--offset", help="only records at these offsets: 42, or 42-57")]

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def letter_filter(
    reason: list[DeadLetterReason] | None = None,
    stage: list[PipelineStage] | None = None,
    disposition: list[Disposition] | None = None,
    since: str | None = None,
    until: str | None = None,
    customer: list[str] | None = None,
    topic: list[str] | None = None,
    partition: list[int] | None = None,
    offset: str | None = None,
) -> LetterFilter:
    """Return the filter that options ask for.

    Raises:
        UserError: a time or a range of offsets is none.
    """
    now_ms = int(time.time() * 1_000)
    return LetterFilter(
        reasons=frozenset(reason or ()),
        stages=frozenset(stage or ()),
        dispositions=frozenset(disposition or ()),
        since_ms=None if since is None else moment_ms(since, "--since", now_ms),
        until_ms=None if until is None else moment_ms(until, "--until", now_ms),
        customers=frozenset(customer or ()),
        topics=frozenset(topic or ()),
        partitions=frozenset(partition or ()),
        offsets=None if offset is None else _offsets(offset),
    )


def _offsets(text: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise UserError(f"--offset {text} is no range of offsets", "write 42, or 42-57 for the first and the last")
    first = int(match[1])
    return first, int(match[2]) if match[2] else first
