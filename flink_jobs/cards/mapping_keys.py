"""Reads the keys of a column mapping: sources, amounts, times and labels."""

from __future__ import annotations

import re
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from flink_jobs.cards import converters
from flink_jobs.cards.amounts import AmountFormat, read_amount_format
from flink_jobs.cards.converters import Cell, to_decimal, whole
from flink_jobs.cards.labels import LabelValues, label_values
from flink_jobs.cards.row_errors import CellError
from flink_jobs.cards.sources import ROW_NUMBER, DigestSource, JoinedSource, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.contracts.document import Section

SECONDS = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}
KINDS = ("column", "columns", "constant", "hash", "generate")


def read_source(parent: Section, name: str) -> Source:
    """Read ``name: column`` or ``name: {column | columns | constant | hash | generate, prefix, ...}``.

    Raises:
        DocumentError: it is neither.
    """
    value = parent.raw(name)
    key = f"{parent.where}.{name}".lstrip(".")
    if isinstance(value, str) and value:
        return Source(key, value)
    part = parent.section(name)
    source = _source_of(part)
    part.close()
    return source


def read_optional(parent: Section, name: str) -> Source | None:
    """Read a source that may be absent."""
    return read_source(parent, name) if parent.has(name) else None


def _source_of(part: Section) -> Source:
    kinds = [kind for kind in KINDS if part.has(kind)]
    if len(kinds) != 1:
        fix = "write `column: NAME` or `constant: VALUE`, or `columns`, `hash` or `generate`"
        raise part.error("", "needs either a column or a constant", fix)
    kind, key = kinds[0], part.where
    if kind == "constant":
        return Source(key, None, part.text("constant"))
    prefix = part.text("prefix", "")
    if kind == "column":
        default = part.text("default") if part.has("default") else None
        return Source(key if default else f"{key}.column", part.text("column"), default, prefix)
    if kind == "generate":
        if part.text("generate") != "row_number":
            raise part.error("generate", f"is {part.text('generate')!r}", "write `row_number`")
        if not prefix:
            raise part.error("prefix", "is missing", "add a prefix that is unique to the file: row numbers repeat")
        return Source(key, ROW_NUMBER, prefix=prefix)
    parts = tuple(Source(f"{key}.{kind}", column) for column in part.strings(kind))
    if not parts:
        raise part.error(kind, "is empty", "list at least one column")
    if kind == "hash":
        return DigestSource(f"{key}.hash", None, None, prefix, parts)
    return JoinedSource(f"{key}.columns", None, None, prefix, parts, part.text("separator", " "))


def read_amount(fields: Section) -> tuple[Source, int | None, AmountFormat | None, bool]:
    """Return the source of the amount, its exponent, its format, and whether refunds are left out.

    Exponent None is that of the row's currency.

    Raises:
        DocumentError: a key is not valid.
    """
    part = fields.section("amount")
    source, unit, form = _source_of(part), part.text("unit"), read_amount_format(part)
    if unit not in {"major", "minor"}:
        raise part.error("unit", f"is {unit!r}", "write `major` (dollars, 12.34) or `minor` (cents, 1234)")
    exponent = part.integer("exponent") if part.has("exponent") else None
    refunds = part.text("refunds", "send")
    if refunds not in {"send", "skip"}:
        raise part.error("refunds", f"is {refunds!r}", "write `skip` (negative amounts are left out) or `send`")
    part.close()
    if source.constant is not None:
        try:
            to_decimal(source.constant if form is None else form.number(source.constant))
        except CellError as cause:
            raise fields.error("amount.constant", str(cause), "write a number") from None
    return source, 0 if unit == "minor" else exponent, form, refunds == "skip"


def read_event_time(fields: Section) -> tuple[Source, str, Callable[[Cell], int]]:
    """Return the source of the time, its format, and its converter to milliseconds since the epoch.

    Raises:
        DocumentError: a key is not valid, or the format names no full date.
    """
    part = fields.section("event_time")
    source, time_format = _source_of(part), part.text("format")
    try:
        zone = converters.zone_named(part.text("timezone", "UTC"))
    except ValueError as cause:
        raise part.error("timezone", str(cause), "write a name such as UTC or Europe/Zurich") from None
    convert = _offset(part, zone) if time_format == "offset" else _clock(part, time_format, zone)
    part.close()
    return source, time_format, convert


def _clock(part: Section, time_format: str, zone: tzinfo) -> Callable[[Cell], int]:
    known = ", ".join(converters.TIME_FORMATS)
    if time_format not in converters.TIME_FORMATS and "%" not in time_format:
        fix = f"write {known}, offset, or a strptime pattern such as %Y-%m-%d"
        raise part.error("format", f"is {time_format!r}", fix)
    year = part.integer("year") if part.has("year") else None
    if "%" in time_format:
        directives = set(re.findall(r"%(.)", time_format))
        if "Z" in directives:
            fix = "write %z for an offset, or the name of the zone as it is, such as `%H:%M:%S UTC`, and `timezone`"
            raise part.error("format", "has %Z, which reads the name of a zone and ignores it", fix)
        has_date = directives & set("cxDF") or ("j" in directives or ({"d"} <= directives and directives & set("mbB")))
        if not has_date:
            fix = 'add the columns of the date: `columns: [date, time]`, `format: "%Y-%m-%d %H:%M"`'
            raise part.error("format", f"is {time_format!r}, which has no day and month", fix)
        if not directives & set("YyGcxDF") and year is None:
            raise part.error("year", "is missing: the format has no year", "add it, for example `year: 2024`")
    elif year is not None:
        raise part.error("year", f"is given, but the format {time_format} has a year", "remove it")
    try:
        convert = converters.time_converter(time_format, zone, year)
        if "%" in time_format:
            datetime.strptime("", time_format)  # noqa: DTZ007 - only checks the pattern
    except ValueError as cause:
        if "bad directive" in str(cause) or "stray %" in str(cause):
            raise part.error("format", f"is not valid ({cause})", "write a strptime pattern such as %Y-%m-%d") from None
    return convert


def _offset(part: Section, zone: tzinfo) -> Callable[[Cell], int]:
    """Return the converter of a time that counts from a start; neither the unit nor the start is guessed."""
    unit = part.text("unit")
    if unit not in {*SECONDS, "steps"}:
        raise part.error("unit", f"is {unit!r}", f"write {', '.join(SECONDS)} or steps")
    seconds = part.integer("step_seconds") if unit == "steps" else SECONDS[unit]
    try:
        start = converters.time_converter("iso", zone)(part.text("start"))
    except CellError:
        fix = 'write the moment that the offset 0 stands for, such as "2024-01-01T00:00:00", in quotes'
        raise part.error("start", f"is {part.text('start')!r}", fix) from None
    return lambda cell: start + whole(to_decimal(cell) * seconds, 3)


def read_location(fields: Section) -> tuple[Source, Source] | None:
    """Return the sources of latitude and longitude, None if the mapping has no location."""
    if not fields.has("location"):
        return None
    part = fields.section("location")
    pair = (read_source(part, "lat"), read_source(part, "lon"))
    part.close()
    return pair


def read_label(top: Section) -> tuple[Source | None, LabelValues]:
    """Return the source of the label and its values; None if the mapping has no label.

    Raises:
        DocumentError: a key is not valid.
    """
    if not top.has("label"):
        return None, LabelValues()
    part = top.section("label")
    source = _source_of(part)
    fraud, genuine = part.strings("fraud_values") or None, part.strings("genuine_values") or None
    values = label_values(fraud, genuine, part.strings("unlabelled_values"))
    part.close()
    return source, values
