"""Hypothesis strategies for models of both families: valid trees, most of which training would not produce."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

from flink_jobs.core.models.trees.arrays import (
    ARRAY_DTYPES,
    LEAF,
    BoostingArrays,
    ForestArrays,
    TreeArrays,
    array_names,
)

FEATURE_COUNT = 3
GRID = (-math.inf, -2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0, math.inf)
"""Values shared by thresholds and inputs, so that inputs often equal a threshold."""
rows = st.lists(
    st.tuples(*[st.sampled_from(GRID) | st.floats(allow_nan=False)] * FEATURE_COUNT), min_size=1, max_size=8
)


@st.composite
def models(draw: st.DrawFn, family: type[TreeArrays], max_depth: int = 5) -> TreeArrays:
    """Draw a model of up to eight trees over three features."""
    nodes: dict[str, list[float]] = {
        name: [] for name in ("feature", "threshold", "left", "right", "n_samples", "value")
    }
    offsets = [0]

    def grow(count: int, depth: int, start: int) -> int:
        index = len(nodes["feature"])
        splits = count > 1 and depth < max_depth and draw(st.booleans())
        split = (draw(st.integers(0, FEATURE_COUNT - 1)), draw(st.sampled_from(GRID[1:-1]))) if splits else (LEAF, 0.0)
        value = 0.0 if splits else draw(st.floats(-5.0, 5.0))
        for name, item in zip(nodes, (*split, LEAF, LEAF, count, value), strict=True):
            nodes[name].append(item)
        if splits:
            share = draw(st.integers(1, count - 1))
            nodes["left"][index] = grow(share, depth + 1, start) - start
            nodes["right"][index] = grow(count - share, depth + 1, start) - start
        return index

    grown_on = draw(st.integers(1, 40))
    for _ in range(draw(st.integers(1, 8))):
        grow(grown_on, 0, offsets[-1])
        offsets.append(len(nodes["feature"]))
    values: dict[str, Any] = {
        **nodes, "tree_offsets": offsets, "max_samples": [grown_on], "base": [draw(st.floats(-4.0, 4.0))],
    }  # fmt: skip
    arrays: dict[str, Any] = {name: np.array(values[name], dtype=ARRAY_DTYPES[name]) for name in array_names(family)}
    return family(**arrays)


forests = models(ForestArrays)
boosted = models(BoostingArrays)
