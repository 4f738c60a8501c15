"""The step of one merchant, terminal, device or card: events and time in; rows to publish and states to store out.

It holds two states: the entity's history (``state.merchant``), and the progress: the slot whose row was published
last, and labels of frauds that arrived before their transaction. The stored progress is
``version (u8) | crc32 (u32) | published slot (i32) | labels (u16) | fingerprints (u64) | event times (i64)``.
Version 2 begins with ``kept since (i64)``, the event time from which the history is known. It is written only for an
entity whose state was damaged, until its windows are complete again.
"""

from __future__ import annotations

from array import array
from enum import StrEnum
from struct import Struct
from typing import TYPE_CHECKING, Final

from flink_jobs.core.features.entity_risk import DEFAULT_DELAY_DAYS, Entity
from flink_jobs.core.merchants.coverage import complete_from
from flink_jobs.core.merchants.row import row_of
from flink_jobs.core.state.codec import StateCorrupt
from flink_jobs.core.state.merchant import SLOT_MS, SLOTS_PER_DAY, MerchantState, kept_slots
from flink_jobs.core.state.sealed import seal, unseal

if TYPE_CHECKING:
    from typing import Self

    from flink_jobs.core.merchants.events import EntityLabel
    from flink_jobs.core.merchants.row import EntityRow

PROGRESS_VERSION: Final = 1
KEPT_PROGRESS_VERSION: Final = 2
MOST_WAITING: Final = 256
"""Frauds of one entity whose label waits for the transaction; the oldest is dropped for a further one."""
_HEAD: Final = Struct("<iH")
_SINCE: Final = Struct("<q")
_LABEL_BYTES: Final = 16
_NONE: Final = -1
_NEXT: Final = -1
"""The history is known from the next publication on; only then is the present time certain."""


class LabelOutcome(StrEnum):
    """What became of a label in the job of merchants."""

    LEARNED = "learned"
    KNOWN = "known"
    """It changes nothing: the same label again, or the finding genuine for a transaction that was not called fraud."""
    WAITING = "waiting"
    """The entity has no transaction of this time yet."""
    TOO_OLD = "too_old"
    NO_MERCHANT = "no_merchant"
    """It does not name the merchant, like the following three."""
    NO_TERMINAL = "no_terminal"
    NO_DEVICE = "no_device"
    NO_CARD = "no_card"
    UNREADABLE = "unreadable"


class EntityBook:
    """One entity between two reads of its states."""

    def __init__(
        self, name: str, history: bytes | None, progress: bytes | None, entity: Entity = Entity.MERCHANT
    ) -> None:
        """Decode the stored states.

        Raises:
            StateCorrupt: the bytes are damaged.
            StateVersionUnsupported: a newer release wrote them.
        """
        self.name, self.entity = name, entity
        self.history = MerchantState(history)
        self.published: int | None = None
        """Slot of the row that was published last."""
        self.has_new_progress = False
        """Whether the progress differs from the stored one."""
        self.kept_since_ms = 0
        """Event time from which the history is known, milliseconds since the epoch; 0: it is complete."""
        self._waiting: list[tuple[int, int]] = []
        if progress is not None:
            self._decode(progress)

    @classmethod
    def lost(cls, name: str, entity: Entity) -> Self:
        """Return an entity whose stored states are damaged: without history, which is known from now on."""
        book = cls(name, None, None, entity)
        book.kept_since_ms = _NEXT
        return book

    def accept_short_history(self) -> None:
        """Count a history that was lost as complete from now on."""
        self.has_new_progress = self.has_new_progress or self.kept_since_ms != 0
        self.kept_since_ms = 0

    def buy(self, time_ms: int, amount: float) -> EntityRow | None:
        """Add a purchase; return a new row of the published slot if it changes that row: the purchase is late."""
        if not self.history.update(time_ms, amount, DEFAULT_DELAY_DAYS):
            return None
        is_due = self._retry_waiting()
        return self._row_again(is_changed=is_due or self._is_published(time_ms // SLOT_MS))

    def learn(self, label: EntityLabel) -> tuple[LabelOutcome, EntityRow | None]:
        """Learn a label; return what became of it, and a new row of the published slot if it changes that row."""
        slot, slots = label.time_ms // SLOT_MS, self.history.slots
        waiting = label.fingerprint, label.time_ms
        if self.history.learn(label.fingerprint, label.time_ms, is_fraud=label.is_fraud):
            return LabelOutcome.LEARNED, self._row_again(is_changed=self._is_due(slot))
        if slots and slot <= slots[-1] - kept_slots(DEFAULT_DELAY_DAYS):
            return LabelOutcome.TOO_OLD, None
        if not label.is_fraud and waiting in self._waiting:
            self._waiting.remove(waiting)
            return LabelOutcome.LEARNED, None
        if not label.is_fraud or waiting in self._waiting or (slots and slots[0] <= slot <= slots[-1]):
            return LabelOutcome.KNOWN, None
        self._waiting = [*self._waiting, waiting][-MOST_WAITING:]
        return LabelOutcome.WAITING, None

    def advance(self, slot: int, present_ms: int) -> EntityRow | None:
        """Publish the row of a slot that has begun; ``None`` if a later one is published already.

        Args:
            slot: the slot.
            present_ms: event time that no transaction has passed, milliseconds since the epoch.
        """
        if self.published is not None and slot <= self.published:
            return None
        self.published = slot
        if self.kept_since_ms == _NEXT:
            self.kept_since_ms = present_ms
        elif slot > complete_from(self.kept_since_ms):  # the row has the slot before, too
            self.kept_since_ms = 0
        return self._row(slot)

    def next_slot(self) -> int | None:
        """Return the next slot whose row must be published; ``None`` once the entity has no history left."""
        published = _NONE if self.published is None else self.published
        if published >= 0 and not self._row(published).is_empty:
            return published + 1
        return next((slot + 1 for slot in self.history.slots if slot >= published), None)

    def forget(self) -> bytes | None:
        """Drop a history that no window covers any more; return the progress if labels still wait, else ``None``."""
        oldest = (_NONE if self.published is None else self.published) - kept_slots(DEFAULT_DELAY_DAYS)
        self._waiting = [item for item in self._waiting if item[1] // SLOT_MS > oldest]
        self.history, self.published = MerchantState(), None
        return self.progress_bytes() if self._waiting else None

    def progress_bytes(self) -> bytes:
        """Return the stored form of the progress."""
        published = _NONE if self.published is None else self.published
        fingerprints = array("Q", [fingerprint for fingerprint, _ in self._waiting])
        times = array("q", [time_ms for _, time_ms in self._waiting])
        body = _HEAD.pack(published, len(self._waiting)) + fingerprints.tobytes() + times.tobytes()
        if self.kept_since_ms:
            return seal(KEPT_PROGRESS_VERSION, _SINCE.pack(self.kept_since_ms) + body)
        return seal(PROGRESS_VERSION, body)

    def _decode(self, blob: bytes) -> None:
        if blob[:1] == bytes((KEPT_PROGRESS_VERSION,)):
            body = unseal(blob, KEPT_PROGRESS_VERSION, _SINCE.size + _HEAD.size, "progress")
            (self.kept_since_ms,) = _SINCE.unpack_from(body)
            body = body[_SINCE.size :]
        else:
            body = unseal(blob, PROGRESS_VERSION, _HEAD.size, "progress")
        published, count = _HEAD.unpack_from(body)
        if len(body) != _HEAD.size + count * _LABEL_BYTES:
            raise StateCorrupt("a stored progress has another length than its head says")
        self.published = None if published == _NONE else published
        fingerprints, times = array("Q"), array("q")
        middle = _HEAD.size + count * fingerprints.itemsize
        fingerprints.frombytes(body[_HEAD.size : middle])
        times.frombytes(body[middle:])
        self._waiting = list(zip(fingerprints, times, strict=True))

    def _retry_waiting(self) -> bool:
        """Learn labels whose transactions may be there now; return whether one of them changes the published row."""
        if not self._waiting:
            return False
        waiting, self._waiting = self._waiting, []
        self.has_new_progress = True
        changes = False
        slots = self.history.slots
        oldest = slots[-1] - kept_slots(DEFAULT_DELAY_DAYS)
        for fingerprint, time_ms in waiting:
            slot = time_ms // SLOT_MS
            if self.history.learn(fingerprint, time_ms, is_fraud=True):
                changes = changes or self._is_due(slot)
            elif slot > oldest and not slots[0] <= slot <= slots[-1]:
                self._waiting.append((fingerprint, time_ms))
        return changes

    def _is_published(self, slot: int) -> bool:
        return self.published is not None and slot < self.published

    def _is_due(self, slot: int) -> bool:
        """Return whether a label of a slot counts in the published row, because its delay is over."""
        return self._is_published(slot + DEFAULT_DELAY_DAYS * SLOTS_PER_DAY)

    def _row_again(self, *, is_changed: bool) -> EntityRow | None:
        if not is_changed or self.published is None:
            return None
        return self._row(self.published)

    def _row(self, slot: int) -> EntityRow:
        return row_of(self.name, self.history, slot, self.entity, max(self.kept_since_ms, 0))
