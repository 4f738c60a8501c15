"""Reads the rows of a CSV file strictly: one line is one row, and a row that does not fit the header is an error.

One line is one row, so that a lost quote costs one row and not the rows up to the next quote. A quoted cell with a line
break is therefore an error of its row, unless the mapping says that cells hold line breaks.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from typing import IO, TYPE_CHECKING

from flink_jobs.cards.dialect import is_wide
from flink_jobs.cards.quoted_lines import joined
from flink_jobs.cards.row_errors import RowError, RowReason
from flink_jobs.cards.streams import MAX_CELL_CHARS, MAX_LINE_BYTES, bounded_lines, opened
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flink_jobs.cards.dialect import Dialect
    from flink_jobs.cards.streams import Row

OTHER_DELIMITERS = {";": '";"', "\t": "tab", "|": '"|"', ",": '","'}


def csv_rows(path: Path, dialect: Dialect, check_columns: Callable[[tuple[str, ...]], None]) -> Iterator[Row]:
    """Yield the rows of a CSV file; the number of a row is its line.

    Args:
        path: the file.
        dialect: how its lines are read.
        check_columns: called once with the column names; raises if the mapping names others.

    Raises:
        UserError: the file cannot be read, or its header is not valid.
    """
    with opened(path) as stream:
        lines = bounded_lines(_as_utf8(stream, dialect, path))
        encoding = "utf-8" if is_wide(dialect.encoding) else dialect.encoding
        split = _splitter(dialect)
        header = dialect.names or _header(path, lines, dialect, encoding)
        _check_names(path, header, dialect)
        check_columns(header)
        width, short_rows = len(header), dialect.allows_short_rows
        if dialect.has_line_breaks:
            lines = joined(lines, lambda raw: split(raw.decode(encoding).rstrip("\r\n")), width)
        for number, raw in lines:
            if raw is None:
                yield number, RowError(number, None, RowReason.TOO_LONG, f"the line is above {MAX_LINE_BYTES:,} bytes")
                continue
            try:
                line = raw.decode(encoding)
                cells = split(line.rstrip("\r\n"))
            except (UnicodeDecodeError, csv.Error) as cause:
                yield number, _line_error(number, raw, cause, dialect)
                continue
            if len(cells) == width and len(line) <= MAX_CELL_CHARS:
                yield number, dict(zip(header, cells, strict=True))
            elif line.strip():
                yield number, _checked(number, cells, header, short_rows=short_rows)


def _splitter(dialect: Dialect) -> Callable[[str], list[str]]:
    """Return a function that splits a line into cells; it raises csv.Error for quotes that do not pair."""
    delimiter, quote = dialect.delimiter, dialect.quote
    if quote is None:
        return lambda line: line.split(delimiter)

    def split(line: str) -> list[str]:
        if quote not in line:
            return line.split(delimiter)
        (cells,) = csv.reader((line,), delimiter=delimiter, quotechar=quote, strict=True)
        return cells

    return split


def _checked(number: int, cells: list[str], header: tuple[str, ...], *, short_rows: bool) -> dict[str, str] | RowError:
    """Return the cells of a row whose number of cells is not that of the header, or that is long; or its error."""
    width, found = len(header), len(cells)
    if any(len(cell) > MAX_CELL_CHARS for cell in cells):
        column = next(name for name, cell in zip((*header, *cells), cells, strict=False) if len(cell) > MAX_CELL_CHARS)
        return RowError(number, column[:60], RowReason.TOO_LONG, f"a cell is above {MAX_CELL_CHARS:,} characters")
    if found > width and any(cell.strip() for cell in cells[width:]):
        message = f"{found} cells, but the header has {width} columns"
        fix = 'quote cells that hold the delimiter, for example "1,234.56", or correct `file.delimiter` of the mapping'
        return RowError(number, None, RowReason.CELL_COUNT, message, fix)
    if found < width and not short_rows:
        message = f"{found} cells, but the header has {width} columns"
        fix = "complete the row; if cells at the end may be left out, add `file: {short_rows: true}` to the mapping"
        return RowError(number, None, RowReason.CELL_COUNT, message, fix)
    return dict(zip(header, cells, strict=False))


def _line_error(number: int, raw: bytes, cause: Exception, dialect: Dialect) -> RowError:
    """Return the error of a line that is not text, or whose quotes do not pair."""
    if isinstance(cause, UnicodeDecodeError):
        message = f"byte {cause.start + 1} of the line is not {dialect.encoding} (0x{raw[cause.start]:02x})"
        fix = "convert the file to UTF-8, or name its encoding: `file: {encoding: windows-1252}` in the mapping"
        return RowError(number, None, RowReason.ENCODING, message, fix)
    if "field larger" in str(cause):
        return RowError(number, None, RowReason.TOO_LONG, f"a cell is above {MAX_CELL_CHARS:,} characters")
    if "new-line" in str(cause):
        return RowError(number, None, RowReason.QUOTE, "a carriage return inside the line", "remove it")
    what = "opens and does not end on this line" if "end of data" in str(cause) else "ends inside a cell"
    message = f"a quote {dialect.quote} {what}"
    fix = (
        f"write a quote inside a cell twice ({dialect.quote}{dialect.quote}); if the file has no quoted cells, add "
        "`file: {quote: none}` to the mapping, and if its cells hold line breaks, `file: {line_breaks: true}`"
    )
    return RowError(number, None, RowReason.QUOTE, message, fix)


def _header(path: Path, lines: Iterator[tuple[int, bytes | None]], dialect: Dialect, encoding: str) -> tuple[str, ...]:
    """Return the column names.

    Raises:
        UserError: the line is not a header.
    """
    for number, raw in lines:
        if number < dialect.header_line:
            continue
        if raw is None or (b"\r" in raw.rstrip(b"\r\n") and not raw.endswith(b"\r\n")):
            what = f"{path}: the lines end with a carriage return only, or the first line is above 1 MiB"
            raise UserError(what, "convert the line ends with `tr '\\r' '\\n'`")
        try:
            return tuple(_splitter(dialect)(raw.decode(encoding).rstrip("\r\n")))
        except (UnicodeDecodeError, csv.Error) as cause:
            error = _line_error(number, raw, cause, dialect)
            what = f"{path}, row {number}: {error.message}"
            raise UserError(what, error.fix) from None
    return ()


def _check_names(path: Path, header: tuple[str, ...], dialect: Dialect) -> None:
    repeated = [name for name, count in Counter(header).items() if name and count > 1]
    if repeated:
        places = ", ".join(
            f"{name!r} ({' and '.join(str(place) for place, other in enumerate(header, 1) if other == name)})"
            for name in repeated
        )
        what = f"{path}, row {dialect.header_line}: column names repeat: {places}"
        raise UserError(what, "give each column its own name")
    if len(header) == 1:
        for delimiter, shown in OTHER_DELIMITERS.items():
            if delimiter != dialect.delimiter and delimiter in header[0]:
                what = f"{path} has one column; its header holds the delimiter {shown}"
                raise UserError(
                    what, f"add `file: {{delimiter: {shown}}}` to the mapping; `streamflow inspect` proposes it"
                )


def _as_utf8(stream: IO[bytes], dialect: Dialect, path: Path) -> IO[bytes]:
    """Return the stream itself, or, for UTF-16, a stream of UTF-8."""
    if not is_wide(dialect.encoding):
        return stream
    return io.BufferedReader(_Transcoded(stream, dialect.encoding, path))


class _Transcoded(io.RawIOBase):
    """A stream of UTF-8 bytes made from a stream of another encoding."""

    def __init__(self, stream: IO[bytes], encoding: str, path: Path) -> None:
        """Decode ``stream`` piece by piece; the caller closes it."""
        self._stream, self._encoding, self._path = stream, encoding, path
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._left = b""
        self._ended = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer; return the number of bytes, 0 at the end."""
        while not self._left and not self._ended:
            raw = self._stream.read(io.DEFAULT_BUFFER_SIZE)
            self._ended = not raw
            try:
                self._left = self._decoder.decode(raw, final=self._ended).encode()
            except UnicodeError as cause:
                what = f"{self._path} is not {self._encoding} ({cause})"
                raise UserError(what, "correct `file.encoding` of the mapping") from None
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count
