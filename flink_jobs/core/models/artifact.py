"""Reads a model artifact from disk: with size limits, without pickle, and with a check of every value it uses.

- ``<model_dir>/current``: plain text, the version to serve
- ``<model_dir>/<version>/manifest.json``: see ``manifest.py``
- ``<model_dir>/<version>/model.npz``: a zip of ``.npy`` files: the trees (``trees/arrays.py``), and optional groups of
  arrays, each group complete or absent (``calibration.py``, ``encodings.py``)
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flink_jobs.core.models.calibration import CURVE_ARRAYS
from flink_jobs.core.models.encodings import ENCODING_ARRAYS
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.manifest import ARRAYS_FILE, CURRENT_FILE, MANIFEST_FILE, is_model_version, parse_manifest
from flink_jobs.core.models.trees.arrays import ARRAY_DTYPES, FAMILIES, TreeArrays, array_names, arrays_digest

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from flink_jobs.core.models.manifest import ModelManifest
    from flink_jobs.core.models.trees.arrays import Arrays

MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_ARRAYS_FILE_BYTES: Final = 64 << 20
ARTIFACT_FILES: Final = {MANIFEST_FILE: MAX_MANIFEST_BYTES, ARRAYS_FILE: MAX_ARRAYS_FILE_BYTES}
"""The files of an artifact, and the maximum size of each in bytes."""
MAX_ARRAY_BYTES: Final = 16 << 20
"""Maximum uncompressed size of one array; a small archive that unpacks to gigabytes is refused."""
MAX_POINTER_BYTES: Final = 256
_FLAG_ENCRYPTED: Final = 0x1
OPTIONAL_ARRAYS: Final[tuple[dict[str, np.dtype[np.generic]], ...]] = (
    {name: np.dtype("<f8") for name in CURVE_ARRAYS},
    *ENCODING_ARRAYS,
)
"""Optional groups of arrays with the type of each array; an artifact holds a group completely or not at all."""
DTYPES: Final = ARRAY_DTYPES | {name: dtype for group in OPTIONAL_ARRAYS for name, dtype in group.items()}


@dataclass(frozen=True, slots=True)
class ModelArrays:
    """The content of ``model.npz``.

    Attributes:
        trees: the arrays of the model family.
        extras: the arrays of the optional groups in the file.
    """

    trees: TreeArrays
    extras: Arrays = field(default_factory=dict)

    def named(self) -> dict[str, NDArray[np.generic]]:
        """Return all arrays by their stored names."""
        return self.trees.named() | dict(self.extras)

    def digest(self) -> str:
        """Return the SHA-256 (hex) of all arrays, which identifies the model."""
        return arrays_digest(self.named())


def model_directory(model_dir: Path, version: str | None = None) -> Path:
    """Return the directory of a version, by default of the version in the file ``current``.

    Raises:
        ModelError: ``MISSING`` when the version does not exist, or when the text is not a version name: versions
            arrive in control messages and must never be paths. ``UNREADABLE`` when access is denied.
    """
    if version is None:
        pointer = model_dir / CURRENT_FILE
        version = read_bounded(pointer, MAX_POINTER_BYTES).decode("utf-8", "replace").strip()
    if not is_model_version(version):
        raise ModelError(ModelFault.MISSING, f"{version[:80]!r} is not a model version")
    directory = model_dir / version
    try:
        exists = directory.is_dir()
    except OSError as error:
        raise ModelError(ModelFault.UNREADABLE, f"{directory}: {error.strerror}") from error
    if not exists:
        raise ModelError(ModelFault.MISSING, f"no model {version!r} in {model_dir}; train one with `streamflow train`")
    return directory


def read_artifact(directory: Path) -> tuple[ModelManifest, ModelArrays]:
    """Read both files and compare the arrays with the digest in the manifest.

    Raises:
        ModelError: the first fault found.
    """
    manifest = parse_manifest(read_bounded(directory / MANIFEST_FILE, MAX_MANIFEST_BYTES))
    arrays = parse_arrays(read_bounded(directory / ARRAYS_FILE, MAX_ARRAYS_FILE_BYTES), FAMILIES[manifest.kind])
    if arrays.digest() != manifest.arrays_sha256:
        detail = f"{directory / ARRAYS_FILE} differs from its manifest (digest); train the model again"
        raise ModelError(ModelFault.CORRUPT, detail)
    return manifest, arrays


def read_bounded(path: Path, limit: int) -> bytes:
    """Return the bytes of a file of at most ``limit`` bytes.

    Raises:
        ModelError: ``MISSING``, ``UNREADABLE``, or ``TOO_LARGE`` for a longer file.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(min(size, limit) + 1)  # read() allocates as many bytes as it is asked for
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(ModelFault.MISSING, f"no file {path}; train a model with `streamflow train`") from error
    except OSError as error:
        raise ModelError(ModelFault.UNREADABLE, f"{path}: {error.strerror}") from error
    if len(content) > limit:
        raise ModelError(ModelFault.TOO_LARGE, f"{path} is longer than {limit:,} bytes")
    return content


def parse_arrays(content: bytes, family: type[TreeArrays]) -> ModelArrays:
    """Parse the arrays of an ``.npz`` file; ``check_trees`` and the other checks validate their values.

    Raises:
        ModelError: ``CORRUPT``, ``BAD_ARRAYS`` or ``TOO_LARGE``.
    """
    required = array_names(family)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = sorted(entry.filename for entry in archive.infolist())
            extras = [name for group in OPTIONAL_ARRAYS if f"{next(iter(group))}.npy" in members for name in group]
            expected = sorted(f"{name}.npy" for name in (*required, *extras))
            if members != expected:
                raise ModelError(ModelFault.BAD_ARRAYS, f"{ARRAYS_FILE} holds {members[:20]}; expected {expected}")
            read = {name: _parse_array(name, _member(archive, name)) for name in (*required, *extras)}
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        raise ModelError(ModelFault.CORRUPT, f"{ARRAYS_FILE} is damaged: {error}; train the model again") from error
    return ModelArrays(family(**{name: read[name] for name in required}), {name: read[name] for name in extras})


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    entry = archive.getinfo(f"{name}.npy")
    if entry.flag_bits & _FLAG_ENCRYPTED:
        raise ModelError(ModelFault.CORRUPT, f"array {name!r} is encrypted")
    with archive.open(entry) as file:
        content = file.read(MAX_ARRAY_BYTES + 1)  # the size in the archive's directory can be false
    if len(content) > MAX_ARRAY_BYTES:
        raise ModelError(ModelFault.TOO_LARGE, f"array {name!r} is longer than {MAX_ARRAY_BYTES:,} bytes")
    return content


def _parse_array(name: str, content: bytes) -> NDArray[Any]:
    """Parse a ``.npy`` file without numpy's reader, which allocates the size in the header before it reads the data."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)  # type: ignore[no-untyped-call]
    if version != (1, 0):
        raise ModelError(ModelFault.BAD_ARRAYS, f"array {name!r} is in .npy format {version}, not 1.0")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)  # type: ignore[no-untyped-call]
    if dtype != DTYPES[name] or len(shape) != 1:
        detail = f"array {name!r} is {dtype} of shape {shape}, not a vector of {DTYPES[name]}"
        raise ModelError(ModelFault.BAD_ARRAYS, detail)
    data = content[file.tell() :]
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ModelError(ModelFault.CORRUPT, f"array {name!r} has shape {shape} but {len(data):,} bytes of data")
    return np.frombuffer(data, dtype=dtype)
