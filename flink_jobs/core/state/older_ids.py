"""Fingerprints of a customer's transaction ids that have left the ring, so that a late redelivery is recognised.

Eight bytes per id, in order of arrival, in one buffer: an id is appended, the oldest ids are deleted in chunks, and the
checksum of the buffer follows each id in constant time. A search scans the lowest byte of each id, one byte per id, and
compares whole ids where that byte is equal: one in 256.
"""

import zlib
from array import array
from dataclasses import dataclass
from typing import Final, NamedTuple

DAY_MS: Final = 86_400_000
ID_BYTES: Final = 8
PAGE_BYTES: Final = 2 + 2
"""One page of the index: its day and its number of ids, 2 bytes unsigned each."""
PAGE: Final = "H"
SLACK: Final = 128
"""Ids above the bound at which the oldest are deleted: a deletion computes the checksum again, so it must be rare."""
_LAST_DAY: Final = 0xFFFF


class DuplicateWindow(NamedTuple):
    """How long the transaction ids of a customer are remembered. The last 32 are remembered in any case."""

    days: int = 7
    """Days of event time, counted back from the customer's newest transaction."""
    transactions: int = 5_000
    """Transactions of the customer, the last ones to arrive; at least 32, at most 50,000."""


DEFAULT_WINDOW: Final = DuplicateWindow()


@dataclass(init=False)
class OlderIds:
    """The ids of one customer that are no longer in the ring; page `i` of both indexes is one day."""

    ids: bytearray
    """Fingerprints, 8 bytes each, little-endian, in order of arrival."""
    tags: bytearray
    """The lowest byte of each fingerprint. It is derived from ``ids`` and not stored."""
    page_days: "array[int]"
    """Days since 1970 (UTC), ascending, at most ``DuplicateWindow.days`` + 2 of them; no id of a page is newer."""
    page_counts: "array[int]"
    """Number of ids in each page."""
    checksum: int
    """CRC-32 of ``ids``, started from ``seed``."""
    seed: int

    def __init__(self, seed: int, ids: bytes = b"", page_days: bytes = b"", page_counts: bytes = b"") -> None:
        """Copy the stored bytes; without them, start empty.

        Args:
            seed: start value of the checksum.
            ids: the stored fingerprints.
            page_days: the stored days, as many as there are pages.
            page_counts: the stored numbers of ids.

        Raises:
            ValueError: the pages do not hold as many ids as there are.
        """
        self.ids = bytearray(ids)
        self.tags = self.ids[::ID_BYTES]
        self.page_days = array(PAGE, page_days)
        self.page_counts = array(PAGE, page_counts)
        self.seed = seed
        self.checksum = zlib.crc32(ids, seed)
        if sum(self.page_counts) * ID_BYTES != len(ids):
            raise ValueError("the pages do not hold as many ids as there are")

    def holds(self, fingerprint: int) -> bool:
        """Return whether a fingerprint is among the ids."""
        tags = self.tags
        tag = fingerprint & 0xFF
        place = tags.find(tag)
        if place < 0:
            return False
        ids, wanted = self.ids, fingerprint.to_bytes(ID_BYTES, "little")
        while place >= 0:
            if ids.startswith(wanted, place * ID_BYTES):
                return True
            place = tags.find(tag, place + 1)
        return False

    def add(self, fingerprint: int, time_ms: int) -> None:
        """Append an id whose transaction is not newer than ``time_ms``."""
        stored = fingerprint.to_bytes(ID_BYTES, "little")
        self.ids += stored
        self.tags.append(stored[0])
        self.checksum = zlib.crc32(stored, self.checksum)
        days, counts = self.page_days, self.page_counts
        day = min(max(time_ms // DAY_MS, 0), _LAST_DAY)
        if len(days) and days[-1] >= day:
            counts[-1] += 1
        else:
            days.append(day)
            counts.append(1)

    def trim(self, oldest_ms: int, most: int) -> None:
        """Delete the days that end before ``oldest_ms``; of more than ``most`` + ``SLACK`` ids, keep the last ``most``.

        It takes constant time unless something is deleted.
        """
        days, counts = self.page_days, self.page_counts
        surplus = 0
        pages = 0
        while pages < len(days) and (days[pages] + 1) * DAY_MS <= oldest_ms:
            surplus += counts[pages]
            pages += 1
        excess = len(self.tags) - surplus - most
        if excess > SLACK:
            surplus += excess
            while pages < len(days) and counts[pages] <= excess:
                excess -= counts[pages]
                pages += 1
            if excess:
                counts[pages] -= excess
        if surplus:
            del days[:pages], counts[:pages], self.tags[:surplus], self.ids[: surplus * ID_BYTES]
            self.checksum = zlib.crc32(self.ids, self.seed)
