"""Pages as one HTML file that opens without a network: style inside, charts as SVG text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --paper: #fff; --bar: #2563a8; --grid: #d9dee5; --soft: #5b6673 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaef; --paper: #14191f; --bar: #6ea8e0; --grid: #333c47; --soft: #9aa5b1 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 76rem;
       margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.05rem; margin: 0 0 .5rem }
p { color: var(--soft); margin: .2rem 0 }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 34rem), 1fr)); gap: 2rem;
       margin-top: 2rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .2rem .6rem .2rem 0; border-bottom: 1px solid var(--grid) } .n { text-align: right }
svg { width: 100%; height: auto } .bar { fill: var(--bar) } .line { stroke: var(--bar); stroke-width: 2 }
.grid { stroke: var(--grid) } .tick { font-size: 11px; fill: var(--soft) } .mid { text-anchor: middle }
.end { text-anchor: end }
"""


def document(title: str, note: str, sections: Iterable[str]) -> str:
    """Return a page of sections, which are HTML already."""
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><p>{escape(note)}</p><main>{''.join(sections)}</main></body></html>\n"
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table, or a line that says there is nothing."""
    if not rows:
        return "<p>Nothing.</p>"
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever a database column holds
    if value is None:
        return "<td>-</td>"
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return f'<td class="n">{value:,}</td>'
    if isinstance(value, datetime):
        return f"<td>{value:%Y-%m-%d %H:%M}</td>"
    return f"<td>{escape(str(value))}</td>"
