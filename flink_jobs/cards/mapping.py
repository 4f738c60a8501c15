"""The column mapping: names the column of a card file for each field of a transaction.

A mapping is a small YAML file (example: ``tests/data/card_transactions.mapping.yaml``)::

    fields:
      transaction_id: trans_num               # a bare text is a column
      customer_id: {column: acct_num, prefix: "c-"}
      amount: {column: amt, unit: major}      # major: dollars; minor: cents
      currency: {constant: USD}
      event_time: {column: unix_time, format: unix_s}   # unix_ms, iso or a strptime pattern; timezone: UTC
      location: {lat: merch_lat, lon: merch_long}
    label: {column: is_fraud, fraud_values: ["1"]}   # genuine_values: by default the opposite, here "0"
    segment: age_group                        # groups that ``streamflow evaluate`` compares

Only ``transaction_id``, ``customer_id``, ``amount`` and ``event_time`` are required. Without a currency the mapping
assumes US dollars and sets ``ColumnMapping.assumes_currency``. ``unit: major`` uses the number of decimals of the row's
currency; ``exponent`` overrides it. ``label``, ``pattern`` (the kind of fraud) and ``segment`` never become part of a
transaction.
In JSON lines and nested Parquet, ``a.b`` names the field ``b`` inside ``a``.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flink_jobs.cards import converters
from flink_jobs.cards.converters import Cell, CellError
from flink_jobs.cards.labels import LabelValues, label_values
from flink_jobs.contracts.document import Section, read_document
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

ASSUMED_CURRENCY = "USD"
TEXT_FIELDS = ("merchant", "category", "channel", "country")


@dataclass(frozen=True, slots=True)
class Source:
    """The source of one value: a column (with an optional prefix) or a constant."""

    key: str
    column: str | None
    constant: str | None = None
    prefix: str = ""

    def cell(self, row: Mapping[str, Cell]) -> Cell:
        """Return the cell of a row, None if it has no value."""
        if self.column is None:
            return self.constant
        value = row[self.column] if self.column in row else _inside(row, self.column)
        return None if converters.is_missing(value) else value

    def text(self, row: Mapping[str, Cell]) -> str | None:
        """Return the cell of a row as text with its prefix, None if it has no value."""
        value = self.cell(row)
        return None if value is None else self.prefix + converters.to_text(value)


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """A compiled mapping; ``transaction`` and ``label`` convert one row."""

    path: Path
    transaction_id: Source
    customer_id: Source
    amount: Source
    exponent: int | None
    currency: Source
    assumes_currency: bool
    event_time: Source
    millis: Callable[[Cell], int]
    texts: tuple[tuple[str, Source], ...]
    location: tuple[Source, Source] | None
    label_source: Source | None
    label_values: LabelValues
    pattern: Source | None
    segment: Source | None

    def transaction(self, row: Mapping[str, Cell]) -> dict[str, Any]:
        """Return the transaction document of a row; optional fields without a value are left out.

        Raises:
            CellError: a required cell is empty, or a cell does not have the content that the mapping names.
        """
        currency = self.currency.text(row) or ASSUMED_CURRENCY
        exponent = self.exponent
        if exponent is None:
            exponent = converters.EXPONENTS.get(currency, converters.DEFAULT_EXPONENT)
        document: dict[str, Any] = {
            "transaction_id": _required(self.transaction_id, self.transaction_id.text(row)),
            "customer_id": _required(self.customer_id, self.customer_id.text(row)),
            "amount_minor": converters.minor_units(_required(self.amount, self.amount.cell(row)), exponent),
            "currency": currency,
            "event_time_ms": self.millis(_required(self.event_time, self.event_time.cell(row))),
        }
        for field, source in self.texts:
            text = source.text(row)
            if text is not None:
                document[field] = text
        if self.location is not None:
            lat, lon = self.location[0].cell(row), self.location[1].cell(row)
            if lat is not None and lon is not None:
                document["location"] = {"lat": converters.coordinate(lat), "lon": converters.coordinate(lon)}
        return document

    def label(self, row: Mapping[str, Cell]) -> bool | None:
        """Return whether a row is labelled as fraud; None if it has no label.

        Raises:
            UnknownLabelError: the label is neither a fraud value nor a genuine value.
        """
        cell = self.label_source.cell(row) if self.label_source else None
        return None if cell is None else self.label_values.is_fraud(cell)

    def columns(self) -> dict[str, str]:
        """Return every column of the mapping, and the key that names it."""
        sources: list[Source | None] = [
            self.transaction_id, self.customer_id, self.amount, self.currency, self.event_time,
            *(source for _, source in self.texts), *(self.location or ()),
            self.label_source, self.pattern, self.segment,
        ]  # fmt: skip
        return {source.column: source.key for source in sources if source is not None and source.column is not None}

    def check_columns(self, present: Collection[str], where: str) -> None:
        """Check that the data file has every column of the mapping.

        Args:
            present: the columns of the data file.
            where: the name of the data file, for the error.

        Raises:
            UserError: a column is missing.
        """
        for column, key in self.columns().items():
            if column not in present and column.split(".")[0] not in present:
                near = difflib.get_close_matches(column, list(present), n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}? " if near else ""
                what = f"{self.path}: {key} names the column {column!r}, which {where} does not have"
                raise UserError(what, f"{hint}correct the mapping; the file's columns are: {', '.join(present)}")


def load_mapping(path: Path) -> ColumnMapping:
    """Read and check a mapping file.

    Raises:
        DocumentError: it is not a valid mapping; names the file, the key and the fix.
    """
    top = read_document(path)
    top.text("description", "")
    fields = top.section("fields")
    amount, exponent = _amount(fields)
    currency = _optional(fields, "currency")
    event_time, millis = _event_time(fields)
    label, values_of_label = _label(top)
    mapping = ColumnMapping(
        path=path,
        transaction_id=_source(fields, "transaction_id"),
        customer_id=_source(fields, "customer_id"),
        amount=amount,
        exponent=exponent,
        currency=currency or Source("fields.currency", None, ASSUMED_CURRENCY),
        assumes_currency=currency is None,
        event_time=event_time,
        millis=millis,
        texts=tuple((name, source) for name in TEXT_FIELDS if (source := _optional(fields, name)) is not None),
        location=_location(fields),
        label_source=label,
        label_values=values_of_label,
        pattern=_optional(top, "pattern"),
        segment=_optional(top, "segment"),
    )
    fields.close()
    top.close()
    return mapping


def _source(parent: Section, name: str) -> Source:
    """Read ``name: column`` or ``name: {column | constant, prefix}``."""
    value = parent.raw(name)
    key = f"{parent.where}.{name}".lstrip(".")
    if isinstance(value, str) and value:
        return Source(key, value)
    part = parent.section(name)
    source = _source_of(part)
    part.close()
    return source


def _optional(parent: Section, name: str) -> Source | None:
    return _source(parent, name) if parent.has(name) else None


def _source_of(part: Section) -> Source:
    if part.has("column") == part.has("constant"):
        raise part.error("", "needs either a column or a constant", "write `column: NAME` or `constant: VALUE`")
    if part.has("constant"):
        return Source(part.where, None, part.text("constant"))
    return Source(f"{part.where}.column", part.text("column"), prefix=part.text("prefix", ""))


def _amount(fields: Section) -> tuple[Source, int | None]:
    """Return the source of the amount and its exponent; None means the exponent of the row's currency."""
    part = fields.section("amount")
    source, unit = _source_of(part), part.text("unit")
    if unit not in {"major", "minor"}:
        raise part.error("unit", f"is {unit!r}", "write `major` (dollars, 12.34) or `minor` (cents, 1234)")
    exponent = part.integer("exponent") if part.has("exponent") else None
    part.close()
    return source, 0 if unit == "minor" else exponent


def _event_time(fields: Section) -> tuple[Source, Callable[[Cell], int]]:
    part = fields.section("event_time")
    source, time_format = _source_of(part), part.text("format")
    if time_format not in converters.TIME_FORMATS and "%" not in time_format:
        known = ", ".join(converters.TIME_FORMATS)
        raise part.error("format", f"is {time_format!r}", f"write {known}, or a strptime pattern such as %Y-%m-%d")
    try:
        zone = converters.zone_named(part.text("timezone", "UTC"))
    except CellError as cause:
        raise part.error("timezone", str(cause), "write a name such as UTC or Europe/Zurich") from None
    part.close()
    return source, converters.time_converter(time_format, zone)


def _location(fields: Section) -> tuple[Source, Source] | None:
    if not fields.has("location"):
        return None
    part = fields.section("location")
    pair = (_source(part, "lat"), _source(part, "lon"))
    part.close()
    return pair


def _label(top: Section) -> tuple[Source | None, LabelValues]:
    if not top.has("label"):
        return None, LabelValues()
    part = top.section("label")
    source, values = (
        _source_of(part),
        label_values(part.strings("fraud_values") or None, part.strings("genuine_values") or None),
    )
    part.close()
    return source, values


def _required(source: Source, value: Any) -> Any:  # noqa: ANN401 - returns what it was given
    if value is None:
        message = f"{source.key} is empty"
        raise CellError(message)
    return value


def _inside(row: Mapping[str, Cell], path: str) -> Cell:
    """Return the value at a dotted path inside nested mappings, None if the path leads nowhere."""
    value: Any = row
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value
