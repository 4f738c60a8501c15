"""Since when the job of merchants keeps the history of an entity, so that a short history never looks like no fraud.

The job resumes behind the decisions that it has read. An entity that was turned on since then begins without history,
and its ids look like ids without fraud. The job notes the time, and publishes it as version 3 of the contract
``merchant-risk``. The detector uses the rows of the entity once they cover its longest window and the delay of labels.

The stored form is ``version (u8) | crc32 (u32) | slot published last (i32) | first letter (u8), time (i64) | ...``.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypedDict, cast

import orjson

from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.merchants.coverage import NOT_KNOWN_MS, complete_from, is_since
from flink_jobs.core.merchants.keys import SEPARATOR, split_key
from flink_jobs.core.merchants.row import NO_HISTORY, ROW_VERSIONS, EntityRow, row_in
from flink_jobs.core.parsing.contract_object import contract_object
from flink_jobs.core.state.codec import StateCorrupt
from flink_jobs.core.state.merchant import SLOT_MS
from flink_jobs.core.state.sealed import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

START_SCHEMA_VERSION: Final = 3
_VERSIONS: Final = tuple(sorted((*ROW_VERSIONS, START_SCHEMA_VERSION)))
STARTS_KEY: Final = SEPARATOR
"""The key of the state. No id is empty, so no entity has it."""
_VERSION: Final = 1
_SLOT: Final = Struct("<i")
_ENTRY: Final = Struct("<Bq")
_LETTERS: Final = {ord(entity.value[0]): entity for entity in Entity}


class StartDocument(TypedDict):
    """Since when the history of an entity is kept (contract ``merchant-risk`` v3)."""

    schema_version: Literal[3]
    entity: Literal["merchant", "terminal", "device", "card"]
    kept_since_ms: int


class EntityStart(NamedTuple):
    """Since when the history of an entity is kept."""

    entity: Entity
    kept_since_ms: int
    """Event time, milliseconds since the epoch; 0: the history has all decisions that the topic held."""

    @property
    def key(self) -> str:
        """Return the key of the message and of the detector's state; no row has it."""
        return f"{self.entity}{SEPARATOR}"

    @property
    def complete_from(self) -> int:
        """Return the first slot whose windows are complete."""
        return complete_from(self.kept_since_ms)

    def to_json(self) -> str:
        """Return the message for the topic."""
        document: StartDocument = {
            "schema_version": START_SCHEMA_VERSION,
            "entity": self.entity.value,
            "kept_since_ms": self.kept_since_ms,
        }
        return orjson.dumps(document).decode()


class EntityStarts:
    """The starts of all entities, one state of the job."""

    def __init__(self, blob: bytes | None = None) -> None:
        """Decode the stored state; without bytes no start is known.

        Raises:
            StateCorrupt: the bytes are damaged.
            StateVersionUnsupported: a newer release wrote them.
        """
        self._since: dict[Entity, int] | None = None
        """``None``: the job has no state yet, or an earlier release wrote it."""
        self._published = -1
        if blob is not None:
            self._decode(blob)

    @classmethod
    def lost(cls) -> Self:
        """Return starts after a damage of the state: every entity is kept since the next decision."""
        starts = cls()
        starts._since = {}
        return starts

    def at(self, entities: Sequence[Entity], time_ms: int, *, is_short_accepted: bool) -> list[EntityStart]:
        """Note which entities are kept at an event time, and return what to publish: everything once per slot.

        Args:
            entities: whose history the job keeps.
            time_ms: event time of a decision.
            is_short_accepted: whether a short history counts as complete.
        """
        new = 0 if self._since is None or is_short_accepted else time_ms
        before = self._since or {}
        since = {entity: 0 if is_short_accepted else before.get(entity, new) for entity in entities}
        slot = time_ms // SLOT_MS
        if since == self._since and slot <= self._published:
            return []
        self._since, self._published = since, max(slot, self._published)
        return [EntityStart(entity, kept_since_ms) for entity, kept_since_ms in since.items()]

    def to_bytes(self) -> bytes:
        """Return the stored form."""
        entries = [_ENTRY.pack(ord(entity.value[0]), since) for entity, since in (self._since or {}).items()]
        return seal(_VERSION, _SLOT.pack(self._published) + b"".join(entries))

    def _decode(self, blob: bytes) -> None:
        body = unseal(blob, _VERSION, _SLOT.size, "starts")
        if (len(body) - _SLOT.size) % _ENTRY.size:
            raise StateCorrupt("the stored starts of entities are cut short")
        (self._published,) = _SLOT.unpack_from(body)
        stored = dict(_ENTRY.iter_unpack(body[_SLOT.size :]))
        self._since = {entity: stored[letter] for letter, entity in _LETTERS.items() if letter in stored}


def parse_message(payload: bytes | None) -> EntityRow | EntityStart | str:
    """Return the row or the start in some bytes, or why they are neither; the text quotes no value."""
    document = contract_object(payload, *_VERSIONS)
    if isinstance(document, str):
        return document
    return _start_in(document) if document["schema_version"] == START_SCHEMA_VERSION else row_in(document)


def read_message(key: str | bytes | None, payload: bytes | None) -> tuple[EntityRow | EntityStart | None, str]:
    """Return what a message of the topic says, and why its bytes cannot be read; the text is empty if they can.

    Args:
        key: the key of the message.
        payload: its bytes.

    Returns:
        See ``parse_message``, and ``without_message`` for bytes that cannot be read.
    """
    message = parse_message(payload)
    return (without_message(key), message) if isinstance(message, str) else (message, "")


def without_message(key: str | bytes | None) -> EntityRow | EntityStart | None:
    """Return what is known about the key of a message that cannot be read: nothing, until the next message with it.

    The message replaces the one before, which may be outdated. Without this, an entity would keep its numbers of an
    earlier slot, or look like one without history.

    Args:
        key: the key of the message.

    Returns:
        A row or a start without inputs; ``None`` for a key that no row and no start has.
    """
    try:
        text = key.decode() if isinstance(key, bytes) else key or ""
        entity, name = split_key(text)
    except ValueError:
        return None
    if not name and text:
        return EntityStart(entity, NOT_KNOWN_MS)
    row = EntityRow(entity, name, 0, NO_HISTORY, NO_HISTORY, NOT_KNOWN_MS)
    return row if name and SEPARATOR not in name and row.key == text else None


def _start_in(document: dict[str, Any]) -> EntityStart | str:
    entity, since = document.get("entity"), document.get("kept_since_ms")
    if type(entity) is not str or entity not in set(Entity):
        return f"entity must be {' or '.join(Entity)}"
    if not is_since(since, 0):
        return "kept_since_ms must be milliseconds since 1970"
    return EntityStart(Entity(entity), cast("int", since))
