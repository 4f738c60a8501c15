"""The upgrade matrix of the documentation is that of the tests."""

from __future__ import annotations

import ast

from flink_jobs.settings import REPO_ROOT
from tests.integration import upgrade_matrix


def test_the_documentation_holds_the_matrix() -> None:
    """Run `python -m tests.integration.upgrade_matrix --write` after a change of a row."""
    text = upgrade_matrix.DOCUMENT.read_text(encoding="utf-8")
    assert upgrade_matrix.with_table(text) == text


def test_every_row_has_a_test_and_every_upgrade_test_a_row() -> None:
    tests = {
        f"{path}::{node.name}"
        for path in (upgrade_matrix.UPGRADES, upgrade_matrix.SAVEPOINTS)
        for node in ast.parse((REPO_ROOT / path).read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    shown = {row.test for row in upgrade_matrix.ROWS}
    assert shown <= tests
    left = {name for name in tests - shown if name.startswith(upgrade_matrix.UPGRADES)}
    assert left == {f"{upgrade_matrix.UPGRADES}::test_the_first_job_has_a_history_to_lose"}
