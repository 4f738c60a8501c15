"""Removes card numbers from messages that are stored or shown outside of Kafka: dead letters, labels, actions, audit.

A rejected message may have a card number where the contract wants a token. Its dead letter on Kafka keeps the bytes, so
that it can be redriven; every copy elsewhere has ``****`` and the last four digits, as the parser writes them
(docs/adr/0043). A number in a text that people write becomes ``[card number]``, as in logs.
"""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from flink_jobs.card_numbers import MASK, mask_card_numbers
from flink_jobs.core.parsing.purchase_ids import MAX_CARD_CHARS, card_token

_OF_A_CARD: Final = re.compile(r"\w*card\w*|pan", re.IGNORECASE)
"""Names of fields whose values are masked; with all values inside them."""
_TEXTS: Final = frozenset({"reason", "comment"})
"""Names of fields with free text."""
_MEMBER: Final = re.compile(
    r"""(?P<start>(?P<quote>\\{0,7}")(?P<name>\w{0,40}card\w{0,40}|pan|reason|comment)(?P=quote)\s{0,9}:\s{0,9})"""
    r"""(?:(?P<open>\\{0,7}")(?P<text>[^"]*?)(?P<tail>\\{0,7})(?P<end>"|$)|(?P<number>\d[\d.]{11,40}))""",
    re.IGNORECASE,
)
"""A field with its value in JSON that may be damaged, or quoted in other JSON: then backslashes stand before quotes.

Repetitions have a limit, so that no payload of 10 KB takes long.
"""
_HINT: Final = re.compile(r"card|pan|reason|comment|base64|\\u", re.IGNORECASE)
"""Without a match, a message has no such field; most have none."""
_SEVERAL_DIGITS: Final = re.compile(r"(?:\d[ .-]?){7,}")
_LONG_RUN: Final = re.compile(r"\d(?:[ \u00a0.\-]?\d){12,}")
"""13 or more digits; in a text that is too long to be valid, each counts as a card number, because a search is slow."""
_MOST_TEXT_CHARS: Final = 1_000
_BINARY_RUN: Final = re.compile(rb"\d{9,}(?=\d{4})")
"""The digits before the last four of 13 or more. In binary data, the bytes around a number have no meaning."""
_AVRO: Final = b"\0"
"""First byte of a record in the wire format of Confluent's clients."""
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


def masked_text(payload: str) -> str:
    """Return a JSON message, or damaged JSON, without the card numbers of its fields; else the same text.

    >>> masked_text('{"card":"4111 1111 1111 1111","amount_minor":1}'), masked_text('{"card":"tok_1"}')
    ('{"card":"****1111","amount_minor":1}', '{"card":"tok_1"}')
    """
    if _HINT.search(payload) is None:
        return payload
    text = _MEMBER.sub(_masked_member, payload)
    try:  # what the pattern cannot see: escaped names and digits, objects and lists
        document = orjson.loads(text)
        masked = _masked(document, "")
        return text if masked == document else orjson.dumps(masked).decode()
    except (ValueError, RecursionError):
        return text


def masked_letter(letter: dict[str, Any]) -> dict[str, Any]:
    """Return a dead letter without the card numbers of its payload; length and SHA-256 stay those of the bytes."""
    payload = letter.get("payload")
    if not isinstance(payload, str):
        return letter
    masked = _masked_base64(payload) if letter.get("payload_encoding") == "base64" else masked_text(payload)
    return letter if masked == payload else {**letter, "payload": masked}


def masked_bytes(payload: bytes) -> bytes:
    """Return a message of Kafka without the card numbers of its fields.

    >>> masked_bytes(b'{"card":"4111111111111111"}')
    b'{"card":"****1111"}'
    """
    if b"\0" not in payload:
        try:
            return masked_text(payload.decode()).encode()
        except UnicodeDecodeError:
            pass
    return _masked_binary(payload)


def masked_changes(changes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the changes of an edit, each with ``path``, ``from`` and ``to``, without card numbers."""
    return [
        {
            name: masked_value(change["path"], value) if name in {"from", "to"} else value
            for name, value in change.items()
        }
        for change in changes
    ]


def masked_value(path: str, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of one field, such as ``card`` or ``card.number``, without card numbers."""
    *outer, name = path.split(".")
    of_a_card = next((part for part in outer if _OF_A_CARD.fullmatch(part)), "")
    return _masked(value, of_a_card or name)


def _masked(value: Any, name: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value of the field ``name``; inside a field of a card, every value is one of a card."""
    is_of_a_card = _OF_A_CARD.fullmatch(name) is not None
    if isinstance(value, dict):
        inner = {key: _masked(item, name if is_of_a_card else key) for key, item in value.items()}
        return masked_letter(inner) if value.get("payload_encoding") == "base64" else inner
    if isinstance(value, list):
        return [_masked(item, name) for item in value]
    if is_of_a_card and type(value) in {str, int, float}:
        token = _card(str(value))
        return value if token == str(value) else token
    return _free_text(value) if type(value) is str and name in _TEXTS else value


def _masked_member(found: re.Match[str]) -> str:
    number, start = found["number"], found["start"]
    if number is not None:
        token = _card(number)
        return found[0] if token == number else f"{start}{found['quote']}{token}{found['quote']}"
    text = found["text"]
    if found["name"].lower() in _TEXTS:
        masked = _free_text(text)
    elif not found["end"] and _SEVERAL_DIGITS.search(text):  # the payload was cut inside the number
        masked = "****"
    else:
        masked = _card(text)
    return f"{start}{found['open']}{masked}{found['tail']}{found['end']}"


def _card(text: str) -> str:
    """Return the value of a field of a card."""
    if len(text) <= MAX_CARD_CHARS:
        return card_token(text) or ""
    return _LONG_RUN.sub(lambda run: f"****{run[0][-4:]}", text)


def _free_text(text: str) -> str:
    return mask_card_numbers(text) if len(text) <= _MOST_TEXT_CHARS else _LONG_RUN.sub(MASK, text)


def _masked_base64(payload: str) -> str:
    try:
        data = b64decode(payload, validate=True)
    except ValueError:
        return payload
    return b64encode(_masked_binary(data)).decode("ascii")


def _masked_binary(data: bytes) -> bytes:
    """Return bytes that are no text; Avro keeps its length, and stays readable with its schema."""
    if data.startswith(_AVRO):
        return _BINARY_RUN.sub(lambda run: b"*" * len(run[0]), data)
    encoding = "utf-16" if data.startswith(_UTF_16) else "latin-1"
    text = data.decode(encoding, "surrogateescape" if encoding == "latin-1" else "replace")
    changed = masked_text(text)
    return data if changed == text else changed.encode(encoding, "backslashreplace")
