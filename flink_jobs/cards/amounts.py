"""Formats of amounts: decimal comma, thousands separators, currency symbols and reversed signs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flink_jobs.cards.converters import Cell, fail, minor_units, to_text
from flink_jobs.cards.row_errors import RowReason

if TYPE_CHECKING:
    from flink_jobs.contracts.document import Section

SPACES = " \u00a0\u202f\u2009"
SEPARATORS = (".", ",", "'", "\u2019", *SPACES)


@dataclass(frozen=True, slots=True)
class AmountFormat:
    """How an amount is written.

    Attributes:
        decimal: the character before the decimals.
        thousands: the character between groups of three digits; empty: there is none.
        symbol: a currency symbol or code beside the number; may be absent from a cell.
        negates: whether the sign is reversed, as in an account statement, where purchases are negative.
    """

    decimal: str = "."
    thousands: str = ""
    symbol: str = ""
    negates: bool = False

    def number(self, cell: Cell) -> Cell:
        """Return the cell as a plain number; a cell that is a number already is unchanged.

        Raises:
            CellError: the text does not have the format.
        """
        if not isinstance(cell, str | bytes):
            return cell
        text = to_text(cell)
        if self.symbol:
            text = text.replace(self.symbol, "", 1).strip(SPACES)
        separator = f"[{SPACES}]" if self.thousands == " " else re.escape(self.thousands)
        grouped = rf"\d{{1,3}}({separator}\d{{3}})+|" if self.thousands else ""
        if re.fullmatch(rf"([+-]\s?)?({grouped}\d+)({re.escape(self.decimal)}\d+)?", text) is None:
            fail(cell, f"is not a number like {self.example()}", RowReason.NOT_A_NUMBER)
        if self.thousands:
            text = re.sub(separator, "", text)
        return text.replace(self.decimal, ".").replace(" ", "")

    def minor(self, cell: Cell, exponent: int) -> int:
        """Return the amount in minor units."""
        amount = minor_units(self.number(cell), exponent)
        return -amount if self.negates else amount

    def example(self) -> str:
        """Return a number in this format, for messages."""
        return f"{self.symbol}1{self.thousands}234{self.decimal}56"


def read_amount_format(part: Section) -> AmountFormat | None:
    """Read the keys ``decimal``, ``thousands``, ``symbol`` and ``negate`` of an amount; None if there are none.

    Raises:
        DocumentError: a value is not valid.
    """
    decimal, thousands = part.text("decimal", "."), part.text("thousands", "")
    symbol, negates = part.text("symbol", "").strip(), part.flag("negate", default=False)
    if decimal not in {".", ","}:
        raise part.error("decimal", f"is {decimal!r}", 'write "," or "."')
    if thousands and (thousands not in SEPARATORS or thousands == decimal):
        raise part.error(
            "thousands", f"is {thousands!r}", "write one of . , ' or a space, and not the decimal character"
        )
    form = AmountFormat(decimal, thousands, symbol, negates)
    return None if form == AmountFormat() else form
