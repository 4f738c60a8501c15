"""Decoded states of the customers seen last: their next transaction need not read and decode what was just written.

A copy, never the truth: every decision still writes the customer's state to the backend with its event, so a checkpoint
holds it, and whoever restores one begins with nothing here.
"""

from collections import OrderedDict

from flink_jobs.core.state.customer import CustomerFraudState


class RecentStates:
    """A bounded number of states; the customer not seen for longest leaves first."""

    def __init__(self, capacity: int, time_to_live_ms: int) -> None:
        """Begin empty.

        Args:
            capacity: customers at most; 0 keeps none.
            time_to_live_ms: the backend's, after which it may have forgotten a customer, and so must we.
        """
        self._capacity = capacity
        self._time_to_live_ms = time_to_live_ms
        self._kept: OrderedDict[str, tuple[CustomerFraudState, int]] = OrderedDict()

    def take(self, customer_id: str, now_ms: int) -> CustomerFraudState | None:
        """Take a customer's state out, or return ``None`` where the backend has to be asked.

        It is the caller's from then on: after a failure in mid-change nobody puts it back, and the backend is asked.
        """
        kept = self._kept.pop(customer_id, None)
        if kept is None:
            return None
        state, written_ms = kept
        return state if now_ms - written_ms < self._time_to_live_ms else None

    def keep(self, customer_id: str, state: CustomerFraudState, written_ms: int) -> None:
        """Keep what is being written to the backend, and nothing else."""
        self._kept[customer_id] = (state, written_ms)
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
