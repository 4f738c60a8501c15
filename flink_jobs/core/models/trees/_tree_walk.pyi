# Documented in _tree_walk.c and walk.py.
from typing import final

import numpy as np
from numpy.typing import NDArray

@final
class Walker:
    def __new__(
        cls,
        feature_count: int,
        roots: NDArray[np.int64],
        feature: NDArray[np.int16],
        boundary: NDArray[np.float64],
        left: NDArray[np.int64],
        right: NDArray[np.int64],
        value: NDArray[np.int64],
        /,
    ) -> Walker: ...
    def __call__(self, row: tuple[float, ...], /) -> float: ...
