from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flink_jobs.demo.preparation import Timings, finish_training, sha256, trained_version
from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT
from ml.parameters import TrainingParameters

PARAMETERS = TrainingParameters(n_estimators=3)
HEADER = '{"transaction_id":"t%d","customer_id":"c","amount_minor":%d,"currency":"USD","event_time_ms":%d}\n'


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A card file and a folder with the model that it gave."""
    folder = tmp_path_factory.mktemp("trained")
    data, models = folder / "cards.jsonl", folder / "models"
    data.write_text("".join(HEADER % (n, n * 7 % 900, 1_700_000_000_000 + n * 60_000) for n in range(200)))
    command = [sys.executable, "-m", "flink_jobs.cli", "train", "--data", str(data), "--out", str(models)]
    subprocess.run([*command, "--trees", "3"], check=True, cwd=REPO_ROOT, capture_output=True)
    return data, models


def test_a_model_of_the_same_data_and_parameters_is_used_again(trained: tuple[Path, Path]) -> None:
    data, models = trained
    version = trained_version(models, data, PARAMETERS)
    assert version is not None
    assert (models / version).is_dir()


def test_another_seed_or_file_or_a_missing_folder_needs_training(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, models = trained
    other = tmp_path / "other.jsonl"
    other.write_text(data.read_text() + HEADER % (999, 1, 1_800_000_000_000))
    assert trained_version(models, data, TrainingParameters(n_estimators=3, seed=8)) is None
    assert trained_version(models, other, PARAMETERS) is None
    assert trained_version(tmp_path / "nowhere", data, PARAMETERS) is None


def test_a_damaged_model_is_not_used(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, models = trained
    version = trained_version(models, data, PARAMETERS)
    copy = tmp_path / str(version)
    copy.mkdir()
    (copy / "manifest.json").write_bytes((models / str(version) / "manifest.json").read_bytes())
    (copy / "model.npz").write_bytes(b"cut short")
    assert trained_version(tmp_path, data, PARAMETERS) is None


def test_a_missing_card_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        sha256(tmp_path / "none.csv")


def test_a_failed_training_names_its_cause() -> None:
    script = "import sys; print('first', file=sys.stderr); print('no rows', file=sys.stderr); sys.exit(2)"
    training = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with pytest.raises(UserError, match="no rows"):
        finish_training(training)


def test_timings_include_failed_parts() -> None:
    timings = Timings()
    with pytest.raises(ValueError, match="x"), timings.measure("part"):
        raise ValueError("x")
    assert timings.seconds["part"] >= 0
