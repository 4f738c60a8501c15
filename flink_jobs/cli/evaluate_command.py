"""`streamflow evaluate`: judge rules, models and their blends on a labelled card file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from flink_jobs.cli.history import From, LabelsUntil, Since, Until, code_version, read_history
from flink_jobs.cli.output import Output, OutputOption, emit, err, out, say, table
from flink_jobs.core.control.config import DEFAULT_ALPHA, DetectionConfig
from flink_jobs.core.features.vector import FEATURE_NAMES
from flink_jobs.core.models.faults import ModelError
from flink_jobs.core.models.model import load_model, model_directory
from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT
from ml.parameters import TrainingParameters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flink_jobs.core.models.model import TreeModel
    from ml.evaluation.document import EvaluationDocument

DEFAULTS = TrainingParameters()


def evaluate(
    data: Annotated[
        Path | None, typer.Option(help="labelled card file (.csv, .jsonl, both also .gz, .parquet), oldest first")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="column mapping; default: <data>.mapping.yaml beside it")] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="version to judge, may be given again; default: train on the earlier part, judge on the later"
        ),
    ] = None,
    train_fraction: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="share of the rows, by event time, that is not judged")
    ] = 0.5,
    label_delay_days: Annotated[
        float, typer.Option(min=0.0, help="without --model: labels that late in the earlier part are not yet known")
    ] = DEFAULTS.label_delay_days,
    alerts_per_day: Annotated[int, typer.Option(min=1, help="transactions that can be looked at in a day")] = 50,
    cards_per_day: Annotated[
        int, typer.Option(min=1, help="cards that can be called in a day, for card precision")
    ] = 10,
    alpha: Annotated[float, typer.Option(min=0.0, max=1.0, help="weight of the model in the blend")] = DEFAULT_ALPHA,
    resamples: Annotated[int, typer.Option(min=0, max=100_000, help="of customers, for the intervals")] = 1_000,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="of training and of the resamples")] = 7,
    models: Annotated[
        Path, typer.Option("--models", envvar="STREAMFLOW_MODEL_DIR", help="folder of model versions")
    ] = REPO_ROOT / "models",
    out_dir: Annotated[
        Path | None, typer.Option("--out", help="folder for evaluation.json, evaluation.html and the model cards")
    ] = None,
    since: Since = None,
    until: Until = None,
    labels_until: LabelsUntil = None,
    *,
    from_decisions: From = False,
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="leave out what cannot be mapped")] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Judge rules alone, each model alone, and each blend, on the later part of labelled history.

    Intervals come from resampling customers, not rows. The same file, options and seed give the same numbers.

    Example: streamflow evaluate --data tests/data/card_transactions.csv.gz --out report
    """
    from ml.evaluation.evaluation import JudgingOptions
    from ml.evaluation.files import write_evaluation
    from ml.evaluation.judging import Judged, evaluate
    from ml.train import Provenance

    started = time.monotonic()
    config = DetectionConfig(alpha=alpha)
    history = read_history(
        data, mapping, (since, until, labels_until), config, from_decisions=from_decisions, skip_bad_rows=skip_bad_rows
    )
    dataset = history.dataset
    provenance = Provenance(history.source, history.sha256, code_version(), datetime.now(UTC))
    if model:
        chosen = {version: _load(models, version) for version in model}
    else:
        from ml.evaluation.training import train_contenders

        say("training on the earlier part ...")
        parameters = TrainingParameters(
            seed=seed,
            train_fraction=train_fraction,
            label_delay_days=label_delay_days,
            alerts_per_day=float(alerts_per_day),
        )
        chosen = train_contenders(dataset, parameters, provenance)
    judged = Judged(
        models=chosen,
        config=config,
        train_fraction=train_fraction,
        options=JudgingOptions(alerts_per_day, cards_per_day, resamples, seed),
        trained_here=not model,
        label_delay_days=label_delay_days,
    )
    with _progress() as progress:
        document = evaluate(dataset, judged, provenance, progress)
    files = [] if out_dir is None else write_evaluation(document, out_dir)
    seconds = time.monotonic() - started
    value = {**document.to_dict(), "files": [str(path) for path in files], "seconds": seconds}
    emit(output, value, lambda: _print(document, files, seconds))


def _load(models: Path, version: str) -> TreeModel:
    try:
        return load_model(model_directory(models, version), FEATURE_NAMES)
    except ModelError as error:
        raise UserError(f"the model cannot be judged ({error.detail})", "choose another version or --models") from error


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    columns = SpinnerColumn(), TextColumn("judging {task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task("")

        def tell(name: str, done: int, total: int) -> None:
            progress.update(task, description=name, completed=done, total=total)

        yield tell


def _print(document: EvaluationDocument, files: Sequence[Path], seconds: float) -> None:
    from ml.evaluation.report.words import facts, group_row, resampling, score_columns, score_row

    judged = document.evaluation
    out.print(f"Judged on {facts(judged)}", markup=False, soft_wrap=True)
    rows = [score_row(report, judged.baseline) for report in judged.scores]
    table(score_columns(judged), rows)
    columns = ("rule alone", "alerts", "recall", "precision", "false-positive rate")
    table(columns, [[group_row(one)[place] for place in (0, 4, 6, 7, 8)] for one in judged.rules])
    out.print(f"{resampling(judged)}; {seconds:.0f} s in all", markup=False)
    for path in files:
        out.print(str(path), markup=False, soft_wrap=True)
