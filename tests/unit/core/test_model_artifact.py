"""Every defect of a model on disk leads to a ``ModelError`` with its own fault, never to another exception."""

from __future__ import annotations

import io
import json
import pickle
import random
import zipfile
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from flink_jobs.core.models import artifact as model_artifact
from flink_jobs.core.models.manifest import ARRAYS_FILE, MANIFEST_FILE, ChosenBlend, feature_hash, parse_manifest
from flink_jobs.core.models.model import ModelError, ModelFault, load_model, model_directory
from flink_jobs.core.models.trees import arrays as tree_arrays
from flink_jobs.core.models.trees import checks as tree_checks
from tests.unit.core.forest_samples import FEATURES, VERSION, forest, manifest, write

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from flink_jobs.core.models.trees.arrays import ForestArrays


def fault_of(directory: Path, features: tuple[str, ...] = FEATURES) -> ModelFault:
    with pytest.raises(ModelError) as caught:
        load_model(directory, features)
    assert caught.value.detail
    assert str(caught.value).startswith(caught.value.reason.value)
    return caught.value.reason


# --- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [MANIFEST_FILE, ARRAYS_FILE])
def test_missing_file(tmp_path: Path, name: str) -> None:
    directory = write(tmp_path)
    (directory / name).unlink()
    assert fault_of(directory) is ModelFault.MISSING


def test_missing_directory(tmp_path: Path) -> None:
    assert fault_of(tmp_path / "nowhere") is ModelFault.MISSING


def test_a_folder_without_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: ``Path.is_dir`` raises for a forbidden parent; the job restarted in an endless loop."""

    def refuse(_: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "is_dir", refuse)

    with pytest.raises(ModelError, match="Permission denied") as error:
        model_directory(tmp_path, "v1")
    assert error.value.reason is ModelFault.UNREADABLE


def test_a_directory_in_place_of_a_file(tmp_path: Path) -> None:
    directory = write(tmp_path)
    (directory / ARRAYS_FILE).unlink()
    (directory / ARRAYS_FILE).mkdir()
    assert fault_of(directory) is ModelFault.UNREADABLE


@pytest.mark.parametrize("keep", [0, 1, 10, 100, 500, -1])
def test_truncated_arrays(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path) / ARRAYS_FILE
    path.write_bytes(path.read_bytes()[:keep])
    assert fault_of(path.parent) is ModelFault.CORRUPT


def test_damage_at_any_byte_of_the_arrays_is_a_model_error_or_harmless(tmp_path: Path) -> None:
    """Damages each byte of the archive in turn: zip directory, npy headers and data."""
    path = write(tmp_path) / ARRAYS_FILE
    content = path.read_bytes()
    choice = random.Random(1)  # noqa: S311
    intact = load_model(path.parent, FEATURES).score_row((1.0, 1.0))
    refused = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= choice.randrange(1, 256)
        path.write_bytes(damaged)
        try:
            assert load_model(path.parent, FEATURES).score_row((1.0, 1.0)) == intact
        except ModelError as error:
            assert error.reason in {ModelFault.CORRUPT, ModelFault.BAD_ARRAYS}  # noqa: PT017
            refused += 1
    assert refused > len(content) / 3  # the rest are dates, attributes and padding


def test_other_arrays_than_the_manifest_describes(tmp_path: Path) -> None:
    arrays = forest(threshold=[3.5, 1.5, 0.0, 0.0, 0.0, 0.0])
    assert fault_of(write(tmp_path, arrays, manifest(forest()))) is ModelFault.CORRUPT


def savez(directory: Path, **arrays: NDArray[Any]) -> None:
    np.savez(directory / ARRAYS_FILE, **arrays)


def stored() -> dict[str, Any]:
    arrays = forest()
    return {field.name: getattr(arrays, field.name) for field in fields(arrays)}


@pytest.mark.parametrize(
    "change",
    [
        {"feature": np.zeros(6, dtype="<i8")},
        {"threshold": np.zeros(6, dtype="<f4")},
        {"threshold": np.zeros(6, dtype=">f8")},
        {"left": np.zeros((3, 2), dtype="<i4")},
        {"max_samples": np.array(8, dtype="<i4")},
        {"extra": np.zeros(1)},
    ],
    ids=["wider", "narrower", "big-endian", "matrix", "scalar", "surplus"],
)
def test_wrong_type_or_shape(tmp_path: Path, change: dict[str, Any]) -> None:
    directory = write(tmp_path)
    savez(directory, **stored() | change)
    assert fault_of(directory) is ModelFault.BAD_ARRAYS


def test_missing_array(tmp_path: Path) -> None:
    directory = write(tmp_path)
    savez(directory, **{name: array for name, array in stored().items() if name != "left"})
    assert fault_of(directory) is ModelFault.BAD_ARRAYS


class Exploit:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.path.touch, ())


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    directory, trace = write(tmp_path), tmp_path / "executed"
    hostile = np.array([Exploit(trace)] * 6, dtype=object)
    pickle.dumps(hostile)
    savez(directory, **stored() | {"feature": hostile})
    assert fault_of(directory) is ModelFault.BAD_ARRAYS
    assert not trace.exists()


def npy(header: str, data: bytes = b"") -> bytes:
    padded = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode() + data


@pytest.mark.parametrize(
    "content",
    [
        npy("{'descr': '<i2', 'fortran_order': False, 'shape': (1000000000000,), }"),
        npy("{'descr': '<i2', 'fortran_order': False, 'shape': (-1,), }"),
        npy("{'descr': '<i2', 'fortran_order': False, 'shape': (0,), }", b"surplus"),
        npy("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (6,), }"),
        npy("not a header"),
        b"\x93NUMPY\x01\x00\xff\xff{",
        b"",
    ],
    ids=["claims 2 TB", "negative", "surplus bytes", "code", "no header", "short header", "empty"],
)
def test_hostile_npy(tmp_path: Path, content: bytes) -> None:
    directory = write(tmp_path)
    with zipfile.ZipFile(directory / ARRAYS_FILE, "w") as archive:
        for name, array in stored().items():
            if name == "feature":
                archive.writestr(f"{name}.npy", content)
            else:
                buffer = io.BytesIO()
                np.save(buffer, array)
                archive.writestr(f"{name}.npy", buffer.getvalue())
    assert fault_of(directory) is ModelFault.CORRUPT


def test_an_encrypted_archive(tmp_path: Path) -> None:
    path = write(tmp_path) / ARRAYS_FILE
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags, beside each member and at the end
        position = content.find(signature)
        while position >= 0:
            content[position + offset] |= 1
            position = content.find(signature, position + 1)
    path.write_bytes(content)
    assert fault_of(path.parent) is ModelFault.CORRUPT


def test_a_small_archive_that_unpacks_to_gigabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_artifact, "MAX_ARRAY_BYTES", 100_000)
    directory = write(tmp_path)
    huge = stored() | {"threshold": np.zeros(1_000_000)}
    np.savez_compressed(directory / ARRAYS_FILE, **huge)
    assert (directory / ARRAYS_FILE).stat().st_size < 100_000
    assert fault_of(directory) is ModelFault.TOO_LARGE


def test_an_overlong_manifest(tmp_path: Path) -> None:
    directory = write(tmp_path)
    (directory / MANIFEST_FILE).write_bytes(b" " * (model_artifact.MAX_MANIFEST_BYTES + 1))
    assert fault_of(directory) is ModelFault.TOO_LARGE


# --- trees -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"left": [1, 1, -1, -1, -1, -1]}, ModelFault.BAD_TREE),
        ({"left": [1, 0, -1, -1, -1, -1]}, ModelFault.BAD_TREE),
        ({"left": [1, 4, -1, -1, -1, -1]}, ModelFault.BAD_TREE),
        ({"left": [1, 5, -1, -1, -1, -1]}, ModelFault.BAD_TREE),
        ({"left": [1, -2, -1, -1, -1, -1]}, ModelFault.BAD_TREE),
        ({"left": [1, 2**31 - 1, -1, -1, -1, -1]}, ModelFault.BAD_TREE),
        ({"left": [1, -1, -1, -1, -1, -1]}, ModelFault.BAD_TREE),
        ({"right": [4, 3, 3, -1, -1, -1]}, ModelFault.BAD_TREE),
        ({"feature": [2, 0, -1, -1, -1, -1]}, ModelFault.BAD_TREE),
        ({"feature": [1, -2, -1, -1, -1, -1]}, ModelFault.BAD_TREE),
        ({"n_samples": [8, 7, 5, 2, 1, 0]}, ModelFault.BAD_TREE),
        ({"n_samples": [8, 7, 5, 3, 1, 8]}, ModelFault.BAD_TREE),
        ({"max_samples": [7]}, ModelFault.BAD_TREE),
        ({"max_samples": [0]}, ModelFault.BAD_TREE),
        ({"tree_offsets": [0, 6, 5]}, ModelFault.BAD_TREE),
        ({"tree_offsets": [0, 5, 5, 6]}, ModelFault.BAD_TREE),
        ({"tree_offsets": [1, 5, 6]}, ModelFault.BAD_TREE),
        ({"tree_offsets": [0, 5, 7]}, ModelFault.BAD_TREE),
        ({"tree_offsets": [0]}, ModelFault.BAD_ARRAYS),
        ({"tree_offsets": []}, ModelFault.BAD_ARRAYS),
        ({"threshold": [np.nan, 1.5, 0.0, 0.0, 0.0, 0.0]}, ModelFault.BAD_ARRAYS),
        ({"threshold": [np.inf, 1.5, 0.0, 0.0, 0.0, 0.0]}, ModelFault.BAD_ARRAYS),
        ({"threshold": [-1e39, 1.5, 0.0, 0.0, 0.0, 0.0]}, ModelFault.BAD_ARRAYS),
        ({"threshold": [3.0]}, ModelFault.BAD_ARRAYS),
        ({"max_samples": [8, 8]}, ModelFault.BAD_ARRAYS),
    ],
)
def test_arrays_that_are_not_a_forest_are_refused(tmp_path: Path, change: dict[str, Any], fault: ModelFault) -> None:
    """The digest matches: these arrays come from a faulty writer, not from damage."""
    assert fault_of(write(tmp_path, forest(**change))) is fault


@pytest.mark.parametrize(
    "arrays",
    [
        replace(forest(), feature=forest().feature.astype(np.int64)),
        replace(forest(), threshold=forest().threshold.reshape(2, 3)),
    ],
    ids=["type", "shape"],
)
def test_the_check_does_not_rely_on_the_reader(arrays: ForestArrays) -> None:
    with pytest.raises(ModelError) as caught:
        tree_checks.check_trees(arrays, len(FEATURES))
    assert caught.value.reason is ModelFault.BAD_ARRAYS


@pytest.mark.parametrize("cap", ["MAX_TREES", "MAX_NODES", "MAX_FEATURES"])
def test_caps_on_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cap: str) -> None:
    monkeypatch.setattr(tree_checks, cap, 1)
    assert fault_of(write(tmp_path)) is ModelFault.TOO_LARGE


def test_a_chain_of_splits_is_too_deep(tmp_path: Path) -> None:
    depth = tree_checks.MAX_DEPTH + 2
    feature, left, right, samples = [], [], [], []
    for level in range(depth):  # node 2k splits, node 2k + 1 is its left leaf
        feature += [0, -1]
        left += [2 * level + 1, -1]
        right += [2 * level + 2, -1]
        samples += [depth + 1 - level, 1]
    arrays = forest(
        tree_offsets=[0, 2 * depth + 1],
        feature=[*feature, -1],
        threshold=[float(node) for node in range(2 * depth)] + [0.0],
        left=[*left, -1],
        right=[*right, -1],
        n_samples=[*samples, 1],
        max_samples=[depth + 1],
    )
    assert fault_of(write(tmp_path, arrays)) is ModelFault.TOO_LARGE


BLEND = asdict(ChosenBlend(0.85, 0.5, 0.9, 0.8, 1_000, 50))


# --- manifest --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"schema_version": 3}, ModelFault.NEWER_SCHEMA),
        ({"schema_version": 0}, ModelFault.BAD_MANIFEST),
        ({"schema_version": True}, ModelFault.BAD_MANIFEST),
        ({"kind": "neural_network"}, ModelFault.UNKNOWN_KIND),
        ({"kind": None}, ModelFault.BAD_MANIFEST),
        ({"version": "v2"}, ModelFault.BAD_MANIFEST),
        ({"feature_names": list(FEATURES[::-1])}, ModelFault.FEATURE_MISMATCH),
        ({"feature_names": [*FEATURES, FEATURES[0]]}, ModelFault.FEATURE_MISMATCH),
        ({"kind": "gradient_boosting", "schema_version": 1}, ModelFault.UNKNOWN_KIND),
        ({"kind": "gradient_boosting"}, ModelFault.BAD_ARRAYS),
        ({"budget": {"alerts_per_day": 5}}, ModelFault.BAD_MANIFEST),
        ({"budget": []}, ModelFault.BAD_MANIFEST),
        ({"blend": {"alpha": 0.5, "threshold": 0.5}}, ModelFault.BAD_MANIFEST),
        ({"blend": BLEND | {"alpha": 1.5}}, ModelFault.BAD_MANIFEST),
        ({"blend": BLEND | {"threshold": -0.1}}, ModelFault.BAD_MANIFEST),
        ({"blend": BLEND | {"alpha": "0.5"}}, ModelFault.BAD_MANIFEST),
        ({"reference": []}, ModelFault.BAD_MANIFEST),
        ({"reference": {"rows": -1, "bins": {}}}, ModelFault.BAD_MANIFEST),
        ({"feature_names": [*FEATURES, "surplus"]}, ModelFault.FEATURE_MISMATCH),
        ({"feature_hash": "0" * 64}, ModelFault.FEATURE_MISMATCH),
        ({"feature_names": [1, 2]}, ModelFault.BAD_MANIFEST),
        ({"arrays_sha256": None}, ModelFault.BAD_MANIFEST),
        ({"arrays_sha256": "0" * 64}, ModelFault.CORRUPT),
        ({"metrics": {"roc_auc": "high"}}, ModelFault.BAD_MANIFEST),
        ({"training_data": []}, ModelFault.BAD_MANIFEST),
        ({"feature_quantiles": {"amount_zscore": 1}}, ModelFault.BAD_MANIFEST),
    ],
)
def test_wrong_manifest(tmp_path: Path, change: dict[str, Any], fault: ModelFault) -> None:
    path = write(tmp_path) / MANIFEST_FILE
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    assert fault_of(path.parent) is fault


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b'{"schema_version": NaN}', b"[" * 5_000])
def test_a_manifest_that_is_not_a_json_object(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path) / MANIFEST_FILE
    path.write_bytes(content)
    assert fault_of(path.parent) is ModelFault.BAD_MANIFEST


def test_every_manifest_field_is_required(tmp_path: Path) -> None:
    path = write(tmp_path) / MANIFEST_FILE
    complete = json.loads(path.read_bytes())
    assert len(complete) == 17
    for key in complete.keys() - {"budget", "reference", "blend"}:
        path.write_text(json.dumps({name: value for name, value in complete.items() if name != key}))
        assert fault_of(path.parent) is ModelFault.BAD_MANIFEST, key


def test_a_manifest_survives_writing_and_reading() -> None:
    written = manifest(forest())
    assert parse_manifest(written.to_json()) == written
    with_blend = replace(written, blend=ChosenBlend(**BLEND))
    assert parse_manifest(with_blend.to_json()) == with_blend


def test_a_model_of_an_earlier_release_has_no_blend_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path) / MANIFEST_FILE
    document = json.loads(path.read_bytes())
    del document["blend"]
    path.write_text(json.dumps(document))
    assert load_model(path.parent, FEATURES).own_blend is None
    path.write_text(json.dumps(document | {"blend": BLEND}))
    assert load_model(path.parent, FEATURES).own_blend == (0.85, 0.5)


def test_a_model_can_use_only_features_that_the_program_computes(tmp_path: Path) -> None:
    assert fault_of(write(tmp_path), FEATURES[:1]) is ModelFault.FEATURE_MISMATCH
    assert load_model(tmp_path / VERSION, ("geo_speed_kmh", *FEATURES)).version == VERSION


def test_the_feature_hash_depends_on_order_and_borders() -> None:
    assert len({feature_hash(names) for names in [("a", "b"), ("b", "a"), ("a,b",), ("ab",), ()]}) == 5


# --- which version ---------------------------------------------------------------------------------------------


def test_current_names_the_version(tmp_path: Path) -> None:
    directory = write(tmp_path)
    (tmp_path / "current").write_text(f"{VERSION}\n")
    assert model_directory(tmp_path) == directory
    assert model_directory(tmp_path, VERSION) == directory


@pytest.mark.parametrize("version", ["../v1", "/etc", "", ".", "..", "v1/", "a\0b", "current", "v" * 65, "no-such"])
def test_a_version_is_never_a_path(tmp_path: Path, version: str) -> None:
    write(tmp_path)
    for named in (False, True):
        (tmp_path / "current").write_text(version)
        with pytest.raises(ModelError) as caught:
            model_directory(tmp_path, version if named else None)
        assert caught.value.reason is ModelFault.MISSING


def test_a_path_with_two_dots_is_not_a_version(tmp_path: Path) -> None:
    directory = write(tmp_path)
    (directory / "inner").mkdir()
    assert fault_of(directory / "inner" / "..") is ModelFault.MISSING


def test_no_current(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        model_directory(tmp_path)
    assert caught.value.reason is ModelFault.MISSING


def test_the_digest_covers_every_array() -> None:
    original = forest()
    digests = {tree_arrays.arrays_digest(original.named())}
    for field in fields(original):
        changed = getattr(original, field.name).copy()
        changed[-1] += 1
        digests.add(tree_arrays.arrays_digest(replace(original, **{field.name: changed}).named()))
    assert len(digests) == 1 + len(fields(original))
