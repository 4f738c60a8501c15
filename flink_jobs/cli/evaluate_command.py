"""``streamflow evaluate``: measures rules, models and their blends on labelled data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flink_jobs.cli import data_options
from flink_jobs.cli.code_version import code_version
from flink_jobs.cli.data_source import DataChoice, SourcedDataset, read_data
from flink_jobs.cli.output import Output, OutputOption, emit, err, out, say, table
from flink_jobs.cli.own_features import OwnFeaturesOption, own_values
from flink_jobs.cli.risk_options import EvaluateRisk, chosen_entities, with_histories
from flink_jobs.cli.row_options import ExcludeCards, ExcludeCustomers, RowChoice
from flink_jobs.cli.sanity_command import warn
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.model import load_model, model_directory
from flink_jobs.errors import UserError
from ml.parameters import TrainingParameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flink_jobs.core.features.entity_risk import Entity
    from flink_jobs.core.models.model import TreeModel
    from flink_jobs.core.own_features.values import OwnValues
    from ml.evaluation.document import EvaluationDocument
    from ml.evaluation.evaluation import JudgingOptions
    from ml.evaluation.governance import Governance
    from ml.evaluation.judging import Judged
    from ml.evaluation.protocol import Protocol

DEFAULTS = TrainingParameters()
DEFAULT_CARDS, PROTOCOL_CARDS = 10, 100

Versions = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="version to evaluate, may be repeated; default: train on the earlier part, evaluate on the later part",
    ),
]
TrainFraction = Annotated[
    float, typer.Option(min=0.01, max=0.99, help="share of the rows, by event time, before the part that is evaluated")
]
LabelDelay = Annotated[
    float, typer.Option(min=0.0, help="without --model: days until a label is known; training ignores younger labels")
]
AlertsPerDay = Annotated[int, typer.Option(min=1, help="transactions that analysts can review in a day")]
CardsPerDay = Annotated[
    int | None,
    typer.Option(
        min=1, help="cards that analysts can call in a day, for card precision; default: 10, with --protocol 100"
    ),
]
ProtocolText = Annotated[
    str | None,
    typer.Option(
        "--protocol",
        help="days=TRAIN,DELAY,TEST: the last TEST days are judged, labels of the DELAY days before are not known, the "
        "TRAIN days before those train; replaces --train-fraction and --label-delay-days",
    ),
]
GovernanceFile = Annotated[
    Path | None,
    typer.Option("--governance", help="YAML file with owner, validator, approver ... for the model cards of --out"),
]
ReviewCost = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        help="price of a review, main currency units: thresholds are chosen by cost, and the tables show costs",
    ),
]
Alpha = Annotated[
    float | None,
    typer.Option(min=0.0, max=1.0, help="weight of every model in the blend; default: each model's own, or 0.6"),
]
Resamples = Annotated[int, typer.Option(min=0, max=100_000, help="resamples of customers for the intervals")]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="seed of the training and of the resamples")]
OutFolder = Annotated[
    Path | None, typer.Option("--out", help="write evaluation.json, evaluation.html and the model cards to this folder")
]


def evaluate(
    data: data_options.CardFile = None,
    mapping: data_options.MappingFile = None,
    model: Versions = None,
    train_fraction: TrainFraction = 0.5,
    label_delay_days: LabelDelay = DEFAULTS.label_delay_days,
    alerts_per_day: AlertsPerDay = 50,
    cards_per_day: CardsPerDay = None,
    review_cost: ReviewCost = None,
    governance: GovernanceFile = None,
    alpha: Alpha = None,
    resamples: Resamples = 1_000,
    seed: Seed = 7,
    models: data_options.ModelFolder = data_options.DEFAULT_MODELS,
    out_dir: OutFolder = None,
    since: data_options.DecisionsSince = None,
    until: data_options.DecisionsUntil = None,
    labels_until: data_options.LabelsUntil = None,
    protocol: ProtocolText = None,
    exclude_customers: ExcludeCustomers = None,
    exclude_cards: ExcludeCards = None,
    risk: EvaluateRisk = None,
    *,
    own_features: OwnFeaturesOption = False,
    from_decisions: data_options.FromDecisions = False,
    skip_bad_rows: data_options.SkipBadRows = False,
    processes: data_options.Processes = None,
    cache: data_options.CacheFolder = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Measure the rules alone, each model alone, and each blend of both, on the later part of labelled data.

    With --protocol days=7,7,7 the split is that of the Fraud Detection Handbook (docs/model-judging.md).
    The intervals come from resampling customers, not rows. The same data, options and seed give the same numbers.

    Example: streamflow evaluate --data tests/data/card_transactions.csv.gz --out report
    """
    from ml.evaluation.judging import Judged

    started, days, facts = time.monotonic(), _protocol(protocol), _governance(governance)
    label_delay_days = label_delay_days if days is None else float(days.delay)
    config = DetectionConfig() if alpha is None else DetectionConfig(alpha=alpha, alpha_is_set=True)
    choice = DataChoice(data, mapping, skip_bad_rows, from_decisions, since, until, labels_until, processes, cache)
    own, entities = own_values() if own_features else None, chosen_entities(risk)
    source = with_histories(read_data(choice, config, own), entities, ceil(label_delay_days), cache)
    source = RowChoice.of(None, exclude_customers, exclude_cards).applied(source)
    parameters = TrainingParameters(
        seed=seed, train_fraction=train_fraction, label_delay_days=label_delay_days,
        alerts_per_day=float(alerts_per_day), review_cost=review_cost,
    )  # fmt: skip
    judged = Judged(
        models={version: _load(models, version, own, entities) for version in model or ()},
        config=config, train_fraction=train_fraction, trained_here=not model,
        options=_options(alerts_per_day, cards_per_day, resamples, seed, days),
        label_delay_days=label_delay_days, data_warnings=warn(source.dataset),
        protocol=days, review_cost=review_cost, governance=facts,
    )  # fmt: skip
    document, files = _evaluate(source, judged, parameters, out_dir)
    _emit(output, document, files, time.monotonic() - started)


def _emit(output: Output, document: EvaluationDocument, files: list[Path], seconds: float) -> None:
    value = {**document.to_dict(), "files": [str(path) for path in files], "seconds": seconds}
    emit(output, value, lambda: _print(document, files, seconds))


def _evaluate(
    source: SourcedDataset, judged: Judged, parameters: TrainingParameters, folder: Path | None
) -> tuple[EvaluationDocument, list[Path]]:
    """Train models if none was named, and evaluate; return the result and the files written to ``folder``."""
    from ml.evaluation.files import write_evaluation
    from ml.evaluation.judging import evaluate as evaluated
    from ml.evaluation.protocol import divide, training_rows
    from ml.train import Provenance

    provenance = Provenance(source.source, source.sha256, code_version(), datetime.now(UTC))
    rows = source.dataset
    if judged.protocol is not None:
        parts = divide(rows, judged.protocol)
        judged = replace(judged, later=parts.test)
        rows, parameters = training_rows(rows, parts, parameters)
    if judged.trained_here:
        from ml.evaluation.training import train_contenders

        say("Training on the earlier part ...")
        judged = replace(judged, models=train_contenders(rows, parameters, provenance))
    with _progress() as progress:
        document = evaluated(source.dataset, judged, provenance, progress)
    return document, [] if folder is None else write_evaluation(document, folder)


def _protocol(text: str | None) -> Protocol | None:
    from ml.evaluation.protocol import parse_protocol

    return None if text is None else parse_protocol(text)


def _governance(path: Path | None) -> Governance | None:
    from ml.evaluation.governance import read_governance

    return None if path is None else read_governance(path)


def _options(
    alerts_per_day: int, cards_per_day: int | None, resamples: int, seed: int, protocol: Protocol | None
) -> JudgingOptions:
    from ml.evaluation.evaluation import JudgingOptions

    cards = cards_per_day or (DEFAULT_CARDS if protocol is None else PROTOCOL_CARDS)
    return JudgingOptions(alerts_per_day, cards, resamples, seed)


def _load(models: Path, version: str, own: OwnValues | None, entities: tuple[Entity, ...]) -> TreeModel:
    from flink_jobs.artifacts.finder import known_features

    try:
        return load_model(model_directory(models, version), known_features(entities), own=own)
    except ModelError as error:
        raise UserError(
            f"the model cannot be evaluated ({error.detail})", "choose another version or --models, or add --risk"
        ) from error


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    columns = SpinnerColumn(), TextColumn("evaluating {task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("")

        def show(name: str, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total)

        yield show


def _print(document: EvaluationDocument, files: Sequence[Path], seconds: float) -> None:
    from ml.evaluation.report.words import (
        BLEND_COLUMNS,
        PROBABILITY_COLUMNS,
        THRESHOLD_COLUMNS,
        blend_rows,
        facts,
        group_row,
        probability_rows,
        resampling,
        score_columns,
        score_row,
        threshold_rows,
    )

    judged = document.evaluation
    out.print(f"Evaluated on {facts(judged)}", markup=False, soft_wrap=True)
    rows = [score_row(report, judged.baseline) for report in judged.scores]
    table(score_columns(judged), rows)
    if document.blends:
        table(BLEND_COLUMNS, blend_rows(document))
    for name, blend in document.blends.items():
        table((f"{name}: {THRESHOLD_COLUMNS[0]}", *THRESHOLD_COLUMNS[1:]), threshold_rows(blend.thresholds))
    if probabilities := probability_rows(document):
        table(PROBABILITY_COLUMNS, probabilities)
    columns = ("rule alone", "alerts", "recall", "precision", "false-positive rate")
    table(columns, [[group_row(one)[place] for place in (0, 4, 6, 7, 8)] for one in judged.rules])
    out.print(f"{resampling(judged)}; {seconds:.0f} s in total", markup=False)
    for path in files:
        out.print(str(path), markup=False, soft_wrap=True)
