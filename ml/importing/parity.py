"""Checks that an imported model scores as the library that trained it."""

from __future__ import annotations

import csv
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flink_jobs.core.features.table import FEATURE_NAMES, NEUTRAL_VALUES
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from flink_jobs.core.models.trees.arrays import BoostingArrays

SAMPLED_ROWS: Final = 2_000
ON_THRESHOLDS: Final = 0.8
"""Share of the sampled values that lie on a threshold or beside it; the others lie anywhere."""
PREDICTION: Final = "prediction"
"""Column of a file of rows that holds the library's predictions."""
_NEUTRAL: Final = dict(zip(FEATURE_NAMES, NEUTRAL_VALUES, strict=True))


@dataclass(frozen=True, slots=True)
class Expected:
    """Rows with the predictions of the library.

    Attributes:
        rows: rows x inputs of the model.
        predictions: probability of fraud of each row, from the library.
        source: name of the file, or of the library with its version.
    """

    rows: NDArray[np.float64]
    predictions: NDArray[np.float64]
    source: str


def read_expected(path: Path, names: Sequence[str]) -> Expected:
    """Read rows and predictions from a CSV file with one column per input and the column ``prediction``.

    An empty cell is an absent feature: the model gets the neutral value of the detector.

    Raises:
        UserError: the file cannot be read, lacks a column or a row, or holds a value that is not a number.
    """
    columns = (*names, PREDICTION)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            missing = [name for name in columns if name not in (table.fieldnames or ())]
            cells = [] if missing else [[_number(row[name], name) for name in columns] for row in table]
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})", "check the path of --parity") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} holds a value that is not a number ({error})", "correct the file") from None
    if missing:
        fix = f"write one column for each input of the model, and the column {PREDICTION!r}"
        raise UserError(f"{path} lacks the columns {', '.join(missing)}", fix)
    if not cells:
        raise UserError(f"{path} has no rows", "give rows with predictions")
    values = np.array(cells, dtype=np.float64)
    return Expected(values[:, :-1], values[:, -1], path.name)


def _number(text: str, name: str) -> float:
    return float(text) if text.strip() or name == PREDICTION else _NEUTRAL[name]


def ask_library(library: str, model_file: Path, names: Sequence[str], arrays: BoostingArrays) -> Expected | None:
    """Return rows around the thresholds of the model with the library's predictions; ``None`` if it is not installed.

    Args:
        library: name of the library: ``lightgbm``, ``xgboost`` or ``onnx``, for which ONNX Runtime predicts. Any other
            library cannot predict from the file.
        model_file: its model.
        names: inputs of the model, in the order of the file.
        arrays: the converted model.
    """
    asked = _ASKED.get(library)
    if asked is None:
        return None
    try:
        module = importlib.import_module(asked[0])
    except ImportError:
        return None
    rows = sample_rows(arrays, len(names))
    predictions = np.asarray(asked[1](module, str(model_file), rows), dtype=np.float64)
    return Expected(rows, predictions, f"{asked[0]} {module.__version__}")


def _ask_lightgbm(module: Any, path: str, rows: NDArray[np.float64]) -> Any:  # noqa: ANN401 - modules without types
    return module.Booster(model_file=path).predict(rows)


def _ask_xgboost(module: Any, path: str, rows: NDArray[np.float64]) -> Any:  # noqa: ANN401 - same
    booster = module.Booster(model_file=path)
    return booster.predict(module.DMatrix(rows, feature_names=booster.feature_names))


def _ask_onnx(module: Any, path: str, rows: NDArray[np.float64]) -> Any:  # noqa: ANN401 - same
    """Return the probability of the second class; the second output holds arrays, or one dict per row (ZipMap)."""
    session = module.InferenceSession(path)
    answers = session.run(None, {session.get_inputs()[0].name: rows.astype(np.float32)})[1]
    return [list(answer.values() if isinstance(answer, dict) else answer)[1] for answer in answers]


_ASKED: Final[dict[str, tuple[str, Callable[[Any, str, NDArray[np.float64]], Any]]]] = {
    "lightgbm": ("lightgbm", _ask_lightgbm),
    "xgboost": ("xgboost", _ask_xgboost),
    "onnx": ("onnxruntime", _ask_onnx),
}
"""For each library the module that predicts, and the function that asks it."""


def sample_rows(arrays: BoostingArrays, inputs: int) -> NDArray[np.float64]:
    """Return rows whose values lie on a threshold of their input, or one float32 step to either side of it."""
    rng = np.random.default_rng(0)
    rows = rng.normal(0.0, 10.0, (SAMPLED_ROWS, inputs))
    for place in range(inputs):
        thresholds = np.unique(arrays.threshold[arrays.feature == place])
        if not len(thresholds):
            continue
        drawn = rng.choice(thresholds, SAMPLED_ROWS)
        single = drawn.astype(np.float32)
        steps: list[NDArray[Any]] = [
            drawn,
            single,
            np.nextafter(single, np.float32(-np.inf)),
            np.nextafter(single, np.float32(np.inf)),
        ]
        column = np.choose(rng.integers(len(steps), size=SAMPLED_ROWS), [step.astype(np.float64) for step in steps])
        keep = rng.random(SAMPLED_ROWS) < ON_THRESHOLDS
        rows[keep, place] = column[keep]
    return rows


def check_parity(scores: NDArray[np.float64], expected: Expected, tolerance: float) -> float:
    """Return the largest difference between the scores and the library's predictions.

    Raises:
        UserError: it is larger than the tolerance, or a prediction is no number.
    """
    differences = np.abs(scores - expected.predictions)
    place = int(np.argmax(np.where(np.isnan(differences), np.inf, differences)))
    if not differences[place] <= tolerance:
        what = (
            f"row {place + 1} of {expected.source} scores {scores[place]:.9g} here and "
            f"{expected.predictions[place]:.9g} there; at most {tolerance:g} apart is allowed"
        )
        fix = "check that the predictions are of this model and of these rows; the model is not imported"
        raise UserError(what, fix)
    return float(differences[place])
