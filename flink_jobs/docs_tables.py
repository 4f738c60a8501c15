"""Generates tables of the documentation from the code: rules, features, and which dead letters can be redriven.

``python -m flink_jobs.docs_tables`` compares the tables between the markers of the documentation with the code;
``--write`` rewrites them. A test compares them too, so a rule cannot change without its documentation.
"""

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from flink_jobs.core.dead_letters.policies import REDRIVE_POLICIES, RedrivePolicy
from flink_jobs.core.features.table import FEATURES
from flink_jobs.core.rules import RULES
from flink_jobs.errors import UserError

REPOSITORY: Final = Path(__file__).parents[1]
COMMAND: Final = "python -m flink_jobs.docs_tables --write"
DOCUMENTS: Final = {
    "docs/rules.md": ("rules", "features"),
    "docs/operate.md": ("redrive",),
}
"""The tables of each file; every one of these files that exists must have its tables."""


def rule_table_markdown() -> str:
    """Return the table of the rules with which a job starts."""
    units = {spec.name: "" if spec.unit in {"ratio", "0 or 1"} else f" {spec.unit}" for spec in FEATURES}
    rows = [
        (
            f"`{rule.id}`",
            f"`{rule.code.value}`",
            f"`{rule.feature}` ≥ {rule.threshold:g}{units[rule.feature]}",
            f"{rule.weight:.2f}",
            rule.rationale,
        )
        for rule in RULES
    ]
    return _table(("Rule", "Reason code", "Fires when", "Weight", "Why"), rows)


def feature_table_markdown() -> str:
    """Return the table of the features, in the order of the model input."""
    rows = [
        (
            f"`{spec.name}`",
            spec.meaning[0].upper() + spec.meaning[1:],
            spec.unit,
            f"{spec.low:,.0f} to {spec.high:,.0f}",
            spec.without_history,
            f"{spec.neutral:g}",
        )
        for spec in FEATURES
    ]
    return _table(("Feature", "Meaning", "Unit", "Range", "Without history", "Given to the model when absent"), rows)


def redrive_table_markdown() -> str:
    """Return the table of the redrive policies."""
    groups: dict[RedrivePolicy, list[str]] = {}
    for reason, policy in REDRIVE_POLICIES.items():
        groups.setdefault(policy, []).append(f"`{reason}`")
    rows = [(", ".join(reasons), policy.method.value, policy.why) for policy, reasons in groups.items()]
    return _table(("Reason", "Redriven", "Why"), rows)


TABLES: Final[dict[str, Callable[[], str]]] = {
    "rules": rule_table_markdown,
    "features": feature_table_markdown,
    "redrive": redrive_table_markdown,
}
"""The function that generates each table, by the name in its markers."""


def with_tables(text: str, where: str, names: Iterable[str]) -> str:
    """Return a document with every named table generated between its markers.

    Raises:
        UserError: a pair of markers is missing, doubled or in the wrong order.
    """
    for name in names:
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise UserError(
                f"{where} does not hold {begin} and {end} once each, in this order",
                f"write both on separate lines where the table of {name} belongs, then run: {COMMAND}",
            )
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{TABLES[name]()}{end}{rest.split(end)[1]}"
    return text


def documents(root: Path = REPOSITORY) -> list[Path]:
    """Return the files that have tables.

    Raises:
        UserError: none of the files exists.
    """
    found = [root / name for name in DOCUMENTS if (root / name).is_file()]
    if not found:
        raise UserError(f"none of {', '.join(DOCUMENTS)} is in {root}", "run it in the repository")
    return found


def tables_of(path: Path) -> tuple[str, ...]:
    """Return the names of a document's tables."""
    return next(names for name, names in DOCUMENTS.items() if path.as_posix().endswith(name))


def main(arguments: Sequence[str]) -> int:
    """Compare or write the tables; return the exit code."""
    if arguments not in ([], ["--write"]):
        print("usage: python -m flink_jobs.docs_tables [--write]", file=sys.stderr)  # noqa: T201
        return 2
    outdated = 0
    for path in documents():
        text = path.read_text(encoding="utf-8")
        current = with_tables(text, path.name, tables_of(path))
        if current == text:
            continue
        outdated += 1
        if arguments:
            path.write_text(current, encoding="utf-8")
        else:
            print(f"{path}: a table differs from the code; run: {COMMAND}", file=sys.stderr)  # noqa: T201
    return 0 if arguments else min(outdated, 1)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as problem:
        sys.exit(str(problem))
