"""The dialect of a card file: delimiter, quote character, encoding and the form of its lines."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flink_jobs.contracts.document import Section

NAMED_DELIMITERS = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """How the lines of a CSV file are read.

    Attributes:
        delimiter: the character between two cells.
        quote: the character around a cell; None: no cell is quoted.
        encoding: a Python codec.
        header_line: the line of the column names, from 1; lines above it are ignored.
        names: the column names of a file without a header.
        allows_short_rows: a row may lack cells at its end.
        has_line_breaks: quoted cells may hold line breaks.
    """

    delimiter: str = ","
    quote: str | None = '"'
    encoding: str = "utf-8"
    header_line: int = 1
    names: tuple[str, ...] = ()
    allows_short_rows: bool = False
    has_line_breaks: bool = False


DEFAULT = Dialect()


def read_dialect(top: Section) -> Dialect:
    """Read the key ``file`` of a mapping.

    Raises:
        DocumentError: a value is not valid.
    """
    if not top.has("file"):
        return DEFAULT
    part = top.section("file")
    delimiter = part.text("delimiter", ",") if part.raw("delimiter") != "\t" else "\t"
    delimiter = NAMED_DELIMITERS.get(delimiter, delimiter)
    quote = part.text("quote", '"')
    for key, value in (("delimiter", delimiter), ("quote", quote)):
        if len(value) != 1 and value != "none":
            raise part.error(key, f"is {value!r}", "write one character, or `tab` for a delimiter, `none` for a quote")
    encoding, header_line = part.text("encoding", "utf-8"), part.integer("header_line", 1)
    if not _is_usable(encoding):
        raise part.error(
            "encoding", f"is {encoding!r}", "write utf-8, utf-16, iso-8859-1, windows-1252 or another codec"
        )
    if header_line < 1:
        raise part.error("header_line", f"is {header_line}", "write the number of a line, from 1")
    dialect = Dialect(
        delimiter,
        None if quote == "none" else quote,
        encoding,
        header_line,
        part.strings("columns"),
        part.flag("short_rows", default=False),
        part.flag("line_breaks", default=False),
    )
    part.close()
    return dialect


def is_wide(encoding: str) -> bool:
    """Return whether a line end takes more than one byte, as in UTF-16."""
    return "\n".encode(encoding) != b"\n"


def _is_usable(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding)._is_text_encoding  # noqa: SLF001 - no public name
    except LookupError:
        return False
