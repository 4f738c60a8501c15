"""Renders templates: a page is one HTML file that opens without a network, with its style and its charts inside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from flink_jobs.reports.styles import SHARED

TEMPLATES: Final = Path(__file__).parent / "templates"


class Chart(NamedTuple):
    """A chart with the line above it; ``svg`` is one of ``flink_jobs.reports.charts``."""

    caption: str
    svg: Markup


class Section(NamedTuple):
    """One question of a page with its answer: charts, and the same rows as a table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    charts: Sequence[Chart] = ()
    source: str = ""


def chart(caption: str, svg: str) -> Chart:
    """Return a chart that templates do not escape."""
    return Chart(caption, Markup(svg))  # noqa: S704 - matplotlib escaped its texts


def answers_page(title: str, note: str, sections: Sequence[Section]) -> str:
    """Return a page of questions and answers."""
    return render("answers.html.j2", title=title, note=note, sections=sections)


def render(template: str, *folders: Path, **values: object) -> str:
    """Return a template filled with values.

    Values are escaped in templates whose name holds ``.html``; ``chart`` returns one that is not.

    Args:
        template: file name in ``templates`` or in one of the folders. A page extends ``page.html.j2``.
        folders: more folders with templates.
        values: names that the template uses.

    Raises:
        jinja2.TemplateError: the template is missing, or uses a name without a value.
    """
    environment = Environment(
        loader=FileSystemLoader([TEMPLATES, *folders]),
        autoescape=lambda name: name is not None and ".html" in name,  # noqa: S701 - a model card is Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    own = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    environment.globals["style"] = Markup(SHARED + own)  # noqa: S704 - our files
    environment.filters |= {"cell": cell, "is_number": is_number, "table_text": table_text}
    return environment.get_template(template).render(values)


def is_number(value: object) -> bool:
    """Return whether a table shows the value as a number, at the right of its column."""
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def cell(value: object) -> str:
    """Return the text of a table's cell.

    >>> cell(1200), cell(None), cell(datetime(2024, 1, 15, 3, 4)), cell("a")
    ('1,200', '-', '2024-01-15 03:04', 'a')
    """
    if value is None:
        return "-"
    if is_number(value):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return str(value)


def table_text(value: str) -> str:
    """Return text that is safe inside a Markdown table."""
    return value.replace("|", "\\|")
