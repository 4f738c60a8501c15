"""Times on the command line: parses times that users give, and formats times for output. Always UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from flink_jobs.cards.converters import time_converter
from flink_jobs.cards.row_errors import CellError
from flink_jobs.errors import UserError

_AGO = re.compile(r"(\d+)([smhd])")
_UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment_ms(text: str, option: str, now_ms: int) -> int:
    """Return milliseconds since the epoch for ``15m`` (15 minutes ago; also s, h, d) or an ISO 8601 time.

    A time without a zone is UTC.

    Args:
        text: the time.
        option: name of the option, for the error.
        now_ms: the caller's clock, milliseconds since the epoch.

    Raises:
        UserError: the text has neither format.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        return time_converter("iso", UTC)(text)
    except CellError:
        raise UserError(f"{option} {text} is not a time", "write 15m, 2h, 3d, or 2024-01-31T08:00:00Z") from None


def shown(time_ms: int | None) -> str | None:
    """Return milliseconds since the epoch as ISO 8601 with milliseconds, UTC."""
    if time_ms is None:
        return None
    return shown_at(datetime.fromtimestamp(time_ms / 1_000, UTC))


def shown_at(moment: datetime) -> str:
    """Return an aware datetime as ISO 8601 with milliseconds, UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
