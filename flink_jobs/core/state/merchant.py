"""The state of one merchant: counts, amounts and frauds in slots of six hours, in bounded memory.

Every number is an integer, so the state does not depend on the order in which transactions and labels arrive. The
stored form is ``version (u8) | crc32 (u32) | newest slot and lengths | arrays``.
"""

import struct
from array import array
from dataclasses import dataclass
from math import log1p
from typing import Final

from flink_jobs.core.state.codec import StateCorrupt
from flink_jobs.core.state.sealed import HEADER_BYTES, seal, unseal

MERCHANT_VERSION: Final = 1
SLOT_MS: Final = 21_600_000
"""Length of a slot: 6 hours."""
SLOTS_PER_DAY: Final = 4
LONGEST_DAYS: Final = 30
"""Longest window, in days."""
LATE_DAYS: Final = 2
"""Days behind the newest transaction for which windows are still complete."""
MAX_DELAY_DAYS: Final = 60
MAX_FRAUD_IDS: Final = 256
"""Frauds whose label is recognised when it arrives again; older labels would count twice."""
LOG_UNIT: Final = 1024
"""Logarithms of amounts are added up as multiples of 1/1024."""
_MOST: Final = 0xFFFF_FFFF
_HEAD: Final = struct.Struct("<HH")
_SLOT, _COUNT, _SUM, _ID = "i", "I", "q", "Q"
_SLOT_BYTES: Final = 4 + 4 + 4 + 8
_ID_BYTES: Final = 8 + 4


def kept_slots(delay_days: int) -> int:
    """Return the number of slots that a state keeps: the longest window behind the delay of labels, and late ones."""
    return (LONGEST_DAYS + delay_days + LATE_DAYS) * SLOTS_PER_DAY


def max_merchant_bytes(delay_days: int) -> int:
    """Return the largest size of a state in bytes; 6,201 for a delay of 7 days."""
    return HEADER_BYTES + _HEAD.size + kept_slots(delay_days) * _SLOT_BYTES + MAX_FRAUD_IDS * _ID_BYTES


def log_units(amount: float) -> int:
    """Return ``log(1 + amount)`` in multiples of 1/1024."""
    return round(log1p(amount) * LOG_UNIT)


@dataclass(init=False)
class MerchantState:
    """Transactions and frauds of one merchant; index ``i`` of the first four arrays is one slot."""

    slots: "array[int]"
    """Number of the slot since 1970, ascending; a slot without transactions and frauds is left out."""
    counts: "array[int]"
    """Transactions in the slot."""
    log_sums: "array[int]"
    """Sum of ``log_units`` of their amounts."""
    frauds: "array[int]"
    """Frauds among them, by the labels learned so far."""
    fraud_ids: "array[int]"
    """Fingerprints of the latest transactions labelled fraud, in the order of their labels."""
    fraud_slots: "array[int]"
    """Slot of each of these transactions."""

    def __init__(self, blob: bytes | None = None) -> None:
        """Decode a stored state; without bytes it is empty.

        Raises:
            StateCorrupt: the bytes are damaged.
            StateVersionUnsupported: a newer release wrote them.
        """
        self.slots, self.counts = array(_SLOT), array(_COUNT)
        self.log_sums, self.frauds = array(_SUM), array(_COUNT)
        self.fraud_ids, self.fraud_slots = array(_ID), array(_SLOT)
        if blob is not None:
            self._decode(blob)

    def update(self, time_ms: int, amount: float, delay_days: int) -> bool:
        """Add a transaction.

        Args:
            time_ms: its event time.
            amount: its amount in major units.
            delay_days: days until a label is known; it determines how long slots are kept.

        Returns:
            False if the transaction is too old to count.
        """
        slot = time_ms // SLOT_MS
        kept = kept_slots(delay_days)
        if self.slots and slot <= self.slots[-1] - kept:
            return False
        place = self._place(slot)
        if self.counts[place] < _MOST:
            self.counts[place] += 1
            self.log_sums[place] += log_units(amount)
        if place == len(self.slots) - 1:
            self._forget(slot - kept)
        return True

    def learn(self, fingerprint: int, time_ms: int, *, is_fraud: bool) -> bool:
        """Learn the label of a transaction; a later label replaces an earlier one.

        Args:
            fingerprint: 64 bits that identify the transaction.
            time_ms: event time of the transaction, not of the label.
            is_fraud: the label. A genuine transaction changes the state only if it was labelled fraud earlier.

        Returns:
            Whether the state changed.
        """
        slot = time_ms // SLOT_MS
        known = self._find(fingerprint)
        if known >= 0:
            if is_fraud:
                return False
            self._unlearn(known)
            return True
        if not is_fraud or not self.slots or not self.slots[0] <= slot <= self.slots[-1]:
            return False
        place = self._place(slot)
        if self.frauds[place] < _MOST:
            self.frauds[place] += 1
        if len(self.fraud_ids) == MAX_FRAUD_IDS:
            del self.fraud_ids[0]
            del self.fraud_slots[0]
        self.fraud_ids.append(fingerprint)
        self.fraud_slots.append(slot)
        return True

    def totals(self, first: int, end: int) -> tuple[int, int, int]:
        """Return transactions, sum of ``log_units`` and frauds of the slots from ``first`` up to ``end``, excluded."""
        count = log_sum = fraud = 0
        slots = self.slots
        for place in range(len(slots) - 1, -1, -1):
            slot = slots[place]
            if slot < first:
                break
            if slot < end:
                count += self.counts[place]
                log_sum += self.log_sums[place]
                fraud += self.frauds[place]
        return count, log_sum, fraud

    def to_bytes(self) -> bytes:
        """Return the stored form, at most ``max_merchant_bytes`` long."""
        return seal(MERCHANT_VERSION, b"".join((
            _HEAD.pack(len(self.slots), len(self.fraud_ids)),
            self.slots.tobytes(), self.counts.tobytes(), self.log_sums.tobytes(), self.frauds.tobytes(),
            self.fraud_ids.tobytes(), self.fraud_slots.tobytes(),
        )))  # fmt: skip

    def _decode(self, blob: bytes) -> None:
        body = unseal(blob, MERCHANT_VERSION, _HEAD.size, "state")
        slots, ids = _HEAD.unpack_from(body)
        if len(body) != _HEAD.size + slots * _SLOT_BYTES + ids * _ID_BYTES:
            raise StateCorrupt("a merchant's state has another length than its head says")
        start = _HEAD.size
        for values, number in (
            (self.slots, slots), (self.counts, slots), (self.log_sums, slots), (self.frauds, slots),
            (self.fraud_ids, ids), (self.fraud_slots, ids),
        ):  # fmt: skip
            end = start + number * values.itemsize
            values.frombytes(body[start:end])
            start = end

    def _place(self, slot: int) -> int:
        """Return the index of a slot, which is added if it is new."""
        slots = self.slots
        place = len(slots)
        while place > 0 and slots[place - 1] >= slot:
            place -= 1
        if place < len(slots) and slots[place] == slot:
            return place
        slots.insert(place, slot)
        self.counts.insert(place, 0)
        self.log_sums.insert(place, 0)
        self.frauds.insert(place, 0)
        return place

    def _find(self, fingerprint: int) -> int:
        try:
            return self.fraud_ids.index(fingerprint)
        except ValueError:
            return -1

    def _unlearn(self, known: int) -> None:
        slot = self.fraud_slots[known]
        del self.fraud_ids[known]
        del self.fraud_slots[known]
        if self.slots and slot >= self.slots[0]:
            place = self._place(slot)
            self.frauds[place] = max(0, self.frauds[place] - 1)

    def _forget(self, last: int) -> None:
        """Delete the slots up to ``last``."""
        old = 0
        while self.slots[old] <= last:
            old += 1
        if old:
            del self.slots[:old]
            del self.counts[:old]
            del self.log_sums[:old]
            del self.frauds[:old]
