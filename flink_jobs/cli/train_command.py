"""``streamflow train``: trains a model version on a card file or on recorded decisions."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flink_jobs.cli import data_options
from flink_jobs.cli.blend_texts import own_blend_text
from flink_jobs.cli.code_version import code_version
from flink_jobs.cli.data_source import DataChoice, SourcedDataset, read_data
from flink_jobs.cli.output import Output, OutputOption, emit, err, out, table
from flink_jobs.cli.own_features import OwnFeaturesOption, own_values
from flink_jobs.cli.risk_options import TrainRisk, chosen_entities, with_histories
from flink_jobs.cli.row_options import ExcludeCards, ExcludeCustomers, RowChoice, TrainSince
from flink_jobs.cli.sanity_command import as_documents, warn
from flink_jobs.core.features.entity_risk import DEFAULT_DELAY_DAYS
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.model import load_model
from flink_jobs.errors import ErrorCode, UserError
from ml.parameters import ModelFamily, TrainingParameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flink_jobs.core.features.entity_risk import Entity
    from flink_jobs.core.models.manifest_document import BlendDocument
    from flink_jobs.core.models.threshold_choice import ThresholdChoice
    from ml.dataset import Dataset
    from ml.sanity.finding import Finding
    from ml.stress.result import StressTest
    from ml.train import TrainedModel

DEFAULTS = TrainingParameters()

OutFolder = Annotated[
    Path, typer.Option("--out", envvar="STREAMFLOW_MODEL_DIR", help="folder that holds the model versions")
]
Version = Annotated[
    str | None, typer.Option(help="name of the version; default: day of the last training row and digest of the trees")
]
KindOption = Annotated[
    ModelFamily, typer.Option(help="isolation_forest learns without labels; gradient_boosting learns from labels")
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="seed of every random choice")]
Trees = Annotated[int, typer.Option(min=1, max=1_000, help="number of trees; scoring time grows with it")]
MaxSamples = Annotated[int, typer.Option(min=2, max=4_096, help="rows per tree of an isolation forest")]
TrainFraction = Annotated[
    float, typer.Option(min=0.01, max=1.0, help="share of the rows, by event time, to train on; the rest is measured")
]
LabelDelay = Annotated[
    float, typer.Option(min=0.0, help="days until a label is known; the model does not learn from younger labels")
]
AlertBudget = Annotated[
    float | None, typer.Option(min=0.1, help="alert budget; the manifest then names the threshold that keeps it")
]
ReviewCost = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        help="price of the review of an alert, main currency units: chooses the threshold with the lowest cost of "
        "reviews and missed frauds, within --alerts-per-day if given",
    ),
]
TuneSeconds = Annotated[
    float, typer.Option(min=0.0, help="search better parameters for this time; gradient_boosting only")
]
MakeCurrent = Annotated[
    bool, typer.Option("--current/--no-current", help="make it the `current` version, which jobs load when they start")
]


def train(
    data: data_options.CardFile = None,
    mapping: data_options.MappingFile = None,
    out_dir: OutFolder = data_options.DEFAULT_MODELS,
    version: Version = None,
    kind: KindOption = ModelFamily.ISOLATION_FOREST,
    seed: Seed = DEFAULTS.seed,
    trees: Trees = DEFAULTS.n_estimators,
    max_samples: MaxSamples = DEFAULTS.max_samples,
    train_fraction: TrainFraction = DEFAULTS.train_fraction,
    label_delay_days: LabelDelay = DEFAULTS.label_delay_days,
    alerts_per_day: AlertBudget = None,
    review_cost: ReviewCost = None,
    tune_seconds: TuneSeconds = 0.0,
    since: data_options.DecisionsSince = None,
    until: data_options.DecisionsUntil = None,
    labels_until: data_options.LabelsUntil = None,
    train_since: TrainSince = None,
    exclude_customers: ExcludeCustomers = None,
    exclude_cards: ExcludeCards = None,
    risk: TrainRisk = None,
    *,
    own_features: OwnFeaturesOption = False,
    from_decisions: data_options.FromDecisions = False,
    skip_bad_rows: data_options.SkipBadRows = False,
    processes: data_options.Processes = None,
    cache: data_options.CacheFolder = None,
    make_current: MakeCurrent = True,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Train a model on the earlier part of the data and measure it on the later part.

    The data is a card file (--data), or the recorded decisions of the running job (--from-decisions).

    An isolation forest learns without labels; labels only measure how well it separates fraud. Gradient boosting learns
    from the labels that were known at the end of the earlier part.

    The same data and options give the same model, except with --tune-seconds. A published version never changes.

    Example: streamflow train --data tests/data/card_transactions.csv.gz
    """
    started = time.monotonic()
    choice = DataChoice(data, mapping, skip_bad_rows, from_decisions, since, until, labels_until, processes, cache)
    entities = _checked_entities(kind, label_delay_days, risk, own_features=own_features)
    rows = RowChoice.of(train_since, exclude_customers, exclude_cards)
    source = read_data(choice, own=own_values() if own_features else None)
    source = rows.applied(with_histories(source, entities, DEFAULT_DELAY_DAYS, cache))
    warnings = warn(source.dataset)
    parameters = TrainingParameters(
        kind=kind.value, n_estimators=trees, max_samples=max_samples, seed=seed, train_fraction=train_fraction,
        label_delay_days=label_delay_days, alerts_per_day=alerts_per_day, review_cost=review_cost,
        risk_entities=entities, own_features=own_features, **rows.parameters(),
    )  # fmt: skip
    if tune_seconds:
        parameters = _tuned(source.dataset, parameters, tune_seconds)
    trained, directory, stress = _publish(source, parameters, version, out_dir, make_current=make_current)
    seconds = time.monotonic() - started
    value = {"directory": str(directory), "current": make_current, "seconds": seconds}
    value |= _document(trained, warnings, stress)
    emit(output, value, lambda: _print(trained, source.dataset, directory, seconds))


def _document(trained: TrainedModel, warnings: Sequence[Finding], stress: StressTest | None) -> dict[str, Any]:
    more = {"reliability": trained.reliability, "stress": stress}
    return {
        "data_warnings": as_documents(warnings),
        **asdict(trained.manifest),
        **{name: None if part is None else asdict(part) for name, part in more.items()},
    }


def _checked_entities(
    kind: ModelFamily, label_delay_days: float, risk: list[str] | None, *, own_features: bool
) -> tuple[Entity, ...]:
    """Return the entities of ``--risk``; refuse options with which the stream would compute other inputs.

    Raises:
        UserError: the family has no such inputs, or the stream has another delay of labels.
    """
    entities = chosen_entities(risk)
    for option, is_given in (("--risk", bool(entities)), ("--own-features", own_features)):
        if is_given and kind is not ModelFamily.GRADIENT_BOOSTING:
            raise UserError(f"{option} needs boosted trees", "add --kind gradient_boosting", ErrorCode.USAGE_ERROR)
    if entities and label_delay_days != DEFAULT_DELAY_DAYS:
        raise UserError(
            f"--risk needs a delay of labels of {DEFAULT_DELAY_DAYS} days, that of the job `merchants`",
            f"use --label-delay-days {DEFAULT_DELAY_DAYS}",
            ErrorCode.USAGE_ERROR,
        )
    return entities


def _publish(
    source: SourcedDataset, parameters: TrainingParameters, version: str | None, folder: Path, *, make_current: bool
) -> tuple[TrainedModel, Path, StressTest | None]:
    """Train, write the artifact and load it as a job would; return model, directory and stress scenarios."""
    # scikit-learn takes three seconds to import, and `streamflow train --help` does not need it.
    from ml.artifact_writer import set_current, write_artifact
    from ml.evaluation.report.card_draft import write_card_draft
    from ml.stress.stress_test import stress_after_training
    from ml.train import Provenance, train_model

    provenance = Provenance(source.source, source.sha256, code_version(), datetime.now(UTC))
    try:
        trained = train_model(source.dataset, parameters, provenance, version)
        directory = write_artifact(folder, trained.manifest, trained.arrays)
        served = load_model(directory, trained.manifest.feature_names)
    except ModelError as error:
        raise UserError(f"a job cannot load the trained model ({error.detail})", "train with other options") from error
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror or error})", "choose another folder with --out"
        ) from error
    if make_current:
        set_current(folder, trained.manifest.version)
    stress = stress_after_training(source.dataset, served, parameters)
    write_card_draft(directory, served.manifest, stress)
    # An existing version keeps the manifest it was published with.
    return replace(trained, manifest=served.manifest), directory, stress


def _tuned(dataset: Dataset, parameters: TrainingParameters, seconds: float) -> TrainingParameters:
    from ml.tuning import tune

    columns = SpinnerColumn(), TextColumn("searching parameters: {task.description}"), BarColumn(), TimeElapsedColumn()
    started = time.monotonic()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("first trial", total=seconds)

        def show(trials: int, best: float) -> None:
            text = f"{trials} trials, average precision {best:.3f}"
            progress.update(task, completed=time.monotonic() - started, description=text)

        return tune(dataset, parameters, seconds, show)


def _print(trained: TrainedModel, dataset: Dataset, directory: Path, seconds: float) -> None:
    manifest = trained.manifest
    out.print(f"Model {manifest.version} is in {directory}", soft_wrap=True)
    rows = manifest.training_data.rows
    out.print(
        f"Trained {trained.arrays.trees.tree_count} trees on {rows:,} of {len(dataset):,} transactions "
        f"in {seconds:.1f} s"
    )
    if manifest.kind == ModelFamily.GRADIENT_BOOSTING:
        known = manifest.training_data.labelled_rows
        out.print(f"The trees learned from the labels of {known:,} transactions, those known at the end of training")
    if (budget := manifest.budget) is not None:
        force = "is the model's own alert threshold" if manifest.blend else "set the alert threshold to this value"
        out.print(f"{budget.alerts_per_day:g} alerts a day: {budget.threshold:.3f}; {force}")
    blend = None if manifest.blend is None else asdict(manifest.blend)
    out.print(own_blend_text(cast("BlendDocument | None", blend)), markup=False, soft_wrap=True)
    counts = {"rows", "labelled_rows"}
    measured = [(n.replace("_", " "), f"{v:,.0f}" if n in counts else f"{v:.3f}") for n, v in manifest.metrics.items()]
    _print_thresholds(manifest.threshold_choice)
    _print_reliability(trained)
    header = ["measured on the later part (blend: model and rules)", "value"]
    table(header, measured or [("nothing: every row was used for training", "")])


def _print_reliability(trained: TrainedModel) -> None:
    from ml.evaluation.report.words import PROBABILITY_COLUMNS, RELIABILITY_COLUMNS, probability_row, reliability_rows

    if trained.manifest.calibration is None:
        out.print("Its decisions have no probability of fraud: too few labels were known to fit one.")
    elif (error := trained.reliability) is not None:
        out.print("Probability of fraud, fitted on the validation rows and measured on the later part:")
        table(PROBABILITY_COLUMNS[1:], [probability_row(error)])
        table(RELIABILITY_COLUMNS, reliability_rows(error))


def _print_thresholds(choice: ThresholdChoice | None) -> None:
    from ml.evaluation.report.words import THRESHOLD_COLUMNS, rule_in_words, threshold_rows

    if choice is not None:
        out.print(f"Alert threshold: {rule_in_words(choice)}. On the validation rows:", markup=False, soft_wrap=True)
        table(THRESHOLD_COLUMNS, threshold_rows(choice.table))
