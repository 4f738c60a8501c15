"""The setting of what a promotion requires."""

import pytest
from pydantic import ValidationError

from flink_jobs.model_settings import ModelSettings, Requirement


def test_requirements_are_a_list_of_known_names() -> None:
    assert ModelSettings().promotion_requirements == frozenset()
    both = ModelSettings(promotion_requires="approver , card")
    assert both.promotion_requirements == {Requirement.CARD, Requirement.APPROVER}
    for wrong in ("", "cards", "card,", "card;approver"):
        with pytest.raises(ValidationError):
            ModelSettings(promotion_requires=wrong)
