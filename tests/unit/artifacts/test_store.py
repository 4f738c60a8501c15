"""One suite for both stores: a directory, and a bucket of a real HTTP server with an S3 interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flink_jobs.artifacts.artifact_store import ArtifactStore, fetch, open_store
from flink_jobs.artifacts.finder import find_model
from flink_jobs.core.models.manifest import ARRAYS_FILE, MANIFEST_FILE
from flink_jobs.core.models.model import ModelError, ModelFault
from tests.s3_server import create_bucket, s3_server
from tests.unit.job.samples import write_model

Places = dict[str, Callable[[], str]]


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(params=["directory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the folder or URI of an empty store."""
    if request.param == "directory":
        return str(tmp_path / "store")
    return create_bucket(monkeypatch, request.getfixturevalue("s3_endpoint"), f"models-{abs(hash(tmp_path)):x}")


@pytest.fixture
def store(place: str) -> Iterator[ArtifactStore]:
    with open_store(place) as opened:
        yield opened


def fault(error: pytest.ExceptionInfo[ModelError]) -> ModelFault:
    return error.value.reason


def test_a_published_version_is_fetched_and_loaded(tmp_path: Path, place: str, store: ArtifactStore) -> None:
    uri = store.publish(write_model(tmp_path / "here", "v1"))
    assert uri.endswith("/v1")
    with open_store(uri.rpartition("/")[0]) as again:
        assert again.read("v1", MANIFEST_FILE)

    there = tmp_path / "there"
    model = find_model(str(there), place, "v1", None)

    assert model.version == "v1"
    assert sorted(path.name for path in there.iterdir()) == ["v1"], "no temporary folder is left beside it"
    assert find_model(str(there), None, "v1", model.digest).digest == model.digest, (
        "the second time, the local folder has it"
    )


def test_publishing_again_changes_nothing_and_other_files_are_refused(tmp_path: Path, store: ArtifactStore) -> None:
    directory = write_model(tmp_path / "here", "v1")
    assert store.publish(directory) == store.publish(directory)

    other = write_model(tmp_path / "elsewhere", "v1", n_samples=[8, 7, 6, 1, 1, 8])
    with pytest.raises(ModelError, match="holds another model") as caught:
        store.publish(other)
    assert fault(caught) is ModelFault.DIGEST_MISMATCH
    assert store.read("v1", ARRAYS_FILE) == (directory / ARRAYS_FILE).read_bytes()


def test_a_missing_version(tmp_path: Path, place: str, store: ArtifactStore) -> None:
    with pytest.raises(ModelError) as caught:
        fetch(store, "v9", tmp_path / "there")
    assert fault(caught) is ModelFault.MISSING
    assert not list((tmp_path / "there").glob("*"))
    with pytest.raises(ModelError) as caught:
        find_model(str(tmp_path), place, "../v1", None)
    assert fault(caught) is ModelFault.MISSING


def test_a_store_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "test")
    with pytest.raises(ModelError) as caught:
        find_model(str(tmp_path), "s3://models", "v1", None)
    assert fault(caught) is ModelFault.UNREADABLE


def test_arrays_with_another_digest_are_refused(tmp_path: Path) -> None:
    write_model(tmp_path, "v1")
    with pytest.raises(ModelError, match="expected 000000000000") as caught:
        find_model(str(tmp_path), None, "v1", "0" * 64)
    assert fault(caught) is ModelFault.DIGEST_MISMATCH
