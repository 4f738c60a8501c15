"""A model as the job uses it: loaded once, then scoring one transaction at a time.

This code runs inside the TaskManager's JVM. It imports only the standard library, numpy and orjson, because a C
extension that acquires the GIL by itself would deadlock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flink_jobs.core.features.entity_risk import ENTITY_OF
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.artifact import model_directory, read_artifact
from flink_jobs.core.models.encodings import ENCODING_NAMES
from flink_jobs.core.models.families import Compiled, compile_model
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.inputs import compile_inputs
from flink_jobs.core.models.manifest import feature_hash, is_model_version
from flink_jobs.core.models.own_use import check_used
from flink_jobs.core.models.trees.checks import check_trees
from flink_jobs.core.own_features.declaration import is_own
from flink_jobs.core.scoring import OwnBlend

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.core.features.vector import FeatureVector
    from flink_jobs.core.models.artifact import ModelArrays
    from flink_jobs.core.models.inputs import Histories, Inputs
    from flink_jobs.core.models.manifest import ModelManifest
    from flink_jobs.core.models.trees.arrays import Arrays
    from flink_jobs.core.models.trees.walk import RowScore
    from flink_jobs.core.own_features.values import OwnValues
    from flink_jobs.core.probability import ProbabilityCurve
    from flink_jobs.core.transaction import Transaction

OFFLINE_FEATURES: Final = (*FEATURE_NAMES, *ENTITY_OF)
"""The inputs that a replay of history computes."""
__all__ = ["OFFLINE_FEATURES", "ModelError", "ModelFault", "TreeModel", "build_model", "load_model", "model_directory"]


@dataclass(frozen=True, slots=True)
class TreeModel:
    """A model of either family, ready to score.

    Attributes:
        manifest: the manifest of its artifact.
        inputs: function from features and transaction to the row of inputs, in the order of the manifest; an absent
            feature gets its neutral value.
        compiled: the compiled trees.
        extras: the optional arrays: tables of the encodings, calibration curve.
    """

    manifest: ModelManifest
    inputs: Inputs
    compiled: Compiled
    extras: Arrays

    @property
    def version(self) -> str:
        """Name of the model version."""
        return self.manifest.version

    @property
    def digest(self) -> str:
        """SHA-256 of the arrays."""
        return self.manifest.arrays_sha256

    @property
    def kind(self) -> str:
        """Model family."""
        return self.manifest.kind

    @property
    def own_blend(self) -> OwnBlend | None:
        """The ``alpha`` and the threshold that were chosen with it."""
        blend = self.manifest.blend
        return None if blend is None else OwnBlend(blend.alpha, blend.threshold)

    @property
    def probability(self) -> ProbabilityCurve | None:
        """The curve from the blended score to the probability of fraud."""
        calibration = self.manifest.calibration
        return None if calibration is None else calibration.curve()

    @property
    def base(self) -> float:
        """Score at the mean of the training rows, 0 to 1, where the contributions start."""
        return self.compiled.base

    @property
    def score_row(self) -> RowScore:
        """The function from a row, in the manifest's order of inputs, to its score."""
        return self.compiled.score

    def score(self, features: FeatureVector, transaction: Transaction) -> float:
        """Return the score of a transaction, 0 to 1; higher is more suspicious.

        An isolation forest returns ``s = 2^(-E[h] / c(n))`` of Liu et al. (2008), calibrated if its artifact has a
        calibration curve. Boosted trees return a probability. The method is pure and thread-safe.

        Raises:
            ValueError: an input is NaN.
        """
        return self.compiled.score(self.inputs(features, transaction))

    def contributions(self, features: FeatureVector, transaction: Transaction) -> dict[str, float]:
        """Return each input's contribution; ``base`` plus all contributions is the score (see ``path_attribution``)."""
        row = self.inputs(features, transaction)
        shares = self.compiled.contributions(row, self.compiled.score(row))
        return dict(zip(self.manifest.feature_names, shares, strict=True))


def load_model(
    directory: Path,
    known_features: tuple[str, ...],
    histories: Histories | None = None,
    own: OwnValues | None = None,
) -> TreeModel:
    """Load one model version; takes well under a second for 100 trees.

    Args:
        directory: ``<model_dir>/<version>``, see ``model_directory``.
        known_features: the features this program computes, in order; a model can use a part of them.
        histories: the history of merchants and other entities, for a caller that scores transactions with such inputs.
        own: the own features of the installation, which are known features too.

    Raises:
        ModelError: the model cannot be used. No other exception is raised. The caller then scores by rules alone.
    """
    if not is_model_version(directory.name):
        raise ModelError(ModelFault.MISSING, f"{directory.name!r} is not a model version")
    manifest, arrays = read_artifact(directory)
    if manifest.version != directory.name:
        detail = f"{directory} holds model {manifest.version!r}; the directory of a version must have its name"
        raise ModelError(ModelFault.BAD_MANIFEST, detail)
    return build_model(manifest, arrays, known_features, histories, own)


def build_model(
    manifest: ModelManifest,
    arrays: ModelArrays,
    known_features: tuple[str, ...] = FEATURE_NAMES,
    histories: Histories | None = None,
    own: OwnValues | None = None,
) -> TreeModel:
    """Check and compile the content of an artifact.

    Args:
        manifest: its manifest.
        arrays: its arrays.
        known_features: the features that the caller computes. An evaluation on history computes
            ``OFFLINE_FEATURES``, a stream those of the entities whose rows it reads; any other caller refuses a model
            that takes an input of an entity.
        histories: the history of merchants and other entities, for a caller that scores transactions with such inputs.
        own: the own features of the installation, which are known features too. A model with own features needs their
            modules in the version that it was trained with, unless ``known_features`` names the features themselves.

    Raises:
        ModelError: the model cannot be used.
    """
    names = manifest.feature_names
    owned = [name for name in names if is_own(name)]
    if owned and (own is not None or not set(owned) <= set(known_features)):
        check_used(manifest.version, owned, manifest.own_features, None if own is None else own.features)
    if own is not None:
        known_features = (*known_features, *own.features.names)
    missing = [name for name in names if name in ENTITY_OF and name not in known_features]
    if missing:
        entities = ", ".join(dict.fromkeys(ENTITY_OF[name] for name in missing))
        detail = (
            f"model {manifest.version!r} takes {', '.join(missing)}; the stream does not compute these inputs of "
            f"{entities}; add {entities} to STREAMFLOW_RISK_ENTITIES and run the job `merchants`, or use a model "
            "without them"
        )
        raise ModelError(ModelFault.FEATURE_MISMATCH, detail)
    unknown = [name for name in names if name not in known_features and name not in ENCODING_NAMES]
    if unknown or len(set(names)) != len(names) or manifest.feature_hash != feature_hash(names):
        detail = (
            f"model {manifest.version!r} takes {', '.join(names)}; this program computes "
            f"{', '.join((*known_features, *ENCODING_NAMES))}; train the model again"
        )
        raise ModelError(ModelFault.FEATURE_MISMATCH, detail)
    check_trees(arrays.trees, len(names))
    inputs = compile_inputs(names, arrays.extras, histories, own)
    return TreeModel(manifest, inputs, compile_model(arrays.trees, arrays.extras, len(names)), arrays.extras)
