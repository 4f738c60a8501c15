"""The soak as JSON, as Markdown, and as a page with plots that holds all it needs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flink_jobs.reports.charts import Series as Line
from flink_jobs.reports.charts import line_chart
from flink_jobs.reports.pages import chart, render
from tests.lab.benchmarks.bench_report import number
from tests.lab.soak.flatness import SIGNIFICANCE_Z, Trend, trend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.lab.soak.sampling import SampledSeries, SoakSample

WARM_UP_SHARE = 0.25
"""The first quarter gets no verdict, because JVMs compile, customers' histories fill and caches warm up."""
COLUMNS = ("series", "unit", "median", "drift over the run", "tolerance", "z", "verdict")
METHOD = (
    "Drift is the Theil-Sen slope over the judged part of the run, as a share of the median. A series is flat if its "
    f"drift is within the tolerance, or if the Mann-Kendall |z| is below {SIGNIFICANCE_Z:g}, so that the drift may be "
    f"chance. The first {WARM_UP_SHARE:.0%} of the run is not judged. Latency is the time from sending a transaction "
    "until a reader of committed decisions receives its decision."
)


def judge(samples: Sequence[SoakSample], series: Sequence[SampledSeries]) -> list[dict[str, Any]]:
    """Return one verdict per series.

    Raises:
        ValueError: a series has too few samples.
    """
    judged = samples[int(len(samples) * WARM_UP_SHARE) :]
    rows = []
    for one in series:
        points = [(sample["at_s"], sample[one.name]) for sample in judged if one.name in sample]
        try:
            found = trend(*zip(*points, strict=True)) if points else None
        except ValueError as error:
            raise ValueError(f"{one.name}: {error}") from None
        if found is None:
            raise ValueError(f"{one.name} was never sampled")
        flat = one.tolerance is None or found.is_flat(one.tolerance, only_growth=one.only_growth)
        rows.append(_row(one, found, flat=flat))
    return rows


def _row(series: SampledSeries, found: Trend, *, flat: bool) -> dict[str, Any]:
    return {
        "series": series.name, "unit": series.unit, "median": found.median,
        "drift": found.drift if math.isfinite(found.drift) else None, "z": found.z, "tolerance": series.tolerance,
        "only_growth": series.only_growth, "is_flat": flat,
    }  # fmt: skip


def cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the table cells of one verdict."""
    limit = row["tolerance"]
    tolerance = "not judged" if limit is None else f"{'+' if row['only_growth'] else '±'}{limit:.0%}"
    drift = "-" if row["drift"] is None else f"{row['drift']:+.1%}"
    verdict = "-" if limit is None else "flat" if row["is_flat"] else "**NOT FLAT**"
    digits = 0 if row["median"] >= 100 else 1
    return row["series"], row["unit"], number(row["median"], digits), drift, tolerance, f"{row['z']:+.1f}", verdict


def markdown(document: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    lines = ["# Soak", "", f"Command: `{document['command']}`", ""]
    lines += [f"- {name}: {value}" for name, value in {**document["machine"], **document["run"]}.items()]
    lines += ["", "| " + " | ".join(COLUMNS) + " |", "| --- | --- | ---: | ---: | ---: | ---: | --- |"]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in document["verdicts"]]
    return "\n".join([*lines, "", METHOD, "", f"Plots: {document['page']}", ""])


def page(document: Mapping[str, Any], series: Sequence[SampledSeries]) -> str:
    """Return the report as one HTML file that opens without a network."""
    return render(
        "soak.html.j2",
        Path(__file__).parent,
        facts=list({**document["machine"], **document["run"]}.items()),
        columns=COLUMNS,
        rows=[[cell.replace("**", "") for cell in cells(row)] for row in document["verdicts"]],
        method=METHOD,
        charts=[chart(one.name, plot(one, document["samples"])) for one in series],
    )


def plot(series: SampledSeries, samples: Sequence[SoakSample]) -> str:
    """Return a chart of a series over the minutes of the run; both axes start at zero."""
    points = [(sample["at_s"] / 60, sample[series.name]) for sample in samples if series.name in sample]
    minutes, values = [at for at, _ in points], [value for _, value in points]
    return line_chart(series.name, ("minutes", series.unit), [Line(series.name, minutes, values)])


def write(folder: Path, document: dict[str, Any], series: Sequence[SampledSeries]) -> None:
    """Write ``soak.json``, ``soak.md`` and ``soak.html``."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {**document, "page": "soak.html"}
    (folder / "soak.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    (folder / "soak.md").write_text(markdown(document), encoding="utf-8")
    (folder / "soak.html").write_text(page(document, series), encoding="utf-8")
