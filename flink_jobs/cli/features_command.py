"""``streamflow features``: writes the features of labelled data as a table, for models that are trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli import data_options
from flink_jobs.cli.data_source import DataChoice, read_data
from flink_jobs.cli.output import Output, OutputOption, emit, out
from flink_jobs.cli.own_features import own_values_if_set
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.faults import ModelError
from flink_jobs.errors import UserError

Table = Annotated[Path, typer.Argument(metavar="FILE", help="table to write: .parquet or .csv")]
Scores = Annotated[
    list[str] | None, typer.Option("--score", help="add the score of this model version; may be given more than once")
]
KeepAbsent = Annotated[
    bool, typer.Option("--keep-absent", help="leave an absent feature empty, in place of its neutral value")
]


def features(
    file: Table,
    data: data_options.CardFile = None,
    mapping: data_options.MappingFile = None,
    since: data_options.DecisionsSince = None,
    until: data_options.DecisionsUntil = None,
    labels_until: data_options.LabelsUntil = None,
    score: Scores = None,
    models: data_options.ModelFolder = data_options.DEFAULT_MODELS,
    *,
    from_decisions: data_options.FromDecisions = False,
    skip_bad_rows: data_options.SkipBadRows = False,
    processes: data_options.Processes = None,
    cache: data_options.CacheFolder = None,
    keep_absent: KeepAbsent = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Write one row per transaction with its label and the features that the detector computes, own features included.

    Train a model on these columns with any library of boosted trees, and import it: `streamflow model import`.
    A file that exists is not replaced.

    Example: streamflow features rows.parquet --data tests/data/card_transactions.csv.gz
    """
    from flink_jobs.core.models.model import load_model, model_directory
    from ml.feature_table import check_target, feature_table, write_table

    check_target(file)
    own = own_values_if_set()
    try:
        scoring = [load_model(model_directory(models, version), FEATURE_NAMES, own=own) for version in score or ()]
    except ModelError as error:
        raise UserError(error.detail, "choose a version with --score and its folder with --models") from error
    source = read_data(
        DataChoice(data, mapping, skip_bad_rows, from_decisions, since, until, labels_until, processes, cache), own=own
    )
    table = feature_table(source.dataset, scoring, keep_absent=keep_absent)
    write_table(table, file)
    value = {"file": str(file), "source": source.source, "rows": table.num_rows, "columns": table.column_names}

    def plain() -> None:
        out.print(
            f"{file}: {table.num_rows:,} rows of {source.source}, {table.num_columns} columns: "
            f"{', '.join(table.column_names)}",
            markup=False,
            soft_wrap=True,
        )

    emit(output, value, plain)
