"""Proposes a column mapping for a sample of a card file, with an example and a reason for each line.

A unit, a date order or a currency that the file does not show is never guessed silently: its line has ``# check``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from flink_jobs.cards.dialect import DEFAULT
from flink_jobs.cards.labels import DEFAULT_FRAUD_VALUES, LabelValues
from flink_jobs.cards.mapping import ID_FIELDS, PRESETS, TEXT_FIELDS, load_mapping, preset_names
from flink_jobs.core.currencies import MINOR_UNITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flink_jobs.cards.detection import Sample

NAMES = {
    "transaction_id": "trans_num transaction_id transactionid trans_id txn_id tx_id id trans uuid reference",
    "customer_id": "customer_id customer cust cust_id customerid acct_num account account_id cc_num card card_id "
    "card_number pan nameorig user user_id client client_id karte card1 f2",
    "amount": "amount amt amount_minor tx_amount transactionamt transaction_amount betrag montant importe value f4",
    "currency": "currency ccy cur currency_code waehrung wahrung devise f49",
    "event_time": "event_time_ms event_time unix_time timestamp trans_date_trans_time tx_datetime datetime date_time "
    "transaction_time time ts date datum when step transactiondt f7",
    "merchant": "merchant merchant_name merchant_id shop store terminal_id namedest f43",
    "category": "category mcc type productcd merchant_category f18",
    "channel": "channel use_chip entry_mode",
    "country": "country country_code merchant_country",
    "terminal": "terminal_id terminalid terminal pos_id",
    "device": "device_id deviceid device device_fingerprint",
    "card": "card_token card_id card",
    "ip": "ip_address ipaddress ip_addr ip",
    "lat": "merch_lat merchant_lat latitude lat",
    "lon": "merch_long merchant_long merch_lon longitude long lon lng",
    "label": "is_fraud isfraud fraud class label tx_fraud fraudulent",
    "pattern": "pattern fraud_type tx_fraud_scenario",
}
"""Usual names of the columns of each field, the best first."""
UNIX_UNITS = (
    ("unix_s", 1, "seconds"), ("unix_ms", 10**3, "milliseconds"),
    ("unix_us", 10**6, "microseconds"), ("unix_ns", 10**9, "nanoseconds"),
)  # fmt: skip
TIME_PATTERNS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y%m%d%H%M%S", "%Y-%m-%d",
    "%Y%m%d",
    "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%d.%m.%Y", "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y",
    "%d-%m-%Y %H:%M:%S", "%d-%m-%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y",
)  # fmt: skip

WITHOUT_YEAR = re.compile(r"(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d[0-5]\d")
YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
KNOWN_LABELS = DEFAULT_FRAUD_VALUES | LabelValues().genuine
TEMPLATES = frozenset({"european", "wire"})
YEAR_2000_S, YEAR_2100_S = 946_684_800, 4_102_444_800


@dataclass(frozen=True, slots=True)
class Guess:
    """One proposed line of a mapping.

    Attributes:
        field: the field of the transaction.
        value: the YAML value.
        example: a cell of the column.
        reason: why it is proposed.
        is_sure: whether the content of the file confirms it; False is marked ``# check``.
    """

    field: str
    value: str
    example: str
    reason: str
    is_sure: bool = False


def best_column(sample: Sample, name: str, taken: Sequence[str] = ()) -> str | None:
    """Return the column with a usual name of a field, None if there is none."""
    plain = {_plain(column): column for column in reversed(sample.columns)}
    for usual in NAMES[name].split():
        column = plain.get(usual)
        if column is not None and column not in taken and sample.cells(column):
            return column
    return None


def _plain(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", column.rsplit(".", 1)[-1].lower()).strip("_")


def time_keys(cells: Sequence[str], column: str) -> tuple[str, bool, str]:
    """Return the keys of the time format, whether they are sure, and the reason."""
    if cells and all(WITHOUT_YEAR.fullmatch(cell) for cell in cells):
        reason = "all values are month, day and time without a year, as in ISO 8583: write the year"
        return 'format: "%m%d%H%M%S", year: 2024', False, reason
    numbers = [float(cell) for cell in cells if re.fullmatch(r"\d+(\.\d+)?", cell)]
    if cells and len(numbers) == len(cells) and not all(re.fullmatch(r"(19|20)\d{6}(\d{6})?", cell) for cell in cells):
        return _number_keys(min(numbers), max(numbers), column)
    fits = [pattern for pattern in TIME_PATTERNS if cells and all(_reads(cell, pattern) for cell in cells)]
    if not fits:
        is_iso = bool(cells) and all(_reads(cell, "iso") for cell in cells)
        return "format: iso", is_iso, "all values are ISO 8601" if is_iso else "no known format reads all values"
    orders = {pattern.index("%d") < pattern.index("%m") for pattern in fits}
    reason = "all values have this format" if len(orders) == 1 else "all values fit day first and also month first"
    return f'format: "{fits[0]}"', len(orders) == 1, reason


def _number_keys(low: float, high: float, column: str) -> tuple[str, bool, str]:
    for name, scale, unit in UNIX_UNITS:
        if low >= YEAR_2000_S * scale and high < YEAR_2100_S * scale:
            return f"format: {name}", True, f"all values are {unit} between 2000 and 2100"
    unit = "hours" if column.lower() == "step" else "seconds"
    keys = f'format: offset, unit: {unit}, start: "2024-01-01T00:00:00Z"'
    return keys, False, f"values {low:g} to {high:g} are not dates: write the unit and the start of the count"


def _reads(cell: str, pattern: str) -> bool:
    try:
        datetime.fromisoformat(cell) if pattern == "iso" else datetime.strptime(cell, pattern)  # noqa: DTZ007 - only checks
    except ValueError:
        return False
    return True


def amount_keys(cells: Sequence[str], column: str) -> tuple[str, bool, str]:
    """Return the keys of the amount, whether they are sure, and the reason. The unit is never sure without decimals."""
    numbers = [cell for cell in cells if re.search(r"\d", cell)]
    symbols = Counter(symbol for cell in numbers if (symbol := re.sub(r"[\d.,'\s+-]", "", cell)))
    symbol = symbols.most_common(1)[0][0] if symbols else ""
    plain = [re.sub(r"[^\d.,']", "", cell) for cell in cells]
    keys = [f'symbol: "{symbol}"'] if symbol else []
    comma = [cell for cell in plain if re.search(r",\d{1,2}$", cell)]
    point = [cell for cell in plain if re.search(r"\.\d+$", cell)]
    if comma and not [cell for cell in plain if re.search(r"\.\d{1,2}$", cell)]:
        keys.append('decimal: ","')
        keys += ['thousands: "."'] if any("." in cell for cell in plain) else []
    elif any("," in cell for cell in plain):
        keys.append('thousands: ","')
    if "minor" in column.lower() or "cents" in column.lower():
        return ", ".join(["unit: minor", *keys]), True, "the name of the column says so"
    below_zero = sum(cell.lstrip(symbol).startswith("-") for cell in cells)
    negative = below_zero > len(cells) / 2
    if negative:
        keys.append("negate: true")
    if 0 < below_zero < len(cells):
        keys.append("refunds: skip")
    signs = f"; {below_zero} of {len(cells)} are negative" if below_zero else ""
    if comma or point:
        return ", ".join(["unit: major", *keys]), not below_zero, "values have decimals" + signs
    return ", ".join(["unit: major", *keys]), False, "no value has decimals: these may be cents (unit: minor)" + signs


def presets_for(sample: Sample) -> list[str]:
    """Return the presets whose columns the sample has; not the templates, whose column names are common words."""
    return [
        name
        for name in preset_names()
        if name not in TEMPLATES and set(load_mapping(PRESETS / f"{name}.yaml").columns()) <= set(sample.columns)
    ]


def propose(sample: Sample) -> list[Guess]:
    """Return the proposed lines of the mapping, in the order of the mapping."""
    taken: list[str] = []

    def column_of(name: str) -> str | None:
        column = best_column(sample, name, taken)
        if column is not None:
            taken.append(column)
        return column

    def example(column: str) -> str:
        return next(iter(sample.cells(column)), "")

    guesses = []
    for name in ("transaction_id", "customer_id"):
        column = column_of(name)
        if column is None:
            value = f'{{generate: row_number, prefix: "{name[:4]}-"}}'
            guesses.append(Guess(name, value, "", "no column has a usual name; choose a prefix unique to the file"))
        else:
            cells = sample.cells(column)
            repeats = name == "transaction_id" and len(set(cells)) < len(cells)
            why = "values repeat in the sample, but an id must be unique" if repeats else "by the name of the column"
            guesses.append(Guess(name, _quoted(column), example(column), why, not repeats))
    guesses += [_amount(sample, column_of("amount")), _currency(sample, column_of("currency"))]
    guesses.append(_time(sample, column_of("event_time")))
    named = {name: column_of(name) for name in (*TEXT_FIELDS, *ID_FIELDS)}
    # In a file without merchants the terminal stands for the merchant too.
    named["terminal"] = named["terminal"] or best_column(sample, "terminal")
    guesses += [
        Guess(name, _quoted(column), example(column), "by the name of the column", is_sure=True)
        for name, column in named.items() if column is not None
    ]  # fmt: skip
    lat, lon = column_of("lat"), column_of("lon")
    if lat and lon:
        is_merchant = "merch" in lat.lower()
        why = "by the names of the columns" if is_merchant else "must be the place of the purchase, not a home"
        value = f"{{lat: {_quoted(lat)}, lon: {_quoted(lon)}}}"
        guesses.append(Guess("location", value, f"{example(lat)}, {example(lon)}", why, is_merchant))
    return guesses


def propose_label(sample: Sample) -> Guess | None:
    """Return the proposed label, None if no column has a usual name."""
    column = best_column(sample, "label")
    if column is None:
        return None
    counts = Counter(sample.cells(column))
    is_sure = {value.lower().removesuffix(".0") for value in counts} <= KNOWN_LABELS
    found = ", ".join(f"{value} ({count} times)" for value, count in counts.most_common(5))
    why = f"values: {found}" + ("" if is_sure else "; list them in fraud_values and genuine_values")
    return Guess("label", f"{{column: {_quoted(column)}}}", next(iter(counts), ""), why, is_sure)


def _amount(sample: Sample, column: str | None) -> Guess:
    if column is None:
        return Guess("amount", "{column: AMOUNT, unit: major}", "", "no column has a usual name")
    keys, is_sure, reason = amount_keys(sample.cells(column), column)
    example = next(iter(sample.cells(column)), "")
    return Guess("amount", f"{{column: {_quoted(column)}, {keys}}}", example, reason, is_sure)


def _currency(sample: Sample, column: str | None) -> Guess:
    if column is None:
        return Guess("currency", "{constant: USD}", "", "no column names the currency")
    cells = sample.cells(column)
    is_sure = len(cells) == len(sample.rows) and all(cell in MINOR_UNITS or cell.isdigit() for cell in cells)
    why = "all values are ISO 4217 codes" if is_sure else "some cells are empty or no ISO 4217 code"
    return Guess("currency", _quoted(column), next(iter(cells), ""), why, is_sure)


def _time(sample: Sample, column: str | None) -> Guess:
    if column is None:
        return Guess("event_time", "{column: TIME, format: iso}", "", "no column has a usual name")
    joined = _date_and_time(sample, column)
    if joined is not None:
        return joined
    cells = sample.cells(column)
    keys, is_sure, reason = time_keys(cells, column)
    if is_sure and "unix" not in keys and not all(re.search(r"(Z|[+-]\d\d:?\d\d)$", cell) for cell in cells):
        keys, is_sure, reason = f"{keys}, timezone: UTC", False, f"{reason}; the values name no time zone"
    return Guess("event_time", f"{{column: {_quoted(column)}, {keys}}}", next(iter(cells), ""), reason, is_sure)


def _date_and_time(sample: Sample, column: str) -> Guess | None:
    """Return the proposal for a date and a time in several columns, None if the file has one column."""
    by_name = {_plain(name): name for name in reversed(sample.columns)}
    if {"year", "month", "day", "time"} <= by_name.keys():
        names = [by_name[part] for part in ("year", "month", "day", "time")]
        whole = [" ".join(row.get(name, "").strip() for name in names) for row in sample.rows]
        for pattern in ("%Y %m %d %H:%M", "%Y %m %d %H:%M:%S"):
            if all(_reads(text, pattern) for text in whole):
                value = f'{{columns: [{", ".join(map(_quoted, names))}], format: "{pattern}", timezone: UTC}}'
                return Guess("event_time", value, whole[0], "the values name no time zone")
    clock = next((name for name in sample.columns if _plain(name) in {"time", "uhrzeit", "heure", "hora"}), None)
    date = next((name for name in sample.columns if _plain(name) in {"date", "datum", "fecha"}), None)
    if clock is None or date is None or column not in {clock, date}:
        return None
    pairs = [f"{row.get(date, '').strip()} {row.get(clock, '').strip()}" for row in sample.rows]
    keys, is_sure, reason = time_keys(pairs, date)
    value = f"{{columns: [{_quoted(date)}, {_quoted(clock)}], {keys}, timezone: UTC}}"
    why = f"{reason}; the values name no time zone" if is_sure else reason
    return Guess("event_time", value, pairs[0], why)


def _quoted(text: str) -> str:
    """Return a column name as YAML."""
    return text if re.fullmatch(r"[A-Za-z_][\w.-]*", text) and text.lower() not in YAML_WORDS else json.dumps(text)


def as_yaml(sample: Sample, guesses: Sequence[Guess], label: Guess | None) -> str:
    """Return the proposed mapping as YAML; each line ends with an example and the reason."""
    lines = []
    if sample.kind == "csv" and sample.dialect != DEFAULT:
        dialect = sample.dialect
        keys = f"delimiter: {json.dumps(dialect.delimiter)}, quote: {json.dumps(dialect.quote)}"
        keys += f", encoding: {dialect.encoding}"
        if dialect.has_line_breaks:
            lines.append(f"file: {{{keys}, line_breaks: true}}  # check: quoted cells hold line breaks")
        else:
            lines.append(f"file: {{{keys}}}")
    lines.append("fields:")
    lines += [f"  {_line(guess)}" for guess in guesses]
    lines += [_line(label)] if label else []
    return "\n".join(lines) + "\n"


def _line(guess: Guess) -> str:
    example = f"such as {guess.example[:40]!r}; " if guess.example else ""
    return f"{guess.field}: {guess.value}  # {'' if guess.is_sure else 'check: '}{example}{guess.reason}"
