"""Finds card numbers in free text: 13 to 19 digits, possibly grouped, that pass the Luhn check."""

from __future__ import annotations

import re
from typing import Final

# One space, dash or dot between digits; every position where a number can start is tried.
_DIGITS: Final = re.compile(r"(?<!\d)\d(?:[ \u00a0.\-]?\d){12,}")
_SHORTEST, _LONGEST = 13, 19
_TEN, _NINE = 10, 9


def has_card_number(text: str) -> bool:
    """Return whether a text has a run of digits that contains a valid card number.

    >>> has_card_number("card 4111 1111 1111 1111, stolen"), has_card_number("order 4111 1111 1111 1112")
    (True, False)
    """
    for found in _DIGITS.finditer(text):
        digits = [int(character) for character in found.group() if character.isdecimal()]
        if len(digits) <= _LONGEST:
            if passes_luhn(digits):
                return True
        elif any(
            passes_luhn(digits[start : start + length])
            for length in (15, 16)  # a number glued to other digits: the usual lengths only
            for start in range(len(digits) - length + 1)
        ):
            return True
    return False


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
