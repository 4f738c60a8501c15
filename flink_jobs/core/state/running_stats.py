"""Mean and variance of a stream in constant memory.

Welford's update (B. P. Welford, Technometrics 4(3), 1962) and the pairwise merge of Chan, Golub and LeVeque
(1979). Both are numerically stable where the textbook ``E[x^2] - E[x]^2`` loses every digit.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(init=False)
class RunningStats:
    """Count, mean and sum of squared deviations of the numbers seen.

    >>> stats = RunningStats.of([2.0, 4.0, 6.0])
    >>> stats.count, stats.mean, stats.variance, stats.std
    (3, 4.0, 4.0, 2.0)
    """

    count: int
    mean: float
    m2: float
    """Sum of squared deviations from the mean, in the square of the unit of the numbers."""

    def __init__(self, count: int = 0, mean: float = 0.0, m2: float = 0.0) -> None:
        """Take numbers known already; without them, begin.

        Written out, as those of the other parts of a state: the compiler makes machine code of this one and of none
        that ``dataclass`` makes up when the program runs.
        """
        self.count = count
        self.mean = mean
        self.m2 = m2

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return the statistics of some numbers."""
        stats = cls()
        for value in values:
            stats.push(value)
        return stats

    def push(self, value: float) -> None:
        """Add one number in O(1)."""
        self.count += 1
        delta = value - self.mean
        self.mean += delta / self.count
        self.m2 += delta * (value - self.mean)

    def merge(self, other: "RunningStats") -> "RunningStats":
        """Return the statistics of both streams together, as if all numbers had been pushed into one."""
        count = self.count + other.count
        if count == 0:
            return RunningStats()
        delta = other.mean - self.mean
        share = other.count / count
        return RunningStats(
            count,
            self.mean + delta * share,
            self.m2 + other.m2 + delta * delta * self.count * share,
        )

    @property
    def variance(self) -> float:
        """Sample variance (n - 1); NaN below two numbers, for none is known."""
        return self.m2 / (self.count - 1) if self.count > 1 else math.nan

    @property
    def std(self) -> float:
        """Sample standard deviation, in the unit of the numbers; NaN below two numbers."""
        return math.sqrt(self.variance) if self.count > 1 else math.nan
