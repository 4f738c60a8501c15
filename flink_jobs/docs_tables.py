"""The tables of the documentation that the code knows better: rules, features, and which dead letters may be redriven.

``python -m flink_jobs.docs_tables`` compares them with what stands between the markers of the documentation;
``--write`` rewrites them there. A test does the former, so a rule cannot change without its documentation.
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
"""Where the tables stand; every one of these files that exists must hold its tables."""


def rule_table_markdown() -> str:
    """Return the table of rules that a job starts with."""
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
    """Return the table of features in the order of the model's input."""
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
    """Return the table of what may be done about the dead letters of each reason."""
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
"""Name of each table in its markers, and what makes it."""


def with_tables(text: str, where: str, names: Iterable[str]) -> str:
    """Return a document with every named table between its markers as the code has it.

    Raises:
        UserError: a pair of markers is missing, doubled or the wrong way round.
    """
    for name in names:
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise UserError(
                f"{where} does not hold {begin} and {end} once each, in this order",
                f"write both on lines of their own where the table of {name} belongs, then run: {COMMAND}",
            )
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{TABLES[name]()}{end}{rest.split(end)[1]}"
    return text


def documents(root: Path = REPOSITORY) -> list[Path]:
    """Return the files that hold the tables.

    Raises:
        UserError: there is none.
    """
    found = [root / name for name in DOCUMENTS if (root / name).is_file()]
    if not found:
        raise UserError(f"none of {', '.join(DOCUMENTS)} is in {root}", "run it in the repository")
    return found


def tables_of(path: Path) -> tuple[str, ...]:
    """Return the names of the tables that a document holds."""
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
            print(f"{path}: a table is not the one of the code; run: {COMMAND}", file=sys.stderr)  # noqa: T201
    return 0 if arguments else min(outdated, 1)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as problem:
        sys.exit(str(problem))
