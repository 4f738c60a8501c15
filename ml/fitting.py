"""Fits each family: the inputs it takes, the tables it carries, its trees, and the proof that the export is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from threadpoolctl import threadpool_limits

from flink_jobs.core.features.vector import FEATURE_NAMES
from flink_jobs.core.models.artifact import ModelArrays
from flink_jobs.core.models.calibration import compile_curve, rarity_curve
from flink_jobs.core.models.encodings import ENCODING_NAMES
from flink_jobs.core.models.trees.forest_scorer import compile_score
from flink_jobs.errors import UserError
from ml.dataset import FRAUD, UNKNOWN
from ml.encodings import fit_population
from ml.gradient_boosting import export_boosting
from ml.isolation_forest import export_forest
from ml.parameters import Kind
from ml.scoring import apply_rows, input_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters

FOREST_INPUTS: Final = (
    "category_surprise", "is_night", "night_share_24h", "surprise_24h", "spend_24h", "population_zscore",
)  # fmt: skip
"""What an isolation forest looks at. It cannot weigh its inputs: each one without signal costs it (docs/adr/0013)."""
BOOSTING_INPUTS: Final = (*FEATURE_NAMES, *ENCODING_NAMES)
"""Boosted trees choose for themselves."""
PARITY_ROWS: Final = 2_000
PARITY_TOLERANCE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Fitted:
    """Trees and tables, ready to be written.

    Attributes:
        names: inputs in order.
        arrays: what `model.npz` will hold.
        learns_labels: whether labels took part.
        expected: scikit-learn's own score of a matrix of inputs, calibrated where the model is.
    """

    names: tuple[str, ...]
    arrays: ModelArrays
    learns_labels: bool
    expected: Callable[[NDArray[np.float64]], NDArray[np.float64]]

    def check_parity(self, rows: Dataset, scores: NDArray[np.float64]) -> None:
        """Hold the served scores of rows to scikit-learn's.

        Raises:
            ArithmeticError: they differ.
        """
        few = rows.where(np.arange(len(rows)) < PARITY_ROWS)
        expected = self.expected(input_rows(self.names, self.arrays.extras, few))
        difference = float(np.abs(scores[:PARITY_ROWS] - expected).max())
        if not difference <= PARITY_TOLERANCE:
            message = f"the exported model differs from scikit-learn by {difference:.3g}; it is not published"
            raise ArithmeticError(message)


def fit_forest(early: Dataset, parameters: TrainingParameters) -> Fitted:
    """Grow an isolation forest, and fit the curve that makes its scores mean rarity. No label is looked at."""
    extras = dict(fit_population(early))
    inputs = input_rows(FOREST_INPUTS, extras, early)
    forest = IsolationForest(
        n_estimators=parameters.n_estimators,
        max_samples=min(parameters.max_samples, len(early)),
        max_features=parameters.max_features,
        bootstrap=parameters.bootstrap,
        random_state=parameters.seed,
    ).fit(inputs)
    trees = export_forest(forest)
    extras |= rarity_curve(apply_rows(compile_score(trees, len(FOREST_INPUTS)), inputs))
    curve = compile_curve(extras)

    def expected(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([curve(-score) for score in forest.score_samples(rows).tolist()])

    return Fitted(FOREST_INPUTS, ModelArrays(trees, extras), learns_labels=False, expected=expected)


def fit_boosting(early: Dataset, parameters: TrainingParameters) -> Fitted:
    """Boost trees on the rows whose labels are known.

    Raises:
        UserError: there are not both frauds and genuine transactions among them.
    """
    known = early.where(early.labels != UNKNOWN)
    fraud = known.labels == FRAUD
    if not fraud.any() or fraud.all():
        what = f"the training part has labels of {int(fraud.sum())} frauds and {int((~fraud).sum())} genuine ones"
        raise UserError(
            f"{what}; boosting needs both", "give labels with the mapping, lower --label-delay-days, or train a forest"
        )
    extras = fit_population(early)
    model = fit_trees(parameters, input_rows(BOOSTING_INPUTS, extras, known), fraud)
    return Fitted(
        BOOSTING_INPUTS,
        ModelArrays(export_boosting(model), extras),
        learns_labels=True,
        expected=lambda rows: model.predict_proba(rows)[:, 1],
    )


def fit_trees(
    parameters: TrainingParameters, inputs: NDArray[np.float64], fraud: NDArray[np.bool_]
) -> HistGradientBoostingClassifier:
    """Boost on one thread: sums then have one order, and OpenMP's threads spin when they share a busy machine.

    Early stopping is off, for it would hold back rows at random.
    """
    model = HistGradientBoostingClassifier(
        max_iter=parameters.n_estimators,
        learning_rate=parameters.learning_rate,
        max_leaf_nodes=parameters.max_leaf_nodes,
        min_samples_leaf=parameters.min_samples_leaf,
        l2_regularization=parameters.l2_regularization,
        early_stopping=False,
        random_state=parameters.seed,
    )
    with threadpool_limits(limits=1):
        return model.fit(inputs, fraud)


FITTERS: Final = {Kind.ISOLATION_FOREST.value: fit_forest, Kind.GRADIENT_BOOSTING.value: fit_boosting}
"""How each family is fitted."""
