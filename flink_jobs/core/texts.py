"""Checks and normal forms of texts that come from other systems: merchants, categories, ids, notes."""

import re
from typing import Final
from unicodedata import normalize

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
"""C0 and C1 control characters, with NUL, tab and line breaks."""


def has_no_control(text: str) -> bool:
    """Return whether a text has no control character.

    All other characters are allowed, also those that Python does not print: ideographic and no-break spaces, joiners,
    soft hyphens and marks for the direction of writing are part of real names.
    """
    return text.isprintable() or _CONTROL.search(text) is None


def composed(text: str) -> str:
    """Return a text in Unicode normal form C: equal names have equal characters."""
    return text if text.isascii() else normalize("NFC", text)


def composed_within(text: str, limit: int) -> str:
    """Return a text in Unicode normal form C, or unchanged where that form has more than ``limit`` characters."""
    changed = composed(text)
    return changed if len(changed) <= limit else text
