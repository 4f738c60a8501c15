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
In JSON lines and nested Parquet, ``a.b`` names the field ``b`` inside ``a``. ``docs/card-files.md`` describes all keys.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from flink_jobs.cards import converters
from flink_jobs.cards.currency_numbers import alphabetic
from flink_jobs.cards.dialect import Dialect, read_dialect
from flink_jobs.cards.mapping_keys import (
    read_amount,
    read_event_time,
    read_label,
    read_location,
    read_optional,
    read_source,
)
from flink_jobs.cards.row_errors import CellError, RowReason
from flink_jobs.cards.sources import ROW_NUMBER, Source
from flink_jobs.contracts.document import DocumentError, read_document
from flink_jobs.core.parsing.purchase_ids import VERSION_OF_IDS
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.transaction import Rejection
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from flink_jobs.cards.amounts import AmountFormat
    from flink_jobs.cards.converters import Cell
    from flink_jobs.cards.labels import LabelValues

_LAYOUT = re.compile(r"[\t\r\n]+")
ASSUMED_CURRENCY = "USD"
TEXT_FIELDS = ("merchant", "category", "channel", "country")
ID_FIELDS = ("terminal", "device", "card", "ip")
"""Fields of version 2 of the contract; a document with one of them declares it."""
PRESETS = Path(__file__).parent / "mappings"
PRESET = "preset:"


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """A compiled mapping; ``transaction`` and ``label`` convert one row."""

    path: Path
    dialect: Dialect
    transaction_id: Source
    customer_id: Source
    amount: Source
    amount_format: AmountFormat | None
    exponent: int | None
    skips_refunds: bool
    currency: Source
    assumes_currency: bool
    event_time: Source
    time_format: str
    millis: Callable[[Cell], int]
    texts: tuple[tuple[str, Source], ...]
    needs_valid_ids: bool
    location: tuple[Source, Source] | None
    label_source: Source | None
    label_values: LabelValues
    pattern: Source | None
    segment: Source | None

    def transaction(self, row: Mapping[str, Cell]) -> dict[str, Any]:
        """Return the transaction document of a row; optional fields without a value are left out.

        Raises:
            CellError: a required cell is empty, a cell does not have the content that the mapping names, or the row is
                a refund that the mapping leaves out.
        """
        currency = (self.currency.constant if self.currency.column is None else None) or self.currency.required_text(
            row
        )
        exponent = self.exponent
        if exponent is None or currency not in converters.EXPONENTS:
            currency = alphabetic(currency)
            exponent = converters.EXPONENTS.get(currency, converters.DEFAULT_EXPONENT)
            exponent = exponent if self.exponent is None else self.exponent
        document: dict[str, Any] = {
            "transaction_id": converters.exact_id(self.transaction_id.required_text(row)),
            "customer_id": converters.exact_id(self.customer_id.required_text(row)),
            "amount_minor": self.minor_units(row, exponent),
            "currency": currency,
            "event_time_ms": self.event_time_ms(row),
        }
        if self.skips_refunds and document["amount_minor"] < 0:
            column = ", ".join(self.amount.columns)
            raise CellError(f"column {column}: a refund ({self.amount.cell(row)})", RowReason.REFUND, column)
        for field, source in self.texts:
            if self.needs_valid_ids and field in ID_FIELDS:
                text = converters.valid_id(field, source.cell(row))
            else:
                text = source.text(row)
            if text is not None:
                # Exports put tabs and line breaks inside names; the detector rejects control characters.
                document[field] = text if text.isprintable() else _LAYOUT.sub(" ", text)
                if field in ID_FIELDS:
                    document["schema_version"] = VERSION_OF_IDS
        if self.location is not None:
            lat, lon = self.location[0].cell(row), self.location[1].cell(row)
            if lat is not None and lon is not None:
                document["location"] = {"lat": converters.coordinate(lat), "lon": converters.coordinate(lon)}
        return document

    def minor_units(self, row: Mapping[str, Cell], exponent: int) -> int:
        """Return the amount of a row in minor units.

        Raises:
            CellError: the cell is empty or not an amount.
        """
        cell = self.amount.required_cell(row)
        if self.amount_format is None:
            return converters.minor_units(cell, exponent)
        return self.amount_format.minor(cell, exponent)

    def event_time_ms(self, row: Mapping[str, Cell]) -> int:
        """Return the time of a row in milliseconds since the epoch.

        Raises:
            CellError: the cell is empty or not a time.
        """
        return self.millis(self.event_time.required_cell(row))

    def label(self, row: Mapping[str, Cell]) -> bool | None:
        """Return whether a row is labelled as fraud; None if it has no label.

        Raises:
            UnknownLabelError: the label is neither a fraud value nor a genuine value.
        """
        cell = self.label_source.cell(row) if self.label_source else None
        return None if cell is None else self.label_values.is_fraud(cell)

    def column_of_error(self, row: Mapping[str, Cell]) -> str | None:
        """Return the column whose cell makes ``transaction`` or ``label`` fail, None if it is not one column."""
        checks: list[tuple[Source | None, Callable[[], object]]] = [
            (self.currency, lambda: self.currency.required_text(row)),
            (self.transaction_id, lambda: converters.exact_id(self.transaction_id.required_text(row))),
            (self.customer_id, lambda: converters.exact_id(self.customer_id.required_text(row))),
            (self.amount, lambda: self.minor_units(row, converters.DEFAULT_EXPONENT)),
            (self.event_time, lambda: self.event_time_ms(row)),
            *((source, lambda source=source: source.text(row)) for _, source in self.checked_texts()),
            *((source, lambda source=source: _coordinate(source, row)) for source in self.location or ()),
            (self.label_source, lambda: self.label(row)),
        ]
        for source, check in checks:
            try:
                check()
            except CellError:
                return ", ".join(source.columns) if source is not None and source.columns else None
        return None

    def checked_texts(self) -> list[tuple[str, Source]]:
        """Return the optional texts of which a wrong cell is an error."""
        return [item for item in self.texts if not (self.needs_valid_ids and item[0] in ID_FIELDS)]

    def sources(self) -> list[Source]:
        """Return all sources of the mapping."""
        sources: list[Source | None] = [
            self.transaction_id, self.customer_id, self.amount, self.currency, self.event_time,
            *(source for _, source in self.texts), *(self.location or ()),
            self.label_source, self.pattern, self.segment,
        ]  # fmt: skip
        return [source for source in sources if source is not None]

    def columns(self) -> dict[str, str]:
        """Return every column of the mapping, and the key that names it."""
        return {column: source.key for source in self.sources() for column in source.columns}

    def needs_row_number(self) -> bool:
        """Return whether an id is made from the number of the row."""
        return any(source.column == ROW_NUMBER for source in self.sources())

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


def _coordinate(source: Source, row: Mapping[str, Cell]) -> None:
    """Convert a coordinate if the row has one."""
    cell = source.cell(row)
    if cell is not None:
        converters.coordinate(cell)


def preset_names() -> list[str]:
    """Return the names of the presets."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_mapping(path: Path) -> ColumnMapping:
    """Read and check a mapping file, or the preset that ``preset:NAME`` names.

    Raises:
        DocumentError: it is not a valid mapping; names the file, the key and the fix.
        UserError: there is no such preset.
    """
    if str(path).startswith(PRESET):
        name = str(path).removeprefix(PRESET)
        if name not in preset_names():
            raise UserError(f"there is no preset {name!r}", f"choose one of {', '.join(preset_names())}")
        path = PRESETS / f"{name}.yaml"
    top = read_document(path)
    top.text("description", "")
    fields = top.section("fields")
    amount, exponent, amount_format, skips_refunds = read_amount(fields)
    currency = read_optional(fields, "currency")
    event_time, time_format, millis = read_event_time(fields)
    label, label_values = read_label(top)
    mapping = ColumnMapping(
        path=path,
        dialect=read_dialect(top),
        transaction_id=read_source(fields, "transaction_id"),
        customer_id=read_source(fields, "customer_id"),
        amount=amount,
        amount_format=amount_format,
        exponent=exponent,
        skips_refunds=skips_refunds,
        currency=currency or Source("fields.currency", None, ASSUMED_CURRENCY),
        assumes_currency=currency is None,
        event_time=event_time,
        time_format=time_format,
        millis=millis,
        texts=tuple(
            (name, source) for name in (*TEXT_FIELDS, *ID_FIELDS) if (source := read_optional(fields, name)) is not None
        ),
        needs_valid_ids=top.flag("ids_if_valid", default=False),
        location=read_location(fields),
        label_source=label,
        label_values=label_values,
        pattern=read_optional(top, "pattern"),
        segment=read_optional(top, "segment"),
    )
    fields.close()
    top.close()
    _check_constants(mapping)
    return mapping


def _check_constants(mapping: ColumnMapping) -> None:
    """Check that the detector accepts the constants: it would reject every row of the file.

    Raises:
        DocumentError: it would not.
    """
    named = [("transaction_id", mapping.transaction_id), ("customer_id", mapping.customer_id)]
    for field, source in (*named, ("currency", mapping.currency), *mapping.texts):
        if source.constant is None:
            continue
        value = alphabetic(source.constant) if field == "currency" else source.constant
        sample: dict[str, Any] = {"transaction_id": "t", "customer_id": "c", "amount_minor": 1, "currency": "USD"}
        sample |= {"schema_version": VERSION_OF_IDS, "event_time_ms": 10**12, field: value}
        answer = parse_transaction(orjson.dumps(sample), 10**12)
        if isinstance(answer, Rejection):
            problem = f"is {source.constant!r}, which the detector rejects ({answer.detail})"
            raise DocumentError(mapping.path, source.key, problem, "correct the constant")
