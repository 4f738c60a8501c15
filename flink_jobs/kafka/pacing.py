"""The time to send the next record: at once, at a fixed rate, or at a multiple of event time."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Protocol

from flink_jobs.errors import UserError

_SPEED = re.compile(r"(\d+(?:\.\d+)?)x?")


class Pacing(Protocol):
    """Says when the next record is to be sent."""

    def due_s(self, index: int, event_ms: int) -> float:
        """Return the time to send a record; see ``Pace.due_s``. Called once for each record, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """The pace of a replay; if both are ``None``, records are sent as fast as possible.

    Attributes:
        speed: event seconds per wall second, above 0.
        rate: records per wall second, above 0.
    """

    speed: float | None = None
    rate: float | None = None

    def due_s(self, index: int, event_ms: int) -> float:
        """Return the time to send a record, in seconds after the first record.

        Args:
            index: number of records sent before it.
            event_ms: event time in ms after the first record's; negative for a late record, which is due at once.
        """
        if self.rate is not None:
            return index / self.rate
        if self.speed is not None:
            return event_ms / 1_000 / self.speed
        return 0.0


def parse_pace(speed: str | None, rate: float | None) -> Pace:
    """Return the pace for ``--speed 100x`` (or ``max``) and ``--rate 500``; without both, as fast as possible.

    Raises:
        UserError: both are given, or a value is not above zero.
    """
    if speed is not None and rate is not None:
        what = "--speed and --rate are both given"
        raise UserError(what, "choose one: --speed follows event time, --rate ignores it")
    if rate is not None:
        if not 0 < rate < math.inf:  # also false for NaN
            what = f"--rate {rate:g} is not a number above 0"
            raise UserError(what, "give records per second, such as 500, or leave it out to send at full speed")
        return Pace(rate=rate)
    if speed is None or speed == "max":
        return Pace()
    match = _SPEED.fullmatch(speed)
    if match is None or float(match[1]) <= 0:
        what = f"--speed {speed} is not a speed"
        raise UserError(what, "write a multiple of event time such as 100x, or max")
    return Pace(speed=float(match[1]))
