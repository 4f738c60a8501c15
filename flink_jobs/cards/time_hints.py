"""Explains a time that the detector rejects by the mapping of the card file, not by the unit of the wire format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flink_jobs.cards.converters import UNIX_SHIFTS
from flink_jobs.core.parsing.transactions import MIN_EVENT_TIME_MS
from flink_jobs.core.reasons import DeadLetterReason

if TYPE_CHECKING:
    from flink_jobs.cards.mapping import ColumnMapping
    from flink_jobs.core.transaction import Rejection

YEAR_2100_MS: Final = 4_102_444_800_000
_OF_TIMES: Final = frozenset({DeadLetterReason.EVENT_TIME_OUT_OF_RANGE, DeadLetterReason.EVENT_TIME_IN_FUTURE})


def detail_in_file(rejection: Rejection, mapping: ColumnMapping, event_time_ms: int) -> str:
    """Return why the detector rejects a row of a card file.

    A count of seconds in the file is multiplied before it is sent, so the unit that the detector suspects is not the
    unit of the file. For numbers, the text names the format of the mapping that gives a time between 2000 and 2100.

    Args:
        rejection: the detector's answer on the row.
        mapping: the mapping that converted the row.
        event_time_ms: the time that it gave, milliseconds since the epoch.
    """
    if rejection.reason not in _OF_TIMES:
        return rejection.detail
    problem, _, _ = rejection.detail.partition("; is it in ")
    shift = UNIX_SHIFTS.get(mapping.time_format)
    if shift is None:
        return problem
    for name, other in UNIX_SHIFTS.items():
        if MIN_EVENT_TIME_MS <= event_time_ms * 10.0 ** (other - shift) < YEAR_2100_MS and name != mapping.time_format:
            return f"{problem}; the numbers look like {name}, but the mapping reads {mapping.time_format}"
    if rejection.reason == DeadLetterReason.EVENT_TIME_OUT_OF_RANGE:
        return f"{problem}; if the numbers count from a start, write `format: offset` with `unit` and `start`"
    return problem
