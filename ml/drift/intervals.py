"""The confidence interval of a share."""

from __future__ import annotations

import math
from typing import Final

Z_95: Final = 1.959963984540054


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % score interval of a share (Wilson, JASA 1927); (0, 1) without trials.

    >>> tuple(round(end, 4) for end in wilson_interval(8, 10))
    (0.4902, 0.9433)
    """
    if not trials:
        return 0.0, 1.0
    share, z2 = hits / trials, Z_95**2
    middle = share + z2 / (2 * trials)
    reach = Z_95 * math.sqrt(share * (1.0 - share) / trials + z2 / (4 * trials**2))
    scale = 1.0 + z2 / trials
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
