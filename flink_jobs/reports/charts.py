"""Charts as SVG text that is placed inside an HTML page: no file, no script, no network.

matplotlib draws them. Text stays text, so that a chart is small, and browsers can search it and read it aloud. The same
values give the same SVG. The colours are those of ``shared.css``: a chart follows its page, light or dark.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6d3b", "#777777")
"""Okabe and Ito's palette: colour-blind readers can tell these colours apart."""
_LINES: Final = {"#000000": "quiet", "#8b95a1": "quiet", "#d9dee5": "rule"}
_VARIABLES: Final = _LINES | {colour: f"series-{number}" for number, colour in enumerate(COLOURS, 1)}
"""The variable of ``shared.css`` for each colour that matplotlib draws; without the sheet that colour is shown."""
SQUARE: Final = (5.6, 4.2)
"""Width and height of a curve's figure, in inches."""
WIDE: Final = (7.2, 2.8)
"""Width and height of a chart over hours or days, in inches."""
SHOWN_LABELS: Final = 12
"""Labels under the bars of one chart; of more bars every second or third is labelled."""
LONGEST_NAME: Final = 34
"""Characters of a row's name; a longer name is cut."""
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}\b")
_STYLE: Final[dict[Any, Any]] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#8b95a1",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "grid.color": "#d9dee5",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a `$` in a merchant's name is no formula
}


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one line; ``low`` and ``high`` are drawn as whiskers where given."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


class Interval(NamedTuple):
    """One row of an interval chart, on 0 to 1; a row whose value is None has a name and no mark."""

    name: str
    value: float | None
    low: float | None
    high: float | None


def line_chart(
    title: str, labels: tuple[str, str], series: Sequence[Series], *, unit_square: bool = False, diagonal: bool = False
) -> str:
    """Draw lines, one colour for each series.

    Args:
        title: of the chart, for screen readers.
        labels: of the x axis and the y axis.
        series: lines in the order of the legend; one line has no legend.
        unit_square: whether both axes go from 0 to 1. Otherwise they start at 0 and end after the largest value.
        diagonal: whether to draw the line from (0, 0) to (1, 1).
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(SQUARE)
        if diagonal:
            axes.plot([0.0, 1.0], [0.0, 1.0], color="#8b95a1", linestyle="--", linewidth=1.0)
        lines = []
        for number, one in enumerate(series):
            colour = COLOURS[number % len(COLOURS)]
            lines += axes.plot(one.x, one.y, color=colour, marker="o" if one.low else "", markersize=4.0)
            if one.low:
                axes.vlines(one.x, one.low, one.high, colors=colour)
        axes.set(xlabel=labels[0], ylabel=labels[1])
        if unit_square:
            axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0))
        else:
            axes.set_xlim(left=0.0)
            axes.set_ylim(bottom=0.0, top=None if any(any(one.y) for one in series) else 1.0)
        if len(series) > 1:
            figure.legend(lines, [one.name for one in series], loc="outside lower center", ncols=3, frameon=False)
        return _svg(figure, title)


def histogram(title: str, label: str, classes: Sequence[tuple[str, Sequence[int]]]) -> str:
    """Draw each class as shares of its own rows over equal bins of 0 to 1, so that a rare class can be seen."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(SQUARE)
        stairs = []
        for number, (_, counts) in enumerate(classes):
            shares = [count / max(1, sum(counts)) for count in counts]
            edges = [place / len(counts) for place in range(len(counts) + 1)]
            stairs.append(axes.stairs(shares, edges, fill=True, alpha=0.55, color=COLOURS[number]))
        axes.set(xlabel=label, ylabel="share of the class", xlim=(0.0, 1.0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        figure.legend(stairs, [name for name, _ in classes], loc="outside lower center", ncols=3, frameon=False)
        return _svg(figure, title)


def interval_chart(title: str, label: str, rows: Sequence[Interval]) -> str:
    """Draw one dot with its interval for each row, on 0 to 1, the first row on top."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure((SQUARE[0], 0.9 + 0.27 * len(rows)))
        for place, row in enumerate(rows):
            if row.value is None:
                continue
            if row.low is not None and row.high is not None:
                axes.hlines(place, row.low, row.high, colors=COLOURS[0], linewidth=2.0)
            axes.plot(row.value, place, color=COLOURS[0], marker="o", markersize=6.0)
        names = [row.name if len(row.name) <= LONGEST_NAME else row.name[: LONGEST_NAME - 1] + "…" for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel=label, xlim=(0.0, 1.0), ylim=(max(len(rows), 1) - 0.5, -0.5))
        return _svg(figure, title)


def bar_chart(title: str, labels: Sequence[str], values: Sequence[float]) -> str:
    """Draw one upright bar for each label."""
    with mpl.rc_context(_STYLE):
        figure, axes = _labelled(labels, values)
        axes.bar(range(len(values)), values, color=COLOURS[0])
        return _svg(figure, title)


def trend_chart(title: str, labels: Sequence[str], values: Sequence[float]) -> str:
    """Draw a line over labels that follow each other, such as days."""
    with mpl.rc_context(_STYLE):
        figure, axes = _labelled(labels, values)
        axes.plot(range(len(values)), values, color=COLOURS[0], marker="o", markersize=4.0)
        return _svg(figure, title)


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.add_subplot()


def _labelled(labels: Sequence[str], values: Sequence[float]) -> tuple[Figure, Axes]:
    """Return an empty chart with the labels under it and a vertical axis from 0."""
    figure, axes = _figure(WIDE)
    step = -(-len(labels) // SHOWN_LABELS) or 1
    axes.set_xticks(range(0, len(labels), step), labels[::step])
    axes.set_xlim(-0.6, max(len(labels), 1) - 0.4)
    axes.set_ylim(0.0, 1.05 * max(values, default=0.0) or 1.0)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=all(value.is_integer() for value in values)))
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(visible=False, axis="x")
    return figure, axes


def _variable(found: re.Match[str]) -> str:
    name = _VARIABLES.get(found[0])
    return found[0] if name is None else f"var(--{name}, {found[0]})"


def _svg(figure: Figure, title: str) -> str:
    """Return the figure as an ``<svg>`` element for an HTML page."""
    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": f"chart {title}"}), warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure.draw_without_rendering()
        for artist in figure.findobj():
            artist.set_clip_on(False)  # nothing is drawn outside the axes: clip paths would double the size
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=no_metadata)
    root = ET.fromstring(text.getvalue())  # noqa: S314 - matplotlib's own text
    for element in root.iter():
        if "style" in element.attrib:
            element.set("style", _COLOUR.sub(_variable, element.attrib["style"]).replace("'DejaVu Sans'", "system-ui"))
        element.tag = element.tag.partition("}")[2]  # HTML needs no namespaces
        if element.tag == "g":
            element.attrib.pop("id", None)  # the same in every chart of a page
        for name in [name for name in element.attrib if name.startswith("{")]:
            element.set(name.partition("}")[2], element.attrib.pop(name))
    del root.attrib["width"], root.attrib["height"]
    root.attrib |= {"role": "img", "aria-label": title}
    return ET.tostring(root, encoding="unicode")
