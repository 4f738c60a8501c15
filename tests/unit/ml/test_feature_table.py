"""The table of features holds what a model trains on, and importing a model of its columns scores as in the stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.errors import UserError
from ml.dataset import FRAUD, UNKNOWN, build_dataset
from ml.feature_table import feature_table, write_table
from ml.terminal_fraud import World, generate
from tests.unit.ml.synthetic import dataset
from tests.unit.ml.terminal_events import NOW_MS as EVENTS_NOW_MS
from tests.unit.ml.terminal_events import events_with_ids


def test_a_table_has_one_row_for_each_transaction_with_the_inputs_of_the_stream() -> None:
    rows = dataset(300)
    table = feature_table(rows)
    assert table.num_rows == len(rows)
    inputs = np.column_stack([table[name].to_numpy() for name in FEATURE_NAMES])
    np.testing.assert_array_equal(inputs, rows.inputs)
    assert table["transaction_id"].to_pylist() == rows.transaction_ids.tolist()
    assert table["customer_id"].to_pylist() == [rows.customer.text(row) for row in range(len(rows))]
    assert table["category"].to_pylist() == [rows.category.text(row) for row in range(len(rows))]
    known = {FRAUD: True, UNKNOWN: None}
    assert table["is_fraud"].to_pylist() == [known.get(label, False) for label in rows.labels.tolist()]
    np.testing.assert_array_equal(table["event_time"].cast(pa.int64()).to_numpy(), rows.event_time_ms)


def test_absent_features_can_stay_absent() -> None:
    rows = dataset(300)
    rows.features[::7, 3] = np.nan
    table = feature_table(rows, keep_absent=True)
    for place, name in enumerate(FEATURE_NAMES):
        np.testing.assert_array_equal(table[name].is_null().to_numpy(), np.isnan(rows.features[:, place]))


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_both_file_formats_hold_the_same_numbers(suffix: str, tmp_path: Path) -> None:
    table, path = feature_table(dataset(300)), tmp_path / f"rows{suffix}"
    write_table(table, path)
    read = parquet.read_table(path) if suffix == ".parquet" else csv.read_csv(path)
    for name in FEATURE_NAMES:
        np.testing.assert_array_equal(read[name].to_numpy().astype(float), table[name].to_numpy())
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "no unfinished file is left"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rows.txt", "unknown suffix.*parquet or .csv"),
        ("here.csv", "exists"),
        ("missing/rows.csv", "cannot be written"),
    ],
)
def test_a_table_that_cannot_be_written(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "here.csv").write_text("kept")
    with pytest.raises(UserError, match=message):
        write_table(feature_table(dataset(10)), tmp_path / name)
    assert (tmp_path / "here.csv").read_text() == "kept"


def test_ids_of_terminal_device_and_card_are_columns() -> None:
    rows = build_dataset(events_with_ids(generate(World(10, 20, 5, 3))), EVENTS_NOW_MS)
    table = feature_table(rows)
    assert len(rows) > 30
    for name in ("terminal", "device", "card"):
        assert table[name].to_pylist() == [getattr(transaction, name) for transaction in rows.transactions()]
        assert any(table[name].to_pylist())
