"""The own features that a model takes, as its manifest names them, and the check that an installation has the same."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any

from flink_jobs.core.models.faults import ModelError, ModelFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flink_jobs.core.own_features.loading import OwnFeatures

_TEXTS, _NUMBERS = ("name", "unit", "absent", "meaning"), ("low", "high", "neutral")


@dataclass(frozen=True, slots=True)
class UsedFeature:
    """An own feature of a model; the manifest explains it without the module."""

    name: str
    unit: str
    low: float
    high: float
    neutral: float
    absent: str
    meaning: str


@dataclass(frozen=True, slots=True)
class UsedModule:
    """A module whose features a model takes.

    Attributes:
        module: dotted name.
        sha256: digest of its source text, hexadecimal.
        features: the features that the model takes.
    """

    module: str
    sha256: str
    features: tuple[UsedFeature, ...]

    @property
    def label(self) -> str:
        """Return its name and the beginning of its version, for readers."""
        return f"{self.module} {self.sha256[:12]}"


def range_of(low: float, high: float) -> str:
    """Return the range of a feature in words.

    >>> range_of(0.0, 3_650.0)
    '0 to 3,650'
    """
    return " to ".join([f"{value:,.10g}" for value in (low, high)])


def used_modules(own: OwnFeatures | None, names: Sequence[str]) -> tuple[UsedModule, ...] | None:
    """Return the modules of the own features among a model's inputs; ``None`` without any."""
    modules = []
    for module in () if own is None else own.modules:
        specs = [item.spec for item in module.features if item.spec.name in names]
        features = tuple(
            UsedFeature(spec.name, spec.unit, spec.low, spec.high, spec.neutral, spec.without_history, spec.meaning)
            for spec in specs
        )
        if features:
            modules.append(UsedModule(module.name, module.sha256, features))
    return tuple(modules) or None


def check_used(
    version: str, names: Sequence[str], used: tuple[UsedModule, ...] | None, own: OwnFeatures | None
) -> None:
    """Check that an installation has the modules of a model in the version that the model was trained with.

    Args:
        version: name of the model.
        names: its inputs that are own features.
        used: ``own_features`` of its manifest.
        own: the own features of the installation.

    Raises:
        ModelError: ``FEATURE_MISMATCH``, or ``BAD_MANIFEST`` if the manifest names no module of one of the features.
    """
    unnamed = set(names) - {item.name for module in used or () for item in module.features}
    if unnamed:
        raise _bad(f"does not name {', '.join(sorted(unnamed))}")
    have = {} if own is None else {module.name: module.sha256 for module in own.modules}
    for module in used or ():
        what = f"model {version!r} takes {', '.join(item.name for item in module.features)} of {module.module}"
        if module.module not in have:
            detail = f"{what}, version {module.sha256[:12]}; add {module.module} to STREAMFLOW_FEATURES"
            raise ModelError(ModelFault.FEATURE_MISMATCH, detail)
        if have[module.module] != module.sha256:
            detail = (
                f"{what} in version {module.sha256[:12]}; this installation has version "
                f"{have[module.module][:12]}: restore the text that the model was trained with, or train it again"
            )
            raise ModelError(ModelFault.FEATURE_MISMATCH, detail)


def parse_used(document: object) -> tuple[UsedModule, ...] | None:
    """Parse ``own_features`` of a manifest.

    Raises:
        ModelError: ``BAD_MANIFEST``.
    """
    if document is None:
        return None
    if not isinstance(document, list) or not document:
        raise _bad("is not a list of modules")
    return tuple(_module(item) for item in document)


def _module(document: Any) -> UsedModule:  # noqa: ANN401 - JSON; this function checks it
    if not isinstance(document, dict) or not isinstance(document.get("features"), list):
        raise _bad("holds a module without features")
    module, sha256 = document.get("module"), document.get("sha256")
    if not isinstance(module, str) or not isinstance(sha256, str):
        raise _bad("holds a module without `module` and `sha256`")
    return UsedModule(module, sha256, tuple(_feature(item) for item in document["features"]))


def _feature(document: Any) -> UsedFeature:  # noqa: ANN401 - as above
    if not isinstance(document, dict) or document.keys() != {*_TEXTS, *_NUMBERS}:
        raise _bad("holds a feature that lacks a part, or has an unknown one")
    texts = {name: document[name] for name in _TEXTS}
    numbers = {name: document[name] for name in _NUMBERS}
    if not all(isinstance(text, str) for text in texts.values()) or not all(
        type(number) in {int, float} and isfinite(number) for number in numbers.values()
    ):
        raise _bad("holds a feature with a part of the wrong type")
    parts: dict[str, Any] = {**texts, **{name: float(number) for name, number in numbers.items()}}
    return UsedFeature(**parts)


def _bad(problem: str) -> ModelError:
    return ModelError(ModelFault.BAD_MANIFEST, f"'own_features' {problem}")
