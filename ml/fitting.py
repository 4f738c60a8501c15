"""Fits each model family: its inputs, its tables, its trees, and the check of the export against scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, IsolationForest
from threadpoolctl import threadpool_limits

from flink_jobs.core.features.entity_risk import Entity
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.artifact import ModelArrays
from flink_jobs.core.models.calibration import compile_curve, rarity_curve
from flink_jobs.core.models.trees.forest_scorer import compile_score
from flink_jobs.errors import UserError
from ml.dataset import FRAUD, UNKNOWN
from ml.encodings import fit_categories, fit_population
from ml.gradient_boosting import export_boosting
from ml.isolation_forest import export_forest
from ml.model_scores import apply_rows, input_rows
from ml.own_columns import own_names
from ml.parameters import ModelFamily
from ml.risk_columns import risk_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from flink_jobs.core.models.trees.arrays import Arrays
    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters

FOREST_INPUTS: Final = (
    "category_surprise", "is_night", "night_share_24h", "surprise_24h", "spend_24h", "population_zscore",
)  # fmt: skip
"""Inputs of an isolation forest. It cannot weigh them: each input without signal costs precision (docs/adr/0013)."""
FOREST_FLOORS: Final = {"spend_24h": 0.0, "population_zscore": 0.0}
"""Lowest values on which a forest grows: a small amount is not suspicious, and must not be rare (docs/adr/0013)."""
BOOSTING_INPUTS: Final = (*FEATURE_NAMES, "population_zscore")
"""Inputs of boosted trees on any data: boosting weighs its inputs. ``boosting_tables`` returns the further ones."""
PARITY_ROWS: Final = 2_000
PARITY_TOLERANCE: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Fitted:
    """Trees and tables of a model, ready to be written.

    Attributes:
        names: inputs in order.
        arrays: content of ``model.npz``.
        learns_labels: whether training used labels.
        expected: scikit-learn's score for each row of a matrix of inputs, calibrated if the model is calibrated.
    """

    names: tuple[str, ...]
    arrays: ModelArrays
    learns_labels: bool
    expected: Callable[[NDArray[np.float64]], NDArray[np.float64]]

    def check_parity(self, rows: Dataset, scores: NDArray[np.float64]) -> None:
        """Compare scores of the exported model with scikit-learn's scores on the first 2,000 rows.

        Raises:
            ArithmeticError: a score differs by more than 1e-12.
        """
        few = rows.where(np.arange(len(rows)) < PARITY_ROWS)
        expected = self.expected(input_rows(self.names, self.arrays.extras, few))
        difference = float(np.abs(scores[:PARITY_ROWS] - expected).max())
        if not difference <= PARITY_TOLERANCE:
            message = f"the exported model differs from scikit-learn by {difference:.3g}; it is not published"
            raise ArithmeticError(message)


def fit_forest(early: Dataset, parameters: TrainingParameters) -> Fitted:
    """Grow an isolation forest, and fit the curve that turns its scores into rarity. Labels are not used.

    The trees grow on values of at least ``FOREST_FLOORS``. Their thresholds are therefore at or above the floor, and a
    lower value takes the same path as the floor: serving needs no floor.
    """
    extras = dict(fit_population(early))
    floors = [FOREST_FLOORS.get(name, -np.inf) for name in FOREST_INPUTS]
    inputs = np.maximum(input_rows(FOREST_INPUTS, extras, early), floors)
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
        UserError: the labels lack frauds or genuine transactions.
    """
    known = early.where(early.labels != UNKNOWN)
    fraud = known.labels == FRAUD
    if not fraud.any() or fraud.all():
        what = (
            f"the training part has {int(fraud.sum())} labelled frauds and {int((~fraud).sum())} labelled genuine rows"
        )
        raise UserError(
            f"{what}; boosting needs both", "map the label column, lower --label-delay-days, or train a forest"
        )
    names, extras = boosting_tables(early, parameters)
    model = fit_trees(parameters, input_rows(names, extras, known), fraud)
    return Fitted(
        names,
        ModelArrays(export_boosting(model), extras),
        learns_labels=True,
        expected=lambda rows: model.predict_proba(rows)[:, 1],
    )


def boosting_tables(early: Dataset, parameters: TrainingParameters) -> tuple[tuple[str, ...], Arrays]:
    """Return the inputs of boosted trees and the tables of these inputs.

    The rank of the category is an input where the rows have categories. Own features come last, then the inputs
    of merchants and other entities in canonical order.
    """
    categories = fit_categories(early)
    names = (*BOOSTING_INPUTS, "category_rank") if categories else BOOSTING_INPUTS
    of_entities = risk_names(entity for entity in Entity if entity in parameters.risk_entities)
    return (*names, *own_names(early.own if parameters.own_features else None), *of_entities), {
        **fit_population(early),
        **categories,
    }


def fit_trees(
    parameters: TrainingParameters, inputs: NDArray[np.float64], fraud: NDArray[np.bool_]
) -> HistGradientBoostingClassifier:
    """Boost on one thread: sums then have a fixed order, and OpenMP threads spin on a machine with other processes.

    Early stopping is off because it would hold back random rows.
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


FITTERS: Final = {ModelFamily.ISOLATION_FOREST.value: fit_forest, ModelFamily.GRADIENT_BOOSTING.value: fit_boosting}
"""By family, the function that fits it."""
