"""No option takes NaN or an infinite number."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from flink_jobs.cli.app import app


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay", "cards.csv", "--malformed", "nan"],
        ["simulate", "--fraud-rate", "nan"],
        ["simulate", "--rate", "inf"],
        ["replay", "cards.csv", "--rate", "nan"],
        ["control", "set-alpha", "nan", "--reason", "r"],
        ["control", "rule", "velocity", "--threshold", "nan", "--reason", "r"],
        ["label", "--from-file", "cards.csv", "--delay-days", "inf"],
    ],
    ids=" ".join,
)
def test_a_number_that_is_not_finite_is_a_usage_error(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "finite" in result.output or "less than or equal" in result.output
