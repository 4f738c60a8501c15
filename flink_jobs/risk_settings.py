"""The setting of histories beside the customer's. ``Settings`` inherits it."""

from __future__ import annotations

import os
from typing import Any, Final

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings

from flink_jobs.core.features.entity_risk import Entity, entities_of

OLD_NAME: Final = "STREAMFLOW_MERCHANT_RISK"
"""Its name before terminals, devices and cards had a history."""


class RiskSettings(BaseSettings):
    """Whose history models may use."""

    risk_entities: str = Field(
        default="",
        description="whose history the job `merchants` keeps and the detector and the API read: merchant, terminal, "
        "device, card, separated by commas; models may take inputs of these; once set, a savepoint needs it to stay "
        "set; empty: none",
    )

    risk_accept_short_history: bool = Field(
        default=False,
        description="for the job `merchants`: the history of an entity that was turned on from a savepoint counts as "
        "complete at once; otherwise models with its inputs give no score until it covers 37 days",
    )

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The entities with a history, in canonical order."""
        return entities_of(self.risk_entities)

    @field_validator("risk_entities")
    @classmethod
    def _in_order(cls, text: str) -> str:
        """Check the names; the order of a list has no meaning."""
        return ",".join(entities_of(text))

    @model_validator(mode="before")
    @classmethod
    def _has_its_name(cls, values: Any) -> Any:  # noqa: ANN401 - anything that pydantic reads
        """Refuse the old name: without an error, models with inputs of merchants would give no score."""
        given = {name.upper() for name in values} if isinstance(values, dict) else set()
        if OLD_NAME in os.environ or given & {OLD_NAME, OLD_NAME.removeprefix("STREAMFLOW_")}:
            raise ValueError(
                f"{OLD_NAME} no longer exists: remove it, and set STREAMFLOW_RISK_ENTITIES=merchant where it was true"
            )
        return values
