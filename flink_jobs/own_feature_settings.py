"""The settings of own features. ``Settings`` inherits them."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings

from flink_jobs.core.own_features.declaration import OwnFeatureError
from flink_jobs.core.own_features.loading import OwnFeatures, load_features
from flink_jobs.core.own_features.source import FeatureSource, read_sources
from flink_jobs.core.own_features.values import OwnValues
from flink_jobs.errors import ErrorCode, UserError


class OwnFeatureSettings(BaseSettings):
    """The modules of own features, and where they are."""

    features: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][\w.]*(\s*,\s*[A-Za-z_][\w.]*)*$",
        description="Python modules with own features, separated by commas, such as my_bank.features; default: none",
    )
    features_dir: Path | None = Field(
        default=None,
        description="folder of these modules, where jobs are submitted and models are trained; default: Python's path",
    )

    def own_feature_sources(self) -> tuple[FeatureSource, ...]:
        """Return the source texts of the modules, which can all be loaded.

        Raises:
            UserError: a module is not found or cannot be used.
        """
        return own_sources(self.features, self.features_dir)

    def own_values(self) -> OwnValues | None:
        """Return the own features, to score with; ``None`` without any.

        Raises:
            UserError: see ``own_feature_sources``.
        """
        sources = self.own_feature_sources()
        return OwnValues(load_features(sources)) if sources else None


def own_sources(modules: str | None, folder: Path | None) -> tuple[FeatureSource, ...]:
    """Return the source texts of modules, after loading them once.

    Args:
        modules: dotted names, separated by commas; ``None``: no module.
        folder: folder of the modules; ``None``: Python's path.

    Raises:
        UserError: a module is not found or cannot be used.
    """
    if modules is None:
        return ()
    try:
        sources = read_sources([name.strip() for name in modules.split(",")], folder)
        load_features(sources)
    except OwnFeatureError as error:
        fix = "correct the module, STREAMFLOW_FEATURES or STREAMFLOW_FEATURES_DIR; see `streamflow own-features check`"
        raise UserError(f"own features: {error}", fix, ErrorCode.SETTINGS_INVALID) from None
    return sources


def own_features(modules: str | None, folder: Path | None) -> OwnFeatures | None:
    """Return the own features of modules, ``None`` without any; arguments and errors as for ``own_sources``."""
    sources = own_sources(modules, folder)
    return load_features(sources) if sources else None
