"""Cache of decoded states: the next transaction of a recent customer needs no read and no decoding.

The state backend has the authoritative copy: every decision writes the customer's state there, so every checkpoint
holds it. After a restore the cache is empty.
"""

from collections import OrderedDict
from typing import Final

from flink_jobs.core.state.customer import CustomerFraudState

MAX_OLDER_BYTES: Final = 64 * 2**20
"""Memory for ids that have left the ring, over all kept states: a customer with 5,000 ids has 45 kB of them."""


class RecentStates:
    """States of bounded number and memory; the least recently used one is removed first."""

    def __init__(self, capacity: int, time_to_live_ms: int) -> None:
        """Create an empty cache.

        Args:
            capacity: largest number of customers; 0 keeps none.
            time_to_live_ms: time to live of the backend's states; an older state is not returned.
        """
        self._capacity = capacity
        self._time_to_live_ms = time_to_live_ms
        self._kept: OrderedDict[str, tuple[CustomerFraudState, int, int]] = OrderedDict()
        self._older_bytes = 0

    def take(self, customer_id: str, now_ms: int) -> CustomerFraudState | None:
        """Remove and return a customer's state; ``None`` means that the caller must read the backend.

        The state is removed because the caller changes it. After a failure during the change it is not put back, and
        the next transaction reads the backend.
        """
        kept = self._kept.pop(customer_id, None)
        if kept is None:
            return None
        state, written_ms, older_bytes = kept
        self._older_bytes -= older_bytes
        return state if now_ms - written_ms < self._time_to_live_ms else None

    def keep(self, customer_id: str, state: CustomerFraudState, written_ms: int) -> None:
        """Keep a state that was taken or is new, and that is being written to the backend."""
        older_bytes = state.older_bytes
        self._kept[customer_id] = (state, written_ms, older_bytes)
        self._older_bytes += older_bytes
        while len(self._kept) > self._capacity or self._older_bytes > MAX_OLDER_BYTES:
            _, (_, _, removed_bytes) = self._kept.popitem(last=False)
            self._older_bytes -= removed_bytes
