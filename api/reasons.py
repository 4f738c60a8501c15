"""The reason that a person gives for a change, and the errors of changes that two persons make."""

from __future__ import annotations

from typing import Final

from api.cases.card_numbers import has_card_number
from api.errors import ApiError

LONGEST_REASON: Final = 256
"""Characters of a reason."""


def checked_reason(text: str) -> str:
    """Return a reason with single spaces.

    Raises:
        ApiError: it is empty or too long, or contains a card number (422).
    """
    text = " ".join(text.split())
    if not 0 < len(text) <= LONGEST_REASON:
        raise invalid(f"reason: must have 1 to {LONGEST_REASON} characters", "give a reason")
    if has_card_number(text):
        raise invalid("reason: contains a card number", "remove it")
    return text


def invalid(message: str, hint: str) -> ApiError:
    """Return the error of a request that is not valid (422)."""
    return ApiError(422, "invalid_request", message, hint)


def not_allowed() -> ApiError:
    """Return the error of a person without the role for a change (403)."""
    return ApiError(403, "not_allowed", "your roles do not allow this", "ask an administrator for a role")
