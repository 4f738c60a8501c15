"""The fault matrix as Markdown and JSON. Cases that did not run this time keep their earlier result."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.lab.faults.fault_case import CaseStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.lab.faults.fault_case import CaseResult, LedgerCounts

Row = dict[str, Any]
COLUMNS = ("case", "fault", "expected", "verdict", "observed", "recovery s", "restarts")
ACCOUNT_COLUMNS = (
    "case", "sent", "decided", "rejected", "duplicates", "missing", "repeated", "incidents", "in Postgres", "histories",
)  # fmt: skip


def merged(old: Iterable[Row], new: Iterable[CaseResult], order: Sequence[str]) -> list[Row]:
    """Return the newest row of each case in the order of the matrix; cases that no longer exist are left out."""
    rows = {row["name"]: row for row in old} | {result.name: asdict(result) for result in new}
    return [rows[name] for name in order if name in rows]


def read(path: Path) -> list[Row]:
    """Return the rows of an earlier run, or an empty list if there was none."""
    if not path.exists():
        return []
    return list(json.loads(path.read_text(encoding="utf-8"))["cases"])


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a case in the table of faults."""
    words = "; ".join([*row["happened"], *(f"**{problem}**" for problem in row["problems"])])
    took = "-" if row["recovery_s"] is None else f"{row['recovery_s']:.1f}"
    restarts = "-" if row["status"] == CaseStatus.LEFT_OUT else str(row["restarts"])
    return row["name"], row["fault"], row["expected"], str(row["status"]), words, took, restarts


def account_cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a case in the ledger table: counts from Kafka, and whether Postgres has the same."""
    kafka = row["kafka"]
    numbers = (row["sent"], *(kafka[name] for name in ("decided", "rejected", "duplicates", "missing", "repeated")))
    same = "the same" if kafka == row["postgres"] else "**differs**"
    histories = f"{row['histories']:,}" if row["histories"] else "-"
    return row["name"], *(f"{one:,}" for one in numbers), str(row["incidents"]), same, histories


def markdown(rows: Sequence[Row], machine: Mapping[str, str], command: str) -> str:
    """Return both tables as Markdown."""
    lines = ["# Fault matrix", "", f"Command: `{command}`", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += ["", *table(COLUMNS, map(cells, rows)), ""]
    lines += table(ACCOUNT_COLUMNS, [account_cells(row) for row in rows if row["status"] != CaseStatus.LEFT_OUT])
    return "\n".join(lines) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    body = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return [f"| {line} |" for line in (" | ".join(columns), " | ".join(["---"] * len(columns)), *body)]


def counts_line(name: str, counts: LedgerCounts, sent: int) -> str:
    """Return the ledger counts from one source as a sentence."""
    verdict = "reconciles" if counts.holds else "DOES NOT RECONCILE"
    total = f"sent {sent:,} = decided {counts.decided:,} + rejected {counts.rejected:,}"
    return f"{name} {total} + duplicates {counts.duplicates:,}: {verdict}"


def write(folder: Path, rows: Sequence[Row], machine: Mapping[str, str], command: str) -> tuple[Path, Path]:
    """Write ``faults.md`` and ``faults.json``; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    text, data = folder / "faults.md", folder / "faults.json"
    text.write_text(markdown(rows, machine, command), encoding="utf-8")
    document = {"command": command, "machine": dict(machine), "cases": list(rows)}
    data.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return text, data
