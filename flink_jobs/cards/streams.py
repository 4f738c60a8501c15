"""Opens card files and yields their lines, bounded in length."""

from __future__ import annotations

import gzip
import io
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, cast

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from flink_jobs.cards.converters import Cell
    from flink_jobs.cards.row_errors import RowError

    Row = tuple[int, "dict[str, Any] | RowError"]
    """Number and cells of a row, or its error."""
    Cells = Mapping[str, Cell]

MAX_CELL_CHARS = 131_072
MAX_LINE_BYTES = 1_048_576
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
READ_BYTES = 1 << 18


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, also a .gz file.

    Raises:
        UserError: the file cannot be opened or read.
    """
    try:
        with path.open("rb") as file:
            if path.name.lower().endswith(".gz"):
                # A buffer around it: without one, GzipFile reads each line through Python code.
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield io.BufferedReader(cast("io.RawIOBase", unpacked), READ_BYTES)
            else:
                yield file
    except (OSError, EOFError, zlib.error) as cause:
        what = f"{path} cannot be read ({cause})"
        raise UserError(what, "check that it is complete and not of another format") from cause


def bounded_lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines of a stream with their numbers, from 1; a line beyond 1 MiB is None.

    A byte order mark before the first line is removed.
    """
    readline, number = stream.readline, 0
    while line := readline(MAX_LINE_BYTES):
        number += 1
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            while (rest := readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        else:
            yield number, line
