"""An artifact is published completely or not at all, and never replaces another model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flink_jobs.core.models.artifact import ModelArrays, read_artifact
from flink_jobs.core.models.manifest import ARRAYS_FILE, MANIFEST_FILE
from flink_jobs.core.models.model import ModelError, ModelFault, load_model, model_directory
from flink_jobs.errors import UserError
from ml import artifact_writer
from ml.artifact_writer import set_current, write_artifact
from tests.unit.core.forest_samples import FEATURES, forest, manifest

ARRAYS = ModelArrays(forest())
MANIFEST = manifest(ARRAYS.trees)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_written_artifact_can_be_served(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path / "new" / "models", MANIFEST, ARRAYS)
    assert directory == tmp_path / "new" / "models" / "v1"
    written_manifest, written_arrays = read_artifact(directory)
    assert written_manifest == MANIFEST
    assert written_arrays.digest() == MANIFEST.arrays_sha256
    assert load_model(directory, FEATURES).version == "v1"


def test_only_the_version_is_left_behind(tmp_path: Path) -> None:
    directory = write_artifact(tmp_path, MANIFEST, ARRAYS)
    set_current(tmp_path, "v1")
    assert names(tmp_path) == ["current", "v1"]
    assert names(directory) == [MANIFEST_FILE, ARRAYS_FILE]


def test_the_same_arrays_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (write_artifact(tmp_path / name, MANIFEST, ARRAYS) / ARRAYS_FILE for name in "ab")
    assert one.read_bytes() == other.read_bytes()


def test_writing_the_same_model_again_changes_nothing(tmp_path: Path) -> None:
    path = write_artifact(tmp_path, MANIFEST, ARRAYS) / MANIFEST_FILE
    before = path.read_bytes()
    write_artifact(tmp_path, replace(MANIFEST, created_at="later"), ARRAYS)
    assert path.read_bytes() == before


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    write_artifact(tmp_path, MANIFEST, ARRAYS)
    other = forest(threshold=[9.0, 1.5, 0.0, 0.0, 0.0, 0.0])
    with pytest.raises(UserError, match="never changes"):
        write_artifact(tmp_path, manifest(other), ModelArrays(other))
    assert read_artifact(tmp_path / "v1")[1].digest() == ARRAYS.digest()


def test_a_broken_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    with pytest.raises(UserError, match="not a readable model"):
        write_artifact(tmp_path, MANIFEST, ARRAYS)


def test_a_model_that_cannot_be_served_is_not_published(tmp_path: Path) -> None:
    wrong = replace(MANIFEST, arrays_sha256="0" * 64)
    with pytest.raises(ModelError) as caught:
        write_artifact(tmp_path, wrong, ARRAYS)
    assert caught.value.reason is ModelFault.CORRUPT
    assert names(tmp_path) == []


def test_a_crash_during_writing_publishes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", no_space)
    with pytest.raises(OSError, match="No space"):
        write_artifact(tmp_path, MANIFEST, ARRAYS)
    assert names(tmp_path) == []


def test_two_writers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process publishes between our check and our rename."""
    load = load_model

    def published_meanwhile(draft: Path, features: tuple[str, ...]) -> None:
        load(draft, features)
        monkeypatch.setattr(artifact_writer, "load_model", load)
        write_artifact(tmp_path, MANIFEST, ARRAYS)

    monkeypatch.setattr(artifact_writer, "load_model", published_meanwhile)
    assert write_artifact(tmp_path, MANIFEST, ARRAYS) == tmp_path / "v1"
    assert names(tmp_path) == ["v1"]


@pytest.mark.parametrize("version", ["", "..", "a/b", "current", ".hidden", "x" * 65])
def test_names_that_cannot_be_versions(tmp_path: Path, version: str) -> None:
    with pytest.raises(UserError, match="is not a valid model version"):
        write_artifact(tmp_path, replace(MANIFEST, version=version), ARRAYS)


def test_current_moves(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        write_artifact(tmp_path, replace(MANIFEST, version=version), ARRAYS)
        set_current(tmp_path, version)
        assert model_directory(tmp_path).name == version
    assert (tmp_path / "current").read_text() == "v2\n"


def test_current_names_only_existing_versions(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model 'v9'"):
        set_current(tmp_path, "v9")
    assert names(tmp_path) == []
