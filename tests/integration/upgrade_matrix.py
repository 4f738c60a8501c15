"""The upgrade matrix: every kind of change to a running job, its outcome, and the test that shows it.

    python -m tests.integration.upgrade_matrix            run the tests of all rows (`make upgrades`), print the table
    python -m tests.integration.upgrade_matrix --write    put the table into docs/upgrade.md; runs nothing

The table in the documentation holds what the tests assert; a unit test compares it with the rows here.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from flink_jobs.settings import REPO_ROOT

DOCUMENT = REPO_ROOT / "docs/upgrade.md"
BEGIN, END = "<!-- matrix:begin -->", "<!-- matrix:end -->"
UPGRADES = "tests/integration/test_upgrades.py"
SAVEPOINTS = "tests/unit/flink/savepoints/test_snapshot.py"
RESUMES, REFUSED = "resumes", "refused before it starts"


@dataclass(frozen=True)
class Row:
    """One kind of change.

    Attributes:
        change: what is different after the upgrade.
        outcome: whether the job resumes or is refused.
        note: what is kept, or the reason for the refusal and what to do.
        test: the pytest node that shows it.
    """

    change: str
    outcome: str
    note: str
    test: str


ROWS = (
    Row("a savepoint of state version 1 (0.1), 2 (0.2) or 3: fields added to a customer's state", RESUMES,
        "every customer and the configuration; a customer's next transaction rewrites the state in the new version",
        f"{UPGRADES}::test_a_savepoint_of_every_released_state_version_is_restored"),
    Row("a savepoint of the archive of 0.2", RESUMES, "the offsets of every topic: no record is read again or left out",
        f"{UPGRADES}::test_a_savepoint_of_the_archive_of_a_release_is_restored"),
    Row("parallelism 1 to 2", RESUMES, "customers move with their key groups",
        f"{UPGRADES}::test_parallelism_from_one_to_two_and_another_model"),
    Row("parallelism 2 to 1", RESUMES, "customers move with their key groups",
        f"{UPGRADES}::test_parallelism_from_two_to_one_an_operator_more_and_another_producer"),
    Row("another model", RESUMES,
        "all state. A model that a control message named is in the savepoint and overrides `STREAMFLOW_MODEL_VERSION`",
        f"{UPGRADES}::test_parallelism_from_one_to_two_and_another_model"),
    Row("the single to the batched crossing", RESUMES, "all state: both keep it under the same names",
        f"{UPGRADES}::test_parallelism_from_one_to_two_and_another_model"),
    Row("the batched to the single crossing", RESUMES, "all state: both keep it under the same names",
        f"{UPGRADES}::test_parallelism_from_two_to_one_an_operator_more_and_another_producer"),
    Row("an operator without state added", RESUMES, "all state: the uids of the other operators do not change",
        f"{UPGRADES}::test_parallelism_from_two_to_one_an_operator_more_and_another_producer"),
    Row("an operator without state removed", RESUMES, "all state: the uids of the other operators do not change",
        f"{UPGRADES}::test_an_operator_less_and_a_savepoint_in_another_place"),
    Row("producers write other JSON: keys, order, white space, escapes, more fields", RESUMES,
        "all state: the key is read from the document; records that are not JSON become dead letters",
        f"{UPGRADES}::test_parallelism_from_two_to_one_an_operator_more_and_another_producer"),
    Row("the savepoint's folder moved", RESUMES, "all state: a savepoint needs no absolute paths",
        f"{UPGRADES}::test_an_operator_less_and_a_savepoint_in_another_place"),
    Row("thread mode to process mode", REFUSED,
        "PyFlink stores the state under other names: all histories would be empty. Keep the mode or use no savepoint",
        f"{UPGRADES}::test_from_thread_to_process_mode_is_refused"),
    Row("process mode to thread mode", REFUSED, "as above", f"{UPGRADES}::test_from_process_to_thread_mode_is_refused"),
    Row("the savepoint of another job", REFUSED, "name a savepoint of this job",
        f"{UPGRADES}::test_the_savepoint_of_another_job_is_refused"),
    Row("an operator with state removed", REFUSED, "its state would be lost; run the release that wrote the savepoint",
        f"{SAVEPOINTS}::test_state_of_an_operator_that_is_gone_is_refused"),
    Row("an older release on a newer savepoint", REFUSED,
        "the older release cannot read the state or the configuration; use the savepoint from before the upgrade",
        f"{SAVEPOINTS}::test_what_a_newer_release_wrote_is_refused"),
    Row("another number of key groups", REFUSED, "the number is fixed for the life of a savepoint",
        f"{SAVEPOINTS}::test_another_number_of_key_groups_is_refused"),
    Row("a savepoint with a file cut short or missing", REFUSED, "copy the whole folder again",
        f"{SAVEPOINTS}::test_a_file_that_is_cut_is_named"),
)  # fmt: skip


@dataclass
class Outcomes:
    """A pytest plugin that remembers how each test ended."""

    failed: set[str] = field(default_factory=set)
    passed: set[str] = field(default_factory=set)

    def pytest_runtest_logreport(self, report: Any) -> None:  # noqa: ANN401 - pytest's own type is private
        """Take in one phase of one test; the parameters of a test count together."""
        name = report.nodeid.partition("[")[0]
        if report.failed:
            self.failed.add(name)
        elif report.when == "call" and report.passed:
            self.passed.add(name)


def table() -> str:
    """Return the matrix as Markdown."""
    lines = ["| change | the job | what is kept, or the reason for the refusal |", "| --- | --- | --- |"]
    lines += [f"| {row.change} | {row.outcome} | {row.note} |" for row in ROWS]
    return "\n".join(lines) + "\n"


def with_table(text: str) -> str:
    """Return a document with the table between its markers as it is here.

    Raises:
        ValueError: the markers are not there once each.
    """
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{table()}{END}{rest.split(END)[1]}"


def run() -> int:
    """Run the tests of all rows, print how each ended; return 1 if one did not pass."""
    outcomes = Outcomes()
    # Whole files: the tests of a stream build on each other.
    pytest.main(["-q", UPGRADES, SAVEPOINTS], plugins=[outcomes])
    shown, wrong = Table("change", "the job", "shown", box=None), 0
    for row in ROWS:
        ok = row.test in outcomes.passed - outcomes.failed
        wrong += not ok
        shown.add_row(row.change, row.outcome, "yes" if ok else "NO")
    Console(width=None if sys.stdout.isatty() else 160).print(shown)
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
        sys.exit(0)
    sys.exit(run())
