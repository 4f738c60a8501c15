"""The stages of a model version."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """Where a model version stands."""

    CANDIDATE = "candidate"
    """Registered; decides nothing."""
    SHADOW = "shadow"
    """Scores beside the champion; recorded, never acted on."""
    CHAMPION = "champion"
    """Decides. There is one at most."""
    ARCHIVED = "archived"
    """Was champion, or was given up; may be promoted again."""
