"""Writes the rows that a model would train on as a table, for models that are trained elsewhere."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.errors import UserError
from ml.columns import NOTHING
from ml.dataset import FRAUD, UNKNOWN
from ml.model_scores import score_rows
from ml.whole_files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flink_jobs.core.models.model import TreeModel
    from ml.columns import Coded
    from ml.dataset import Dataset

SUFFIXES: Final = (".parquet", ".csv")
SCORE_COLUMN: Final = "score_{version}"
"""Column of the scores of a model version."""


def feature_table(dataset: Dataset, models: Sequence[TreeModel] = (), *, keep_absent: bool = False) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return the rows of a data set as an Arrow table, in the order of the stream.

    Columns: ``transaction_id``, ``customer_id``, ``event_time`` (UTC, milliseconds), ``amount`` (major units),
    ``currency``, ``category``, ``merchant``, ``terminal``, ``device``, ``card``, ``is_fraud`` (null: not known),
    ``segment``, ``scenario``, ``rule_score``, one column for each feature and each own feature, and ``score_VERSION``
    for each model.

    Args:
        dataset: the rows.
        models: models whose scores become columns.
        keep_absent: write null for an absent feature; otherwise its neutral value, which a model gets in the stream.
    """
    import pyarrow as pa  # noqa: PLC0415 - takes a second to import

    features = dataset.features if keep_absent else dataset.inputs
    columns: dict[str, Any] = {
        "transaction_id": pa.array(dataset.transaction_ids, pa.string()),
        "customer_id": _texts(dataset.customer),
        "event_time": pa.array(dataset.event_time_ms, pa.timestamp("ms", tz="UTC")),
        "amount": pa.array(dataset.amount),
        "currency": _texts(dataset.currency),
        "category": _texts(dataset.category),
        "merchant": _texts(dataset.merchant),
        "terminal": _texts(dataset.terminal),
        "device": _texts(dataset.device),
        "card": _texts(dataset.card),
        "is_fraud": pa.array(dataset.labels == FRAUD, mask=dataset.labels == UNKNOWN),
        "segment": _texts(dataset.segment),
        "scenario": _texts(dataset.scenario),
        "rule_score": pa.array(dataset.rule_score),
    }
    for place, name in enumerate(FEATURE_NAMES):
        columns[name] = pa.array(features[:, place], mask=np.isnan(features[:, place]))
    if dataset.own is not None:
        for spec in dataset.own.specs:
            values = dataset.own.column(spec.name, keep_absent=keep_absent)
            columns[spec.name] = pa.array(values, mask=np.isnan(values))
    for model in models:
        columns[SCORE_COLUMN.format(version=model.version)] = pa.array(score_rows(model, dataset))
    return pa.table(columns)


def check_target(path: Path) -> None:
    """Check the name of a table before the work starts.

    Raises:
        UserError: the file exists, or has another suffix than ``.parquet`` or ``.csv``.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} has an unknown suffix", f"choose {' or '.join(SUFFIXES)}")
    if path.exists():
        raise UserError(f"{path} exists", "choose another name, or delete it")


def write_table(table: Any, path: Path) -> None:  # noqa: ANN401 - pyarrow has no types
    """Write a table; the file appears only when it is complete.

    Raises:
        UserError: the file exists, has an unknown suffix, or cannot be written.
    """
    check_target(path)
    try:
        write_whole(path, partial(_write, table, path.suffix), replaces=False)
    except FileExistsError:
        raise UserError(f"{path} exists", "another program has written it; choose another name, or delete it") from None
    except OSError as error:
        what = f"{path} cannot be written ({error.strerror or error})"
        raise UserError(what, "choose a folder that exists and that you can write to") from error


def _write(table: Any, suffix: str, path: Path) -> None:  # noqa: ANN401 - as above
    from pyarrow import csv, parquet  # noqa: PLC0415 - takes a second to import

    if suffix == ".parquet":
        parquet.write_table(table, str(path), compression="zstd")
    else:
        csv.write_csv(table, str(path))


def _texts(column: Coded) -> Any:  # noqa: ANN401 - as above
    """Return a column of texts; each distinct text is stored once."""
    import pyarrow as pa  # noqa: PLC0415 - takes a second to import

    codes = pa.array(column.codes, mask=column.codes == NOTHING)
    return pa.DictionaryArray.from_arrays(codes, pa.array(column.names, pa.string()))
