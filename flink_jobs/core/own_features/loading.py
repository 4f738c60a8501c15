"""Runs the source text of modules of own features, and collects the features that they declare."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Final

from flink_jobs.core.own_features.declaration import OwnFeature, OwnFeatureError
from flink_jobs.core.own_features.source import FeatureSource, check_source

if TYPE_CHECKING:
    from collections.abc import Sequence


MAX_FEATURES: Final = 64
"""Own features of all modules together."""


@dataclass(frozen=True, slots=True)
class FeatureModule:
    """One module.

    Attributes:
        name: dotted name.
        sha256: digest of its source text: its version.
        features: its features in the order of their declaration.
        text: its source text, from which another process loads the same features.
    """

    name: str
    sha256: str
    features: tuple[OwnFeature, ...]
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OwnFeatures:
    """The own features of an installation, in the order of the setting and of their declaration."""

    modules: tuple[FeatureModule, ...]

    @property
    def features(self) -> tuple[OwnFeature, ...]:
        """All features."""
        return tuple(item for module in self.modules for item in module.features)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all features."""
        return tuple(item.spec.name for item in self.features)

    @property
    def sources(self) -> tuple[FeatureSource, ...]:
        """The source text of each module."""
        return tuple(FeatureSource(module.name, module.text) for module in self.modules)


def load_features(sources: Sequence[FeatureSource]) -> OwnFeatures:
    """Run modules and return their features.

    Every call runs the text anew, so a process that runs for weeks never serves an older version of a module.

    Raises:
        OwnFeatureError: a module is not allowed, fails, declares no feature, or declares a name twice.
    """
    modules = tuple(FeatureModule(source.module, source.sha256, _run(source), source.text) for source in sources)
    found = OwnFeatures(modules)
    names = found.names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OwnFeatureError(f"declared twice: {', '.join(twice)}; each feature needs its own name")
    if len(names) > MAX_FEATURES:
        raise OwnFeatureError(f"{len(names)} features are declared; at most {MAX_FEATURES} are allowed")
    return found


def _run(source: FeatureSource) -> tuple[OwnFeature, ...]:
    module = ModuleType(source.module)
    code = compile(check_source(source), f"<{source.module}>", "exec")
    try:
        exec(code, module.__dict__)  # noqa: S102 - the user's module is to run, and its text was checked
    except OwnFeatureError as error:
        raise OwnFeatureError(f"{source.module}: {error}") from error
    except Exception as error:
        raise OwnFeatureError(f"{source.module} cannot be loaded: {type(error).__name__}: {error}") from error
    features = tuple(value for value in vars(module).values() if isinstance(value, OwnFeature))
    if not features:
        raise OwnFeatureError(f"{source.module} declares no feature: put `@feature(...)` above its functions")
    return features
