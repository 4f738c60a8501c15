"""``streamflow model import``: publishes a model of another library, and says why one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_jobs.cli.app import app
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.model import load_model
from flink_jobs.errors import UserError

DATA = Path(__file__).parents[2] / "data" / "foreign_models"


def run(folder: Path, *arguments: str) -> str:
    command = ["model", "import", *arguments, "--trained-until", "2024-03-01", "--out", str(folder)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_an_imported_model_can_be_loaded_and_is_not_made_current(tmp_path: Path) -> None:
    parity = str(DATA / "xgboost_rows.csv")
    arguments = (str(DATA / "xgboost.json"), "--format", "xgboost", "--parity", parity)
    document = json.loads(run(tmp_path, *arguments, "--output", "json"))
    assert document["parameters"]["imported_from"] == "xgboost"
    assert load_model(Path(document["directory"]), FEATURE_NAMES).version == document["version"]
    assert not (tmp_path / "current").exists()
    text = run(tmp_path, *arguments)  # the same model again is no error
    assert f"Next: streamflow model register {document['version']}" in text
    assert "on 60 rows; 2e-06 is allowed" in text
    assert "no own alpha and threshold" in text


def test_a_refused_model_writes_nothing(tmp_path: Path) -> None:
    file, parity = str(DATA / "lightgbm.txt"), str(DATA / "lightgbm_rows.csv")
    with pytest.raises(UserError, match="does not compute these inputs of the model: a, b, c, d, f"):
        run(tmp_path, file, "--format", "lightgbm", "--parity", parity, "--names", "a,b,c,d,e,f")
    assert not list(tmp_path.iterdir())
