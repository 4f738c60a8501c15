"""The version of the code that a model or a report names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flink_jobs.cli import code_version


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A folder as in an image: with pyproject.toml, without a git checkout."""
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.3"\n')
    monkeypatch.setattr(code_version, "REPO_ROOT", tmp_path)
    return monkeypatch


def test_an_image_names_the_commit_of_its_build(image: pytest.MonkeyPatch) -> None:
    image.setenv("STREAMFLOW_REVISION", "0123456789abcdef")
    assert code_version.code_version() == "1.2.3+0123456789ab"


def test_an_image_of_no_known_commit_names_the_release(image: pytest.MonkeyPatch) -> None:
    image.setenv("STREAMFLOW_REVISION", "")
    assert code_version.code_version() == "1.2.3"


def test_a_checkout_names_its_own_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFLOW_REVISION", "another")
    assert re.fullmatch(r"\d+\.\d+\.\d+(\+[0-9a-f]{12})?", code_version.code_version())
