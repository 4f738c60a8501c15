"""Reads the fields that version 2 of the contract added: terminal, device, card and IP address.

Version 1 allows fields that it does not name, so a producer of version 1 may already send one of these four, in any
form. Only a document that declares ``"schema_version": 2`` is rejected for them. In any other document, a value that is
not valid counts as unknown, as in version 1.
"""

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import Any, Final, cast

from flink_jobs.card_numbers import passes_luhn
from flink_jobs.core.parsing.json_faults import wrong_type
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.texts import composed_within, has_no_control
from flink_jobs.core.transaction import Rejection, Transaction

VERSION_OF_IDS: Final = 2
"""The ``schema_version`` of a document whose producer has checked the four fields."""
MAX_TERMINAL_CHARS: Final = 64
MAX_DEVICE_CHARS: Final = 128
MAX_CARD_CHARS: Final = 64
ID_LIMITS: Final = {"terminal": MAX_TERMINAL_CHARS, "device": MAX_DEVICE_CHARS, "card": MAX_CARD_CHARS}
"""Most characters of each id, in the order of ``Transaction``."""
MAX_IP_CHARS: Final = 45
"""The longest text of an IPv6 address."""

_BYTE: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}")
_DIGITS: Final = re.compile(r"(?<![0-9A-Za-z_])(?:[0-9]{13,}|[0-9]{1,6}(?:[ .-][0-9]{1,6}){2,})(?![0-9A-Za-z_])")
"""13 or more digits, or three or more groups of up to 6 with a space, dot or dash between, and no letter beside them.

A letter or a longer group makes it a part of a token, such as a hash in hexadecimal or a UUID: one in 250 hashes would
hold a number that passes the Luhn check.
"""
_SEPARATOR: Final = re.compile("[ .-]")
_SHORTEST, _LONGEST = 13, 19
_LAST: Final = 4


_UNKNOWN: Final = (None, None, None, None)
_new: Final[Any] = tuple.__new__
"""The constructor of a named tuple takes twice as long, because it is a function in Python."""


def with_purchase_ids(fields: tuple[object, ...], document: dict[str, Any]) -> Transaction | Rejection:
    """Return the transaction of a document, or why it is rejected for one of the four fields.

    Args:
        fields: the fields of version 1, checked, in the order of ``Transaction``.
        document: the whole document.
    """
    terminal, device = document.get("terminal"), document.get("device")
    card, ip = document.get("card"), document.get("ip")
    if terminal is None and device is None and card is None and ip is None:
        plain: Transaction = _new(Transaction, fields + _UNKNOWN)
        return plain
    is_terminal = terminal is None or _is_id(terminal, MAX_TERMINAL_CHARS)
    is_device = device is None or _is_id(device, MAX_DEVICE_CHARS)
    is_card = card is None or _is_id(card, MAX_CARD_CHARS)
    address = normal_ip(ip) if type(ip) is str else None
    if not (is_terminal and is_device and is_card and (ip is None or address is not None)):
        version = document.get("schema_version")
        if type(version) is int and version == VERSION_OF_IDS:
            return _why_invalid(document)
    ids = (
        _composed(terminal, MAX_TERMINAL_CHARS) if is_terminal else None,
        _composed(device, MAX_DEVICE_CHARS) if is_device else None,
        card_token(_composed(card, MAX_CARD_CHARS)) if is_card else None,
        address,
    )
    transaction: Transaction = _new(Transaction, fields + ids)
    return transaction


def purchase_id(field: str, value: object) -> str | None:
    """Return a terminal, device or card as a decision has it; ``None`` for a value that counts as unknown.

    Args:
        field: ``terminal``, ``device`` or ``card``.
        value: the value in a transaction of any form.

    >>> purchase_id("card", "4111 1111 1111 1111"), purchase_id("terminal", "till-4"), purchase_id("device", "")
    ('****1111', 'till-4', None)
    """
    limit = ID_LIMITS[field]
    if not _is_id(value, limit):
        return None
    text = _composed(cast("str", value), limit)
    return card_token(text) if field == "card" else text


def normal_ip(text: str) -> str | None:
    """Return an IP address in the form of Python's ``ipaddress``, ``None`` for another text.

    An IPv4 address in the form of IPv6 (``::ffff:192.0.2.1``) becomes IPv4, so that one host has one spelling. An
    address with a zone (``fe80::1%eth0``) has no meaning on another machine, so it is no address here.

    >>> normal_ip("192.0.2.1"), normal_ip("2001:DB8:0::1"), normal_ip("::ffff:192.0.2.1"), normal_ip("192.0.2.01")
    ('192.0.2.1', '2001:db8::1', '192.0.2.1', None)
    """
    if len(text) > MAX_IP_CHARS:
        return None
    if _IPV4.fullmatch(text) is not None:
        return text
    return None if ":" not in text or "%" in text else _normal_ipv6(text)


@lru_cache(maxsize=4_096)
def _normal_ipv6(text: str) -> str | None:
    """Return an IPv6 address in normal form; devices repeat, and Python's class takes 8 us."""
    try:
        address = IPv6Address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped
    return str(address) if mapped is None else str(mapped)


def card_token(card: str | None) -> str | None:
    """Return a token unchanged, and a card number in the clear as its last four digits (docs/adr/0043).

    >>> card_token("tok_1f6e"), card_token("4111 1111 1111 1111"), card_token("****1111")
    ('tok_1f6e', '****1111', '****1111')
    """
    if card is None or len(card) < _SHORTEST:
        return card
    for found in _DIGITS.finditer(card):
        groups: list[str] = _SEPARATOR.split(found[0])
        for first in range(len(groups)):
            number = ""
            for group in groups[first : first + _LONGEST]:
                number += group
                if len(number) > _LONGEST:
                    break
                if len(number) >= _SHORTEST and passes_luhn([int(digit) for digit in number]):
                    return "****" + number[-_LAST:]
    return card


def _is_id(value: object, limit: int) -> bool:
    return type(value) is str and 0 < len(value) <= limit and has_no_control(value) and not value.isspace()


def _composed(text: str | None, limit: int) -> str | None:
    return text if text is None or text.isascii() else composed_within(text, limit)


def _why_invalid(document: dict[str, Any]) -> Rejection:
    """Return the rejection for the first invalid field; the caller has found that there is one."""
    for field, limit in ID_LIMITS.items():
        value = document.get(field)
        if value is None or _is_id(value, limit):
            continue
        if type(value) is not str:
            return wrong_type(field, "a string", value)
        return Rejection(
            DeadLetterReason.INVALID_TEXT, f"{field} must be 1 to {limit} characters without control characters"
        )
    if type(document["ip"]) is not str:
        return wrong_type("ip", "a string", document["ip"])
    return Rejection(DeadLetterReason.INVALID_IP, "ip must be an IPv4 or IPv6 address without port, zone or mask")
