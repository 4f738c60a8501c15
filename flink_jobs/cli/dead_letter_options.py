"""Options that choose dead letters, for every command of ``streamflow dlq``."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from flink_jobs.cli.times import moment_ms
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage
from flink_jobs.dead_letters.letters import LetterFilter
from flink_jobs.errors import ErrorCode, UserError

# typer takes the values of an enum from the command line and rejects others with a list of them.
Reasons = Annotated[list[DeadLetterReason] | None, typer.Option("--reason", help="only this reason; may be repeated")]
Stages = Annotated[list[PipelineStage] | None, typer.Option("--stage", help="only this stage; may be repeated")]
Dispositions = Annotated[
    list[Disposition] | None, typer.Option("--disposition", help="only this disposition; may be repeated")
]
RejectedSince = Annotated[
    str | None, typer.Option("--since", help="only rejections since: 15m, 2h, 3d (ago), or an ISO 8601 time (UTC)")
]
RejectedUntil = Annotated[
    str | None, typer.Option("--until", help="only rejections before this time, in the same format")
]
Customers = Annotated[
    list[str] | None, typer.Option("--customer", help="only records of this customer id; may be repeated")
]
Topics = Annotated[
    list[str] | None, typer.Option("--topic", help="only records of this topic (full name); may be repeated")
]
Partitions = Annotated[
    list[int] | None, typer.Option("--partition", min=0, help="only records of this partition; may be repeated")
]
Offsets = Annotated[str | None, typer.Option("--offset", help="only records at this offset, or in a range: 42, 42-57")]

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
    """Return the filter of the options.

    Raises:
        UserError: a time or a range of offsets has the wrong format.
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
        fix = "write 42 for one offset, or 42-57 for the first and the last"
        raise UserError(f"--offset {text} is not a range of offsets", fix, ErrorCode.USAGE_ERROR)
    first = int(match[1])
    return first, int(match[2]) if match[2] else first
