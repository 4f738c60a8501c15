"""``streamflow sanity``, and the same warnings by ``train`` and ``evaluate``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flink_jobs.cli.app import app
from tests.unit.ml.sanity.cards import like_the_old_sample, sound, write


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A card file like the sample file of earlier releases, whose generator sorted dates together with categories."""
    return write(like_the_old_sample(sound()), tmp_path_factory.mktemp("cards") / "broken.csv")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def test_a_broken_file_is_reported_with_exit_code_1(broken: Path) -> None:
    result = run("sanity", "--data", broken)
    assert result.exit_code == 1
    assert "dates_sort_categories: the dates of" in result.stdout
    document = json.loads(run("sanity", "--data", broken, "--output", "json").stdout)
    assert "dates_sort_categories" in {warning["check"] for warning in document["warnings"]}


def test_a_sound_file_is_reported_with_exit_code_0(tmp_path: Path) -> None:
    result = run("sanity", "--data", write(sound(), tmp_path / "sound.csv"))
    assert result.exit_code == 0
    assert result.stdout.rstrip().endswith("rows, no warnings")


@pytest.mark.untraced
def test_evaluate_warns_about_a_file_like_the_old_sample(broken: Path, tmp_path: Path) -> None:
    result = run("evaluate", "--data", broken, "--resamples", 0, "--out", tmp_path, "--output", "json")
    assert "Warning: dates_sort_categories" in result.stderr
    written = json.loads((tmp_path / "evaluation.json").read_text())
    assert "dates_sort_categories" in {warning["check"] for warning in written["data_warnings"]}
    assert "Warnings about the data" in (tmp_path / "evaluation.html").read_text()
    assert "The data has a defect" in next(tmp_path.glob("model_card.*.md")).read_text()


def test_train_warns_and_still_trains(broken: Path, tmp_path: Path) -> None:
    result = run("train", "--data", broken, "--out", tmp_path, "--trees", 5, "--output", "json")
    assert result.exit_code == 0
    assert "Warning: dates_sort_categories" in result.stderr
    assert json.loads(result.stdout)["data_warnings"]
