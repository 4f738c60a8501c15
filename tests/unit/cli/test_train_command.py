"""``streamflow train`` on files, with text and with JSON output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flink_jobs.cli.app import app
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.model import load_model, model_directory
from flink_jobs.errors import UserError
from tests.own_features import FOLDER
from tests.unit.ml.synthetic import events

BOOSTED = ("--kind", "gradient_boosting")


@pytest.fixture
def card_file(tmp_path: Path) -> Path:
    path = tmp_path / "cards.jsonl"
    with path.open("w") as file:
        for event in events(400):
            file.write(json.dumps(event.transaction | {"is_fraud": int(bool(event.label))}) + "\n")
    return path


def run(*arguments: object) -> dict[str, object]:
    result = CliRunner().invoke(app, ["train", *map(str, arguments), "--output", "json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert isinstance(document, dict)
    return document


def test_trains_a_model_that_jobs_find(card_file: Path, tmp_path: Path) -> None:
    document = run("--data", card_file, "--out", tmp_path / "models", "--version", "first", "--trees", 10)
    model = load_model(model_directory(tmp_path / "models"), FEATURE_NAMES)
    assert model.version == document["version"] == "first"
    assert document["metrics"]
    assert model.manifest.training_data.source == "cards.jsonl"
    assert len(model.manifest.training_data.source_sha256 or "") == 64


def test_the_default_name_depends_on_nothing_but_data_and_options(card_file: Path, tmp_path: Path) -> None:
    options = ("--data", card_file, "--trees", 5, "--out")
    names = [run(*options, tmp_path / folder)["version"] for folder in ("a", "b", "a")]
    assert len(set(names)) == 1
    assert run(*options, tmp_path / "a", "--seed", 8)["version"] != names[0]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--risk", "merchant"), "--risk needs boosted trees"),
        (("--risk", "merchant", *BOOSTED, "--label-delay-days", "3"), "needs a delay of labels of 7 days"),
        (("--risk", "shop", *BOOSTED), "--risk: shop has no history; choose from merchant, terminal, device, card"),
        (("--risk", " , ", *BOOSTED), "--risk names no entity"),
        (("--risk", "merchant,device", *BOOSTED), "has a value of device, which --risk names"),
    ],
)
def test_inputs_of_entities_that_the_stream_would_not_compute_are_refused(
    card_file: Path, options: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        run("--data", card_file, *options)


def test_current_can_stay_where_it_is(card_file: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    run("--data", card_file, "--out", models, "--version", "one", "--trees", 5)
    run("--data", card_file, "--out", models, "--version", "two", "--trees", 6, "--no-current")
    assert model_directory(models).name == "one"


def test_plain_output_names_folder_and_metrics(card_file: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["train", "--data", str(card_file), "--out", str(tmp_path), "--trees", "5"])
    assert result.exit_code == 0
    assert "roc auc" in result.stdout
    assert str(tmp_path) in result.stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--data", "nowhere.csv", "--mapping", "tests/data/card_transactions.mapping.yaml"), "no file nowhere.csv"),
        (("--data", "pyproject.toml"), "unknown file type|no column mapping"),
    ],
)
def test_errors_say_what_to_do(arguments: tuple[str, ...], problem: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        CliRunner().invoke(app, ["train", *arguments, "--out", str(tmp_path)], catch_exceptions=False)
    assert caught.value.fix


def test_a_taken_version_is_refused(card_file: Path, tmp_path: Path) -> None:
    run("--data", card_file, "--out", tmp_path, "--version", "v", "--trees", 5)
    with pytest.raises(UserError, match="never changes"):
        run("--data", card_file, "--out", tmp_path, "--version", "v", "--trees", 6)


def test_rows_left_out_are_reported(card_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path / "home"))
    good = card_file.read_text().splitlines()
    unmapped = {key: value for key, value in json.loads(good[0]).items() if key != "amount_minor"}
    rejected = json.loads(good[0]) | {"transaction_id": "negative", "amount_minor": -5}
    card_file.write_text("\n".join([*good, json.dumps(unmapped), json.dumps(rejected)]))
    arguments = ["train", "--data", str(card_file), "--out", str(tmp_path), "--trees", "5", "--skip-bad-rows"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "1 rows were skipped (" in result.stderr
    assert "1 rows were left out because the detector would reject them (NEGATIVE_AMOUNT 1)" in result.stderr


def test_help_does_not_wait_for_scikit_learn() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from flink_jobs.cli.app import app;"
        "assert CliRunner().invoke(app, ['train', '--help']).exit_code == 0; assert 'sklearn' not in sys.modules"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_own_features_and_rows_that_are_left_out_are_recorded(
    card_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        "--data",
        card_file,
        "--kind",
        "gradient_boosting",
        "--trees",
        5,
        "--label-delay-days",
        0,
        "--own-features",
    )
    with pytest.raises(UserError, match="there are no own features"):
        run(*options, "--out", tmp_path)
    monkeypatch.setenv("STREAMFLOW_FEATURES", "my_bank.features")
    monkeypatch.setenv("STREAMFLOW_FEATURES_DIR", str(FOLDER))
    listed = tmp_path / "customers.txt"
    listed.write_text("c1\n")
    chosen = ("--train-since", "2025-06-15T16:00:00", "--exclude-customers", listed)
    document = run(*options, *chosen, "--out", tmp_path / "models")
    parameters = document["parameters"]
    assert isinstance(parameters, dict)
    assert (parameters["excluded_customers"], parameters["own_features"]) == (1, True)
    assert parameters["train_since_ms"] == 1_750_003_200_000
    card = Path(str(document["directory"])) / "model_card.md"
    assert "The rows of 1 listed customers were left out" in card.read_text()
    with pytest.raises(UserError, match="--own-features needs boosted trees"):
        run("--data", card_file, "--own-features", "--out", tmp_path)


def test_own_features_are_shown_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, ["own-features", *arguments], catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.stdout

    monkeypatch.delenv("STREAMFLOW_FEATURES", raising=False)
    assert "own_quiet_days" in asked("show", "my_bank.features", "--dir", str(FOLDER))
    (tmp_path / "bad.py").write_text(
        "from flink_jobs.core.own_features import feature\n"
        '@feature(unit="u", low=0, high=1, neutral=0, absent="a", meaning="m")\n'
        "def f(customer, transaction):\n    return 2\n"
    )
    (found,) = json.loads(asked("check", "bad", "--dir", str(tmp_path), "--output", "json", code=1))
    assert "no number from 0 to 1" in found["problems"][0]
    assert "FAILED" in asked("check", "bad", "--dir", str(tmp_path), code=1)
    with pytest.raises(UserError, match="no module is named"):
        asked("check")
    with pytest.raises(UserError, match="there is no module nothing"):
        asked("show", "nothing", "--dir", str(tmp_path))
