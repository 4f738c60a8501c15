"""Generates the four Grafana dashboards from the table of panels in ``panels.yaml``.

``python -m flink_jobs.metrics.dashboards --write`` writes one JSON file per dashboard. One test compares the files with
the table, another sends every query to a real Prometheus.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from flink_jobs.metrics.catalogue import FLINK_OPERATOR_PREFIX
from flink_jobs.metrics.slos import MONITORING

PANELS_FILE: Final = Path(__file__).with_name("panels.yaml")
FOLDER: Final = MONITORING / "dashboards"
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 3
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel."""

    dashboard: str
    panel: str
    expr: str


def _boards() -> dict[str, Any]:
    boards: dict[str, Any] = yaml.safe_load(PANELS_FILE.read_text(encoding="utf-8"))
    return boards


def _promql(text: str) -> str:
    """Return a query with ``$job_`` replaced by the prefix of Flink's operator metrics."""
    return " ".join(text.split()).replace("$job_", FLINK_OPERATOR_PREFIX)


def queries() -> Iterator[Query]:
    """Yield every query of every dashboard."""
    for name, board in _boards().items():
        for panel in board["panels"]:
            for expr in panel["queries"].values():
                yield Query(name, panel["title"], _promql(expr))


def dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard in Grafana's import format (schema version 39)."""
    board = _boards()[name]
    return {
        "uid": f"streamflow-{name}",
        "title": f"StreamFlow: {board['title']}",
        "description": board["description"],
        "tags": ["streamflow"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}],
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(board["panels"])],
    }


def _panel(number: int, panel: dict[str, Any]) -> dict[str, Any]:
    row, column = divmod(number, _COLUMNS)
    return {
        "id": number + 1,
        "title": panel["title"],
        "description": panel.get("description", ""),
        "type": panel.get("type", "timeseries"),
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel["unit"]}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": _SOURCE, "legendFormat": legend, "expr": _promql(expr)}
            for index, (legend, expr) in enumerate(panel["queries"].items())
        ],
    }


def files() -> dict[Path, str]:
    """Return the path and the text of each dashboard file."""
    return {FOLDER / f"{name}.json": json.dumps(dashboard(name), indent=2) + "\n" for name in _boards()}


def main(arguments: Sequence[str]) -> int:
    """Write the files; return the exit code."""
    if list(arguments) != ["--write"]:
        sys.stderr.write("usage: python -m flink_jobs.metrics.dashboards --write\n")
        return 2
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
