"""The setting that makes the detector job a canary. ``Settings`` inherits it."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings


class CanarySettings(BaseSettings):
    """Whose transactions a canary scores."""

    canary_of: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="makes the detector a canary: the topic prefix whose transactions, control messages and actions it "
        "reads; it writes to topics of STREAMFLOW_TOPIC_PREFIX, which must be another; `streamflow canary` sets both",
    )

    @model_validator(mode="after")
    def _canary_writes_elsewhere(self) -> Self:
        """Check that a canary does not write to the topics of the running job."""
        if self.canary_of is not None and self.canary_of == getattr(self, "topic_prefix", None):
            raise ValueError("STREAMFLOW_CANARY_OF must differ from STREAMFLOW_TOPIC_PREFIX")
        return self
