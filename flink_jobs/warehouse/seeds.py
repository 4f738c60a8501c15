"""Writes dbt's seeds from the code, so that the tables of the analysts agree with the job.

``python -m flink_jobs.warehouse.seeds --write`` writes them. Without the option, the command checks whether they are up
to date, as a test does.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from flink_jobs.core.currencies import MINOR_UNITS
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.rules import RULES
from flink_jobs.warehouse.paths import DBT_PROJECT

FOLDER: Final = DBT_PROJECT / "seeds"


def currency_units() -> str:
    """Return the number of minor units in a major unit of each currency, as CSV."""
    return _csv(
        ("currency", "minor_units"), [(currency, int(units)) for currency, units in sorted(MINOR_UNITS.items())]
    )


def reason_codes() -> str:
    """Return every reason code with its rule, as CSV; the model and actions on accounts have no rule."""
    rules = {rule.code: rule for rule in RULES}
    rows = [
        (code.value, rules[code].id, rules[code].rationale) if code in rules else (code.value, "", _WITHOUT_RULE[code])
        for code in ReasonCode
    ]
    return _csv(("reason_code", "rule_id", "rationale"), rows)


_WITHOUT_RULE: Final = {
    ReasonCode.MODEL_ANOMALY: "The model finds the transaction unlike the customer's past.",
    ReasonCode.ACCOUNT_BLOCKED: "A person or a payment system blocked the customer; adds nothing to the score.",
    ReasonCode.ACCOUNT_ALLOWED: "A person allowed the customer, so there is no alert; adds nothing to the score.",
    ReasonCode.ACCOUNT_WATCHED: "A person watches the customer; adds nothing to the score.",
}

SEEDS: Final = {"currency_units.csv": currency_units, "reason_codes.csv": reason_codes}


def stale(folder: Path = FOLDER) -> list[str]:
    """Return the names of the files that differ from the code."""
    return [
        name
        for name, text in SEEDS.items()
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text()
    ]


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue()


def main(arguments: Sequence[str]) -> int:
    """Write the seeds with ``--write``, else return 1 if one is stale."""
    if "--write" in arguments:
        for name, text in SEEDS.items():
            (FOLDER / name).write_text(text(), encoding="utf-8")
    if names := stale():
        sys.stderr.write(f"stale: {', '.join(names)}; run `python -m flink_jobs.warehouse.seeds --write`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
