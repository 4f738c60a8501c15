"""What a customer usually pays per category, in bounded memory that follows a changing customer.

Per category (and currency): how often, and mean and spread of the logarithm of the amount, by Welford's update with
the count capped, so that old purchases fade. Kept as parallel arrays: their bytes are copied in and out as a whole.
Means and spreads are float32 from the start, so a state is the same before and after its bytes.
"""

import math
import zlib
from array import array
from dataclasses import dataclass
from typing import Final

MAX_CATEGORIES: Final = 16
"""Categories kept per customer; another takes the place of the one used least."""
MEMORY: Final = 200
"""Purchases of a category after which older ones fade: each new one then weighs 1/200."""
KEY, COUNT, NUMBER = "I", "H", "f"
"""Item types of the arrays: 4 bytes unsigned, 2 bytes unsigned, 4 bytes float."""


def category_key(category: str, currency: str) -> int:
    """Return 32 bits for a category of amounts in a currency.

    Two of a customer's sixteen collide with a chance below one in 10^7, and then share a habit.
    """
    return zlib.crc32(f"{currency}\x1f{category}".encode())


def log_amount(amount: float) -> float:
    """Return the logarithm that habits are kept in: of the amount plus one, so that zero has one too."""
    return math.log1p(amount)


@dataclass(init=False)
class CategoryHabits:
    """Habits of one customer; place `i` of every array is one category."""

    keys: "array[int]"
    """32-bit keys, see ``category_key``."""
    counts: "array[int]"
    """Purchases, at most ``MEMORY``."""
    means: "array[float]"
    """Mean logarithm of the amount."""
    m2s: "array[float]"
    """Sum of squared deviations from the mean."""

    def __init__(self, keys: bytes = b"", counts: bytes = b"", means: bytes = b"", m2s: bytes = b"") -> None:
        """Take the arrays' bytes; without them, a customer of whom nothing is known."""
        self.keys = array(KEY, keys)
        self.counts = array(COUNT, counts)
        self.means = array(NUMBER, means)
        self.m2s = array(NUMBER, m2s)

    def place(self, key: int) -> int:
        """Return where a category is, or -1."""
        try:
            return self.keys.index(key)
        except ValueError:
            return -1

    def push(self, key: int, log_amount: float) -> None:
        """Take one purchase in."""
        place = self.place(key)
        if place < 0:
            place = self._start(key)
        count = self.counts[place] + 1
        m2 = self.m2s[place]
        if count > MEMORY:
            count = MEMORY
            m2 *= (MEMORY - 1) / MEMORY
        mean = self.means[place]
        delta = log_amount - mean
        mean += delta / count
        self.counts[place] = count
        self.means[place] = mean
        self.m2s[place] = m2 + delta * (log_amount - mean)

    def _start(self, key: int) -> int:
        if len(self.keys) == MAX_CATEGORIES:
            place = min(range(MAX_CATEGORIES), key=self.counts.__getitem__)
            self.keys[place], self.counts[place], self.means[place], self.m2s[place] = key, 0, 0.0, 0.0
            return place
        self.keys.append(key)
        self.counts.append(0)
        self.means.append(0.0)
        self.m2s.append(0.0)
        return len(self.keys) - 1
