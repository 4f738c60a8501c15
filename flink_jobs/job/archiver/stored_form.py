"""The form in which messages are stored: without card numbers, which Kafka alone may hold (docs/adr/0043)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from flink_jobs.core.dead_letters.payload_mask import masked_letter, masked_text

if TYPE_CHECKING:
    from collections.abc import Sequence

PARSED: Final = frozenset({"decisions", "alerts"})
"""Topics whose messages the detector builds from parsed transactions: the parser has masked the card."""


def stored_forms(topic: str, messages: Sequence[str]) -> Sequence[str]:
    """Return the messages of a topic as a table may hold them.

    Args:
        topic: suffix of the topic.
        messages: texts that should be JSON; any text is allowed.
    """
    if topic in PARSED:
        return messages
    return [_letter(message) if topic == "dlq" else masked_text(message) for message in messages]


def _letter(message: str) -> str:
    try:
        letter = orjson.loads(message)
    except ValueError:
        letter = None
    if type(letter) is not dict:
        return masked_text(message)
    masked = masked_letter(letter)
    return message if masked is letter else orjson.dumps(masked).decode()
