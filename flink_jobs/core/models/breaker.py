"""When to stop asking a model that fails: so many faults within so many uses."""

from collections import deque


class FaultBreaker:
    """Opens after ``limit`` faults within ``window`` uses; a fault now and then is forgotten.

    >>> breaker = FaultBreaker(limit=2, window=10)
    >>> breaker.fault(at_use=3), breaker.fault(at_use=13), breaker.fault(at_use=14)
    (False, False, True)
    """

    def __init__(self, limit: int, window: int) -> None:
        """Start closed.

        Args:
            limit: faults that open it, from 1.
            window: uses within which they must lie, from ``limit``.
        """
        self._window = window
        self._limit = limit
        self._faults: deque[int] = deque(maxlen=limit)

    def fault(self, at_use: int) -> bool:
        """Take in a fault at the ``at_use``-th use, in ascending order; tell whether that was one too many."""
        self._faults.append(at_use)
        return len(self._faults) == self._limit and at_use - self._faults[0] < self._window
