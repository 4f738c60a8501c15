"""The matrix as Markdown and JSON. Cases that were not run this time keep what was found before."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tests.faults.finding import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.faults.finding import Counts, Finding

Row = dict[str, Any]
COLUMNS = (
    "case", "fault", "expected", "verdict", "what happened", "recovery s", "restarts", "sent", "decided", "rejected",
    "duplicates", "missing", "repeated", "in Postgres", "histories",
)  # fmt: skip


def merged(old: Iterable[Row], new: Iterable[Finding], order: Sequence[str]) -> list[Row]:
    """Return one row per case, the newest, in the order of the matrix; a case that is gone is left out."""
    rows = {row["name"]: row for row in old} | {finding.name: asdict(finding) for finding in new}
    return [rows[name] for name in order if name in rows]


def read(path: Path) -> list[Row]:
    """Return the rows of an earlier run; none without one."""
    if not path.exists():
        return []
    return list(json.loads(path.read_text(encoding="utf-8"))["cases"])


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row of the table."""
    kafka, postgres = row["kafka"], row["postgres"]
    words = "; ".join([*row["happened"], *(f"**{problem}**" for problem in row["problems"])])
    if row["status"] == Status.LEFT_OUT:
        return (row["name"], row["fault"], row["expected"], str(row["status"]), words, *["-"] * 10)
    return (
        row["name"], row["fault"], row["expected"], str(row["status"]), words,
        "-" if row["recovery_s"] is None else f"{row['recovery_s']:.1f}",
        str(row["restarts"]), f"{row['sent']:,}", f"{kafka['decided']:,}", f"{kafka['rejected']:,}",
        f"{kafka['duplicates']:,}", str(kafka["missing"]), str(kafka["repeated"]),
        "the same" if _same(kafka, postgres) else "**differs**", f"{row['histories']:,}" if row["histories"] else "-",
    )  # fmt: skip


def _same(kafka: Mapping[str, Any], postgres: Mapping[str, Any]) -> bool:
    return dict(kafka) == dict(postgres)


def markdown(rows: Sequence[Row], machine: Mapping[str, str], command: str) -> str:
    """Return the matrix as Markdown."""
    lines = ["# Fault matrix", "", f"Command: `{command}`", ""]
    lines += [f"- {name}: {value}" for name, value in machine.items()]
    lines += ["", *table(rows)]
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of the table alone."""
    body = [" | ".join(cell.replace("|", "\\|") for cell in cells(row)) for row in rows]
    return [f"| {line} |" for line in (" | ".join(COLUMNS), " | ".join(["---"] * len(COLUMNS)), *body)]


def counts_line(name: str, counts: Counts, sent: int) -> str:
    """Return one place's account in words."""
    verdict = "balances" if counts.holds else "DOES NOT BALANCE"
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
