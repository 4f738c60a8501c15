"""Searches the parameters of boosted trees with Optuna, on a validation part that is later than its training part.

The training part is split by time again: the earlier rows train with the labels known at the split, and the later rows
are ranked. The criterion is average precision, because the top of the ranking becomes alerts. The number of trials
depends on the machine. The manifest keeps the parameters found, and training with them again gives the same model. A
forest is not tuned: tuning needs labels, and labels must not influence an unsupervised model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import optuna
from sklearn.metrics import average_precision_score

from flink_jobs.errors import UserError
from ml.blending import VALIDATION_FRACTION
from ml.dataset import FRAUD, UNKNOWN
from ml.fitting import boosting_tables, fit_trees
from ml.model_scores import input_rows
from ml.parameters import ModelFamily
from ml.train import training_parts

if TYPE_CHECKING:
    from collections.abc import Callable

    from ml.dataset import Dataset
    from ml.parameters import TrainingParameters


def tune(
    dataset: Dataset,
    parameters: TrainingParameters,
    seconds: float,
    progress: Callable[[int, float], None],
    max_trials: int | None = None,
) -> TrainingParameters:
    """Return the parameters with the best average precision on the validation part.

    Args:
        dataset: all rows; the search does not use the rows that measure the model.
        parameters: first trial; seed, split and label delay stay as they are.
        seconds: time budget; a trial that is running at its end is finished.
        progress: called after each trial with the number of trials and the best average precision so far.
        max_trials: maximum number of trials; None: no limit.

    Raises:
        UserError: the family cannot be tuned, or a part lacks frauds or genuine transactions.
    """
    if parameters.kind != ModelFamily.GRADIENT_BOOSTING:
        raise UserError("an isolation forest cannot be tuned: it uses no labels", "leave out --tune-seconds")
    early, _ = training_parts(dataset, parameters, "the training part")
    fit, check = training_parts(early, replace(parameters, train_fraction=VALIDATION_FRACTION), "the training part")
    fit, check = (part.where(part.labels != UNKNOWN) for part in (fit, check))
    for part, what in ((fit, "earlier"), (check, "later")):
        if not 0 < (part.labels == FRAUD).sum() < len(part):
            raise UserError(
                f"the {what} part of the training rows lacks labelled frauds or labelled genuine rows",
                "leave out --tune-seconds, or give more labels",
            )
    names, extras = boosting_tables(fit, parameters)
    fit_rows, check_rows = (input_rows(names, extras, part) for part in (fit, check))

    def objective(trial: optuna.Trial) -> float:
        model = fit_trees(_suggest(trial, parameters), fit_rows, fit.labels == FRAUD)
        return float(average_precision_score(check.labels == FRAUD, model.predict_proba(check_rows)[:, 1]))

    def report_trial(study: optuna.Study, _: optuna.trial.FrozenTrial) -> None:
        progress(len(study.trials), study.best_value)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=parameters.seed))
    study.enqueue_trial({name: getattr(parameters, name) for name in SEARCHED})
    study.optimize(objective, n_trials=max_trials, timeout=seconds, callbacks=[report_trial])
    return replace(parameters, **study.best_params)


SEARCHED: Final = ("n_estimators", "learning_rate", "max_leaf_nodes", "min_samples_leaf", "l2_regularization")


def _suggest(trial: optuna.Trial, parameters: TrainingParameters) -> TrainingParameters:
    """Draw parameters for a trial; the limits keep scoring time in microseconds."""
    drawn: dict[str, Any] = {
        "n_estimators": trial.suggest_int("n_estimators", 50, 200, step=10),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "max_leaf_nodes": trial.suggest_int("max_leaf_nodes", 4, 31),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, 200, log=True),
        "l2_regularization": trial.suggest_float("l2_regularization", 0.01, 100.0, log=True),
    }
    return replace(parameters, **drawn)
