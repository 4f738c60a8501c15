"""Finds card numbers in free text: 13 to 19 digits, possibly grouped, that pass the Luhn check."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Final

# At most one space, dash or dot between digits.
_DIGITS: Final = re.compile(r"(?<!\d)\d(?:[ \u00a0.\-]?\d){12,}")
_SEPARATOR: Final = re.compile(r"[ \u00a0.\-]")
MASK: Final = "[card number]"
_SHORTEST, _LONGEST = 13, 19
_USUAL: Final = (15, 16)
_TEN, _NINE = 10, 9


def has_card_number(text: str) -> bool:
    """Return whether a text has a run of digits that contains a valid card number.

    >>> has_card_number("card 4111 1111 1111 1111, stolen"), has_card_number("order 4111 1111 1111 1112")
    (True, False)
    """
    return any(_is_card(found.group()) for found in _DIGITS.finditer(text))


def mask_card_numbers(text: str) -> str:
    """Return a text without its card numbers.

    >>> mask_card_numbers("card 4111 1111 1111 1111, order 4111 1111 1111 1112")
    'card [card number], order 4111 1111 1111 1112'
    """
    return _DIGITS.sub(lambda found: MASK if _is_card(found.group()) else found.group(), text)


def masked(value: Any) -> Any:  # noqa: ANN401 - any part of a document
    """Return a document without the card numbers in its texts."""
    if isinstance(value, str):
        return mask_card_numbers(value)
    if isinstance(value, Mapping):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item) for item in value]
    return value


def _is_card(run: str) -> bool:
    """Return whether whole groups of a run of digits are a card number; in a long run, 15 or 16 digits anywhere."""
    groups = [[int(digit) for digit in group] for group in _SEPARATOR.split(run)]
    digits = [digit for group in groups for digit in group]
    edges = [0, *accumulate(len(group) for group in groups)]
    for place, start in enumerate(edges):
        for end in edges[place + 1 : place + 1 + _LONGEST]:  # a group has at least one digit
            if _SHORTEST <= end - start <= _LONGEST and passes_luhn(digits[start:end]):
                return True
    return len(digits) > _LONGEST and any(
        passes_luhn(digits[start : start + length]) for length in _USUAL for start in range(len(digits) - length + 1)
    )


def passes_luhn(digits: list[int]) -> bool:
    """Return whether the last digit is the Luhn check digit of the others; all zeros do not count.

    >>> passes_luhn([7, 9, 9, 2, 7, 3, 9, 8, 7, 1, 3]), passes_luhn([0] * 16)
    (True, False)
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - _NINE if doubled >= _TEN else doubled
    return any(digits) and total % 10 == 0
