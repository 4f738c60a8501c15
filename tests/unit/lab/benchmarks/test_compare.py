"""Comparison of two reports: which figures are regressions."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_jobs.errors import UserError
from tests.lab.benchmarks import bench_command
from tests.lab.benchmarks.bench_report import ResultSection, write
from tests.lab.benchmarks.compare_reports import compare

MACHINE = {"when": "now", "cores": "2", "processor": "a"}


def report_of(
    folder: Path, rates: list[float] | None, latencies: list[float], machine: dict[str, str] | None = None
) -> Path:
    section = ResultSection("engines", "t", "m", ("a",))
    if rates is not None:
        section.rate("ours", rates)
    section.cost("p99", latencies, "ms")
    return write(folder, [section], {**MACHINE, **(machine or {})}, "python -m tests.lab.benchmarks")[1]


@pytest.mark.parametrize(
    ("rates", "latencies", "named"),
    [
        ([1_000], [10.0], []),
        ([910], [10.9], []),  # within the tenth
        ([890], [10.0], ["engines: ours"]),
        ([1_000], [11.2], ["engines: p99"]),
        ([2_000], [20.0], ["engines: p99"]),  # one better, one worse
        ([800, 850, 1_050], [10.0], []),  # the rounds overlap with the old ones
        ([800, 850, 890], [10.0], ["engines: ours"]),
    ],
)
def test_a_figure_that_lost_more_than_a_tenth_in_every_round_is_a_regression(
    rates: list[float], latencies: list[float], named: list[str], tmp_path: Path
) -> None:
    old = report_of(tmp_path / "old", [1_000, 1_000, 1_000], [10.0])
    new = report_of(tmp_path / "new", rates, latencies)
    assert [change.before.name for change in compare(old, new).regressions] == named


def test_a_ratio_above_one_is_better_for_rates_and_for_times(tmp_path: Path) -> None:
    found = compare(report_of(tmp_path / "old", [1_000], [10.0]), report_of(tmp_path / "new", [1_500], [5.0]))
    assert {change.before.name: change.ratio for change in found.changes} == {"engines: ours": 1.5, "engines: p99": 2.0}
    assert {change.verdict for change in found.changes} == {"better"}


def test_the_command_names_the_regression_and_returns_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = report_of(tmp_path / "old", [1_000], [10.0])
    new = report_of(tmp_path / "new", [800], [10.0], {"cores": "4"})

    assert bench_command.main(["--compare", str(old), str(new)]) == 1
    told = capsys.readouterr().out
    assert "REGRESSION: engines: ours: 1,000 -> 800 events/s, ratio 0.80 (threshold 0.90)" in told
    assert "different machine: cores: 2 -> 4" in told

    assert bench_command.main(["--compare", str(old), str(new), "--threshold", "0.3"]) == 0
    assert bench_command.main(["--compare", str(old), str(old)]) == 0


def test_a_figure_that_only_the_old_report_has_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = report_of(tmp_path / "old", [1_000], [10.0]), report_of(tmp_path / "new", None, [10.0])
    assert bench_command.main(["--compare", str(old), str(new)]) == 0
    assert "not in the new report: engines: ours" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"layout": 1}', "\0"])
def test_a_file_that_is_no_report_is_rejected_with_a_message(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, other = report_of(tmp_path / "old", [1_000], [10.0]), tmp_path / "other.json"
    other.write_text(content)
    assert bench_command.main(["--compare", str(old), str(other)]) == 2
    assert "benchmark: " in capsys.readouterr().out
    with pytest.raises(UserError):
        compare(old, tmp_path / "missing.json")


def test_reports_without_a_common_figure_cannot_be_compared(tmp_path: Path) -> None:
    old = report_of(tmp_path / "old", [1_000], [10.0])
    section = ResultSection("memory", "t", "m", ("a",))
    section.cost("savepoint", [1.0], "bytes")
    with pytest.raises(UserError, match="no figure in common"):
        compare(old, write(tmp_path / "new", [section], MACHINE, "")[1])
