"""The settings of models: own features, and what a promotion requires. ``Settings`` inherits them."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from flink_jobs.own_feature_settings import OwnFeatureSettings


class Requirement(StrEnum):
    """Something that a version needs before it becomes champion."""

    CARD = "card"
    """A recorded model card."""
    APPROVER = "approver"
    """Facts of the card that name an approver who is not the developer, and the day of the approval."""


class ModelSettings(OwnFeatureSettings):
    """Own features, and the requirements of a promotion."""

    promotion_requires: str | None = Field(
        default=None,
        pattern=r"^(card|approver)(\s*,\s*(card|approver))*$",
        description="card, approver or both, separated by commas: what a version needs before it becomes champion; "
        "--force does not overrule it; default: nothing",
    )

    @property
    def promotion_requirements(self) -> frozenset[Requirement]:
        """What a version needs before it becomes champion."""
        return frozenset(Requirement(name.strip()) for name in (self.promotion_requires or "").split(",") if name)
