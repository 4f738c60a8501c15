"""Finds out why bytes are not a JSON document that the detector accepts: encoding, syntax, numbers, depth."""

import json
import math
import re
from typing import Final

from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.transaction import Rejection

MAX_NESTING: Final = 32
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.DOTALL)
"""A string, terminated or not, or a bracket outside strings; possessive quantifiers keep it linear in the length."""
_OPENING, _CLOSING = (b"[", b"{"), (b"]", b"}")

TOO_DEEP: Final = Rejection(DeadLetterReason.TOO_DEEP, f"nested deeper than {MAX_NESTING} levels")
_NON_FINITE: Final = Rejection(
    DeadLetterReason.NON_FINITE_NUMBER, "a number is NaN, infinite or beyond the range of a double"
)
_NOT_STRICT: Final = Rejection(DeadLetterReason.MALFORMED_JSON, "not strict JSON (lone surrogate or control character)")
_BYTE_ORDER_MARK: Final = "\ufeff"


def json_type(value: object) -> str:
    """Return the name of the JSON type of a decoded value."""
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names[type(value)]


def wrong_type(field: str, expected: str, value: object) -> Rejection:
    """Return the rejection of a field whose value has another type."""
    return Rejection(DeadLetterReason.WRONG_TYPE, f"{field} must be {expected}, not a JSON {json_type(value)}")


def why_not_json(raw: bytes) -> Rejection:
    """Return why bytes are not JSON: the encoding, the depth, a non-finite number or the syntax."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return Rejection(DeadLetterReason.INVALID_UTF8, f"invalid UTF-8 at byte {error.start}")
    if is_too_deep(raw):
        return TOO_DEEP
    if text.startswith(_BYTE_ORDER_MARK):
        return Rejection(
            DeadLetterReason.MALFORMED_JSON, "Unexpected UTF-8 BOM (decode using utf-8-sig) at character 0"
        )
    try:
        _SYNTAX.decode(text)
    except json.JSONDecodeError as error:
        return Rejection(DeadLetterReason.MALFORMED_JSON, f"{error.msg} at character {error.pos}")
    try:
        _FINITE.decode(text)
    except OverflowError:  # the detail omits the number: it may be a card number
        return _NON_FINITE
    # Python's parser accepts lone surrogates and raw control characters; RFC 8259 and orjson do not.
    return _NOT_STRICT


def _finite(number: str) -> float:
    """Return a number.

    Raises:
        OverflowError: it is NaN, infinite or beyond the range of a double.
    """
    value = float(number)
    if not math.isfinite(value):
        raise OverflowError
    return value


_SYNTAX: Final = json.JSONDecoder(parse_constant=len, parse_float=len, parse_int=len)
"""Checks the syntax only: numbers of any length become the length of their text."""
_FINITE: Final = json.JSONDecoder(parse_constant=_finite, parse_float=_finite, parse_int=_finite)


def is_too_deep(raw: bytes) -> bool:
    """Return whether brackets outside strings nest deeper than allowed, without recursion."""
    if raw.count(b"{") + raw.count(b"[") <= MAX_NESTING:
        return False
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(raw):
        if token[0] in _OPENING:
            depth += 1
            if depth > MAX_NESTING:
                return True
        elif token[0] in _CLOSING:
            depth -= 1
    return False
