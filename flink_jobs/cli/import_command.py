"""``streamflow model import``: makes a model of another library a version that the detector can score with."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from flink_jobs.cli import data_options
from flink_jobs.cli.blend_texts import own_blend_text
from flink_jobs.cli.code_version import code_version
from flink_jobs.cli.data_source import DataChoice, read_data
from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.cli.own_features import own_values_if_set
from flink_jobs.cli.sanity_command import warn
from flink_jobs.cli.times import moment_ms
from flink_jobs.core.models.faults import ModelError
from flink_jobs.errors import UserError
from ml.importing.formats import ForeignFormat
from ml.parameters import TrainingParameters

if TYPE_CHECKING:
    from flink_jobs.core.models.manifest_document import BlendDocument
    from flink_jobs.core.own_features.values import OwnValues
    from ml.importing.importing import ImportedModel, ImportRequest

ModelFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="LightGBM: Booster.save_model('m.txt'); XGBoost: save_model('m.json'); ONNX: trees of skl2onnx or "
        "onnxmltools; scikit-learn: JSON of ml/importing/sklearn_export.py",
    ),
]
Format = Annotated[ForeignFormat, typer.Option("--format", help="form of the file")]
TrainedUntil = Annotated[
    str, typer.Option(help="time of the last training row, ISO 8601 (UTC): the gate measures on later rows only")
]
Parity = Annotated[
    Path | None,
    typer.Option(
        help="CSV file: one column per input and the column `prediction` of the library; default: the library (for "
        "ONNX: ONNX Runtime), if it is installed beside StreamFlow, predicts 2,000 rows around the thresholds"
    ),
]
Names = Annotated[
    str | None, typer.Option(help="inputs of the model in order, separated by commas; default: the names in the file")
]
AlertBudget = Annotated[
    float | None, typer.Option("--alerts-per-day", min=0.0, help="with --data: choose the threshold for this number")
]
Version = Annotated[str | None, typer.Option(help="name of the version; default: day and digest of the trees")]
OutFolder = Annotated[
    Path, typer.Option("--out", envvar="STREAMFLOW_MODEL_DIR", help="folder that holds the model versions")
]


def import_model(
    file: ModelFile,
    library: Format,
    trained_until: TrainedUntil,
    parity: Parity = None,
    names: Names = None,
    data: data_options.CardFile = None,
    mapping: data_options.MappingFile = None,
    alerts_per_day: AlertBudget = None,
    version: Version = None,
    out_dir: OutFolder = data_options.DEFAULT_MODELS,
    *,
    skip_bad_rows: data_options.SkipBadRows = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Import boosted trees of another library, after comparing their scores with the library's.

    The inputs of the model must be features of the detector (docs/rules.md) or own features, by name. With --data, the
    labelled rows later than --trained-until choose the model's alpha and alert threshold and measure it.
    Then continue as with a trained model: `streamflow model register`, `streamflow model promote`.
    """
    from ml.importing.importing import ImportRequest

    now, own = datetime.now(UTC), own_values_if_set()
    until_ms = moment_ms(trained_until, "--trained-until", time.time_ns() // 1_000_000)
    asked = ImportRequest(
        file=file,
        format=library,
        trained_until=datetime.fromtimestamp(until_ms / 1_000, UTC),
        names=[name.strip() for name in names.split(",")] if names else (),
        parity=parity,
        version=version,
        code_version=code_version(),
        created_at=now,
        own=None if own is None else own.features,
    )
    choice = None if data is None else DataChoice(data, mapping, skip_bad_rows, False, None, None, None)  # noqa: FBT003
    imported, directory = _publish(asked, choice, own, alerts_per_day, out_dir)
    value = {"directory": str(directory), "unused_inputs": imported.unused, **asdict(imported.manifest)}
    emit(output, value, lambda: _print(imported, directory))


def _publish(
    asked: ImportRequest,
    choice: DataChoice | None,
    own: OwnValues | None,
    alerts_per_day: float | None,
    folder: Path,
) -> tuple[ImportedModel, Path]:
    # scikit-learn takes three seconds to import, and the help does not need it.
    from ml.artifact_writer import write_artifact
    from ml.importing.importing import import_foreign, measured_on

    try:
        imported = import_foreign(asked)
        if choice is not None:
            rows = read_data(choice, own=own).dataset
            warn(rows)
            imported = measured_on(imported, rows, TrainingParameters(alerts_per_day=alerts_per_day))
        return imported, write_artifact(folder, imported.manifest, imported.arrays)
    except ModelError as error:
        raise UserError(f"the detector cannot score with this model ({error.detail})", "train a smaller one") from error
    except PermissionError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror})", "choose another folder with --out") from error


def _print(imported: ImportedModel, directory: Path) -> None:
    manifest, found = imported.manifest, imported.manifest.parameters
    out.print(f"Model {manifest.version} is in {directory}", soft_wrap=True)
    out.print(
        f"{imported.arrays.trees.tree_count} trees on {', '.join(manifest.feature_names)}", markup=False, soft_wrap=True
    )
    if imported.unused:
        out.print(
            f"Inputs that no split uses were left out: {', '.join(imported.unused)}", markup=False, soft_wrap=True
        )
    out.print(
        f"Scores differ from {found['parity_against']} by at most {found['parity_difference']:.2g} on "
        f"{found['parity_rows']:,} rows; {found['parity_tolerance']:g} is allowed",
        markup=False,
        soft_wrap=True,
    )
    blend = None if manifest.blend is None else asdict(manifest.blend)
    out.print(own_blend_text(cast("BlendDocument | None", blend)), markup=False, soft_wrap=True)
    rows = [(name.replace("_", " "), f"{value:g}") for name, value in manifest.metrics.items()]
    table(["measured on later rows (blend: model and rules)", "value"], rows or [("nothing: no --data was given", "")])
    out.print(f"Next: streamflow model register {manifest.version}", markup=False, soft_wrap=True)
