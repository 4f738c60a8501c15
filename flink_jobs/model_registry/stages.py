"""The stages of a model version."""

from __future__ import annotations

from enum import StrEnum


class ModelStage(StrEnum):
    """The stage of a model version in the registry."""

    CANDIDATE = "candidate"
    """Registered; not used by the job."""
    SHADOW = "shadow"
    """Scores every transaction beside the champion. Its scores are recorded and cause no alert. At most one version."""
    CHAMPION = "champion"
    """Its scores decide. At most one version."""
    ARCHIVED = "archived"
    """A former champion or an abandoned version; can be promoted again."""
