"""Decides when to disable a model: after a number of faults within a number of uses."""

from collections import deque


class FaultBreaker:
    """Opens after ``limit`` faults within ``window`` uses.

    >>> breaker = FaultBreaker(limit=2, window=10)
    >>> breaker.fault(at_use=3), breaker.fault(at_use=13), breaker.fault(at_use=14)
    (False, False, True)
    """

    def __init__(self, limit: int, window: int) -> None:
        """Start closed.

        Args:
            limit: number of faults that opens the breaker, at least 1.
            window: number of consecutive uses that must hold these faults, at least ``limit``.
        """
        self._window = window
        self._limit = limit
        self._faults: deque[int] = deque(maxlen=limit)

    def fault(self, at_use: int) -> bool:
        """Record a fault at use number ``at_use`` (ascending); return whether the breaker opens."""
        self._faults.append(at_use)
        return len(self._faults) == self._limit and at_use - self._faults[0] < self._window
