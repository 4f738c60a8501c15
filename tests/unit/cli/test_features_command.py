"""``streamflow features`` writes the table, and names a model version that does not exist before it reads the data."""

from __future__ import annotations

import json
from pathlib import Path

from pyarrow import parquet
from typer.testing import CliRunner, Result

from flink_jobs.cli.app import app
from flink_jobs.core.features.table import FEATURE_NAMES
from tests.unit.ml.sanity.cards import sound, write


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_table_with_the_score_of_a_trained_model(tmp_path: Path) -> None:
    cards, models, table = write(sound(), tmp_path / "cards.csv"), tmp_path / "models", tmp_path / "rows.parquet"
    trained = run("train", "--data", cards, "--out", models, "--version", "one", "--trees", "5")
    assert trained.exit_code == 0, trained.output
    result = run("features", table, "--data", cards, "--score", "one", "--models", models, "--output", "json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    written = parquet.read_table(table)
    assert document["rows"] == written.num_rows > 0
    assert document["columns"] == written.column_names
    assert {*FEATURE_NAMES, "is_fraud", "score_one"} <= set(written.column_names)
    assert all(0.0 <= score <= 1.0 for score in written["score_one"].to_pylist())


def test_an_unknown_model_version_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    result = run(
        "features", tmp_path / "rows.csv", "--data", tmp_path / "no.csv", "--score", "none", "--models", tmp_path
    )
    assert result.exit_code != 0
    assert "no model 'none'" in str(result.exception)
    assert "--score" in str(result.exception)
