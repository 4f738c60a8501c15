"""`streamflow train`: from a card file to a model version."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flink_jobs.cli.history import From, LabelsUntil, Since, Until, code_version, read_history
from flink_jobs.cli.output import Output, OutputOption, emit, err, out, table
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.model import load_model
from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT
from ml.parameters import Kind, TrainingParameters

if TYPE_CHECKING:
    from ml.dataset import Dataset
    from ml.train import TrainedModel

DEFAULTS = TrainingParameters()


def train(
    data: Annotated[
        Path | None, typer.Option(help="card file (.csv, .jsonl, both also .gz, .parquet), oldest first")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="column mapping; default: <data>.mapping.yaml beside it")] = None,
    out_dir: Annotated[
        Path, typer.Option("--out", envvar="STREAMFLOW_MODEL_DIR", help="folder of model versions")
    ] = REPO_ROOT / "models",
    version: Annotated[
        str | None, typer.Option(help="name; default: day of the last training row and digest of the trees")
    ] = None,
    kind: Annotated[
        Kind, typer.Option(help="isolation_forest learns without labels; gradient_boosting learns from them")
    ] = Kind.ISOLATION_FOREST,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="of every random choice")] = DEFAULTS.seed,
    trees: Annotated[
        int, typer.Option(min=1, max=1_000, help="trees; scoring time grows with them")
    ] = DEFAULTS.n_estimators,
    max_samples: Annotated[
        int, typer.Option(min=2, max=4_096, help="rows each tree of a forest is grown on")
    ] = DEFAULTS.max_samples,
    train_fraction: Annotated[
        float, typer.Option(min=0.01, max=1.0, help="share of the rows, by event time, that train; the rest measures")
    ] = DEFAULTS.train_fraction,
    label_delay_days: Annotated[
        float, typer.Option(min=0.0, help="days until a label is known; younger ones do not train")
    ] = DEFAULTS.label_delay_days,
    alerts_per_day: Annotated[
        float | None, typer.Option(min=0.1, help="alert budget: the manifest then names the threshold that keeps it")
    ] = None,
    tune_seconds: Annotated[
        float, typer.Option(min=0.0, help="search better parameters that long; gradient_boosting only")
    ] = 0.0,
    since: Since = None,
    until: Until = None,
    labels_until: LabelsUntil = None,
    *,
    from_decisions: From = False,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="leave out what cannot be mapped")] = False,
    make_current: Annotated[
        bool, typer.Option("--current/--no-current", help="let `current` name it: what jobs load when they start")
    ] = True,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Train a model on the earlier part of history and measure it on the later part.

    History is a card file, or what the job recorded (--from-decisions).

    An isolation forest never sees a label; where the file has them, they tell how well the model separates fraud.
    Gradient boosting learns from the labels that were known when the earlier part ended.
    The same file and options give the same model, unless time limits a search. A published version never changes.

    Example: streamflow train --data tests/data/card_transactions.csv.gz
    """
    # scikit-learn takes three seconds to import, and `streamflow train --help` does not need it.
    from ml.artifact_writer import set_current, write_artifact
    from ml.train import Provenance, train_model

    started = time.monotonic()
    history = read_history(
        data, mapping, (since, until, labels_until), from_decisions=from_decisions, skip_bad_rows=skip_bad_rows
    )
    dataset = history.dataset
    parameters = TrainingParameters(
        kind=kind.value,
        n_estimators=trees,
        max_samples=max_samples,
        seed=seed,
        train_fraction=train_fraction,
        label_delay_days=label_delay_days,
        alerts_per_day=alerts_per_day,
    )
    if tune_seconds:
        parameters = _tuned(dataset, parameters, tune_seconds)
    provenance = Provenance(history.source, history.sha256, code_version(), datetime.now(UTC))
    try:
        trained = train_model(dataset, parameters, provenance, version)
        directory = write_artifact(out_dir, trained.manifest, trained.arrays)
        served = load_model(directory, trained.manifest.feature_names)
    except ModelError as error:
        raise UserError(f"the model cannot be served ({error.detail})", "train with other options") from error
    except PermissionError as error:
        raise UserError(f"cannot write to {out_dir} ({error.strerror})", "choose another folder with --out") from error
    if make_current:
        set_current(out_dir, trained.manifest.version)
    trained = replace(trained, manifest=served.manifest)  # an existing version keeps its own story
    seconds = time.monotonic() - started
    value = {"directory": str(directory), "current": make_current, "seconds": seconds, **asdict(trained.manifest)}
    emit(output, value, lambda: _print(trained, dataset, directory, seconds))


def _tuned(dataset: Dataset, parameters: TrainingParameters, seconds: float) -> TrainingParameters:
    from ml.tuning import tune

    columns = SpinnerColumn(), TextColumn("searching parameters: {task.description}"), BarColumn(), TimeElapsedColumn()
    started = time.monotonic()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("first trial", total=seconds)

        def told(trials: int, best: float) -> None:
            text = f"{trials} trials, average precision {best:.3f}"
            progress.update(task, completed=time.monotonic() - started, description=text)

        return tune(dataset, parameters, seconds, told)


def _print(trained: TrainedModel, dataset: Dataset, directory: Path, seconds: float) -> None:
    manifest = trained.manifest
    out.print(f"Model {manifest.version} is in {directory}", soft_wrap=True)
    rows = manifest.training_data.rows
    out.print(
        f"{rows:,} of {len(dataset):,} transactions trained {trained.arrays.trees.tree_count} trees in {seconds:.1f} s"
    )
    if manifest.kind == Kind.GRADIENT_BOOSTING:
        out.print(f"labels of {manifest.training_data.labelled_rows:,} of them were known by then and taught the trees")
    if (budget := manifest.budget) is not None:
        out.print(f"{budget.alerts_per_day:g} alerts a day: alert from a score of {budget.threshold:.3f} on")
    counts = {"rows", "labelled_rows"}
    measured = [(n.replace("_", " "), f"{v:,.0f}" if n in counts else f"{v:.3f}") for n, v in manifest.metrics.items()]
    table(["measured on the later ones", "blend: with the rules"], measured or [("nothing: every row trained", "")])
