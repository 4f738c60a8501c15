"""Loading and scoring with a forest that is small enough to compute by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from flink_jobs.core.models.model import load_model
from tests.unit.core.forest_samples import FEATURES, forest, manifest, write

if TYPE_CHECKING:
    from pathlib import Path


def c(n: int) -> float:
    """Average path length of Liu et al., equation 1."""
    return 2 * (math.log(n - 1) + 0.5772156649015329) - 2 * (n - 1) / n


@pytest.mark.parametrize(
    ("row", "path_in_tree_0"),
    [
        ((0.0, 1.0), 2 + c(5)),
        ((1.5, 3.0), 2 + c(5)),
        ((1.6, 3.0), 3.0),
        ((-9.0, 4.0), 1.0),
        ((math.inf, -math.inf), 3.0),
        ((-math.inf, math.inf), 1.0),
    ],
)
def test_scores_follow_the_formula_of_the_paper(tmp_path: Path, row: tuple[float, ...], path_in_tree_0: float) -> None:
    model = load_model(write(tmp_path), FEATURES)
    expected = 2 ** (-((path_in_tree_0 + c(8)) / 2) / c(8))
    assert model.score_row(row) == pytest.approx(expected, abs=1e-14)


def test_an_anomaly_scores_higher_than_an_ordinary_row(tmp_path: Path) -> None:
    model = load_model(write(tmp_path), FEATURES)
    assert 0.0 < model.score_row((0.0, 1.0)) < model.score_row((0.0, 9.0)) <= 1.0


def test_a_model_has_its_version(tmp_path: Path) -> None:
    assert load_model(write(tmp_path), FEATURES).version == "v1"


@pytest.mark.parametrize("row", [(math.nan, 1.0), (1.0, math.nan), (math.nan, math.nan)])
def test_nan_is_refused_not_scored(tmp_path: Path, row: tuple[float, ...]) -> None:
    model = load_model(write(tmp_path), FEATURES)
    with pytest.raises(ValueError, match="NaN"):
        model.score_row(row)


@pytest.mark.parametrize("row", [(), (1.0,), (1.0, 2.0, 3.0)])
def test_a_row_of_another_length_is_refused(tmp_path: Path, row: tuple[float, ...]) -> None:
    model = load_model(write(tmp_path), FEATURES)
    with pytest.raises(ValueError, match="2 features"):
        model.score_row(row)


def test_a_forest_of_bare_leaves_scores_one_half(tmp_path: Path) -> None:
    arrays = forest(
        tree_offsets=[0, 1], feature=[-1], threshold=[0.0], left=[-1], right=[-1], n_samples=[8], max_samples=[8]
    )
    model = load_model(write(tmp_path, arrays, manifest(arrays)), FEATURES)
    assert model.score_row((1.0, 2.0)) == 0.5


def test_threads_share_a_model(tmp_path: Path) -> None:
    model = load_model(write(tmp_path), FEATURES)
    rows = [(amount / 10, float(velocity)) for amount in range(40) for velocity in range(6)]
    alone = [model.score_row(row) for row in rows]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: [model.score_row(row) for row in rows], range(16)))
    assert all(scores == alone for scores in together)


def test_serving_imports_nothing_that_could_deadlock_inside_the_jvm() -> None:
    allowed = {"flink_jobs", "numpy", "orjson"}
    code = (
        "import sys; before = set(sys.modules); import flink_jobs.core.models.model;"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(output.split()) - sys.stdlib_module_names - {"__mp_main__", "streamflow_core__mypyc"}
    assert loaded >= allowed
    assert loaded == allowed
