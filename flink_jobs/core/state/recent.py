"""Cache of decoded states: the next transaction of a recent customer needs no read and no decoding.

By default the state backend has the authoritative copy: every decision writes the customer's state there, so every
checkpoint holds it. After ``defer`` the cache is *deferred*: it has the newest state of its customers, and encodes it
only when the customer leaves the cache or the caller collects the states, which it must do before each checkpoint. A
customer with many transactions between two checkpoints is then encoded once. After a restore the cache is empty.
"""

from collections import OrderedDict
from typing import Final

from flink_jobs.core.state.customer import CustomerFraudState

MAX_OLDER_BYTES: Final = 64 * 2**20
"""Memory for ids that have left the ring, over all kept states: a customer with 5,000 ids has 45 kB of them."""

_Kept = tuple[CustomerFraudState, int, int]

_careful: set[str] = set()
"""Customers whose deferred state was lost in this process. They are not deferred again: see ``UnsavedStateLost``."""


class UnsavedStateLost(Exception):  # noqa: N818 - named after the state
    """A transaction failed while it changed a state that only this cache has, so the job must restart.

    The records since the checkpoint come again. In the same process the customer's states are then stored one by one,
    so the same failure rejects one record, as it does without a deferred cache.
    """


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
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._older_bytes = 0
        self._taken: _Kept | None = None
        self._most_unsaved = 0
        self._unsaved: dict[str, CustomerFraudState] = {}
        self._saved: dict[str, bytes] = {}

    def defer(self, most_unsaved: int) -> None:
        """Encode states later, for a caller that collects them with ``collect`` and ``collect_all``.

        Args:
            most_unsaved: number of unsaved states above which the oldest ones are encoded. A cache without capacity
                stays as it is.
        """
        self._most_unsaved = most_unsaved if self._capacity else 0

    def take(self, customer_id: str, now_ms: int) -> CustomerFraudState | None:
        """Remove and return a customer's state; ``None`` means that the caller must read the backend.

        The state is removed because the caller changes it. The caller then calls ``keep``; ``put_back`` if it has not
        changed the state; or ``lose`` after a failure during the change: the next transaction reads the backend.
        """
        kept = self._kept.pop(customer_id, None)
        if kept is None:
            return None
        state, written_ms, older_bytes = kept
        self._older_bytes -= older_bytes
        if now_ms - written_ms < self._time_to_live_ms:
            self._taken = kept
            return state
        self._unsaved.pop(customer_id, None)
        return None

    def put_back(self, customer_id: str) -> None:
        """Keep the state that was taken last; the caller has not changed it."""
        kept = self._taken
        if kept is not None:
            self._kept[customer_id] = kept
            self._older_bytes += kept[2]

    def lose(self, customer_id: str) -> None:
        """Give up the state that was taken last, because a failure may have left it half changed.

        Raises:
            UnsavedStateLost: only the cache had this state.
        """
        if self._unsaved.pop(customer_id, None) is not None:
            _careful.add(customer_id)
            raise UnsavedStateLost("a failed transaction changed a state that no checkpoint has; the job restarts")

    def keep(self, customer_id: str, state: CustomerFraudState, written_ms: int) -> bytes:
        """Keep a state that was taken or is new.

        Returns:
            The encoded state, for the caller to store. Of a deferred state, empty bytes: ``collect`` returns it later.
        """
        encoded = b""
        if self._most_unsaved and customer_id not in _careful:
            self._unsaved[customer_id] = state
            if len(self._unsaved) > self._most_unsaved:
                self._save(next(iter(self._unsaved)))
        else:
            encoded = state.to_bytes()
        older_bytes = state.older_bytes
        self._kept[customer_id] = (state, written_ms, older_bytes)
        self._older_bytes += older_bytes
        while len(self._kept) > self._capacity or self._older_bytes > MAX_OLDER_BYTES:
            removed, (_, _, removed_bytes) = self._kept.popitem(last=False)
            self._older_bytes -= removed_bytes
            if removed in self._unsaved:
                self._save(removed)
        return encoded

    def holds(self, customer_id: str) -> bool:
        """Return whether the cache has a customer's state."""
        return customer_id in self._kept

    def saved(self, customer_id: str) -> bytes | None:
        """Return an encoded state that has left the cache and has not been collected; ``None`` without one."""
        return self._saved.get(customer_id)

    def collect(self) -> dict[str, bytes]:
        """Return the states that were encoded since the last call, by customer; the caller stores them."""
        saved = self._saved
        if saved:
            self._saved = {}
        return saved

    def collect_all(self) -> dict[str, bytes]:
        """Encode all unsaved states, and return the states that the caller has not collected."""
        for customer_id, state in self._unsaved.items():
            self._saved[customer_id] = state.to_bytes()
        self._unsaved.clear()
        return self.collect()

    def _save(self, customer_id: str) -> None:
        self._saved[customer_id] = self._unsaved.pop(customer_id).to_bytes()
