"""Rows that are left out are counted by reason, and each skipped row is listed in a file."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from flink_jobs.cards.card_files import RowError, RowReason, SourceEvent
from flink_jobs.cli import data_source, row_reports
from flink_jobs.cli.data_source import DataChoice, read_data
from flink_jobs.cli.row_reports import SkipList, TimeOrder

if TYPE_CHECKING:
    from pathlib import Path

MAPPING = """
fields:
  transaction_id: id
  customer_id: cust
  amount: {column: amt, unit: major}
  event_time: {column: ts, format: unix_s}
label: {column: fraud}
"""


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(row_reports, "say", lines.append)
    monkeypatch.setattr(data_source, "say", lines.append)
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path / "home"))
    return lines


def test_every_skipped_row_is_listed(tmp_path: Path, said: list[str]) -> None:
    skipped = SkipList(tmp_path / "cards.csv", tmp_path / "lists")
    skipped.add("cards.csv", RowError(3, "amt", RowReason.NOT_A_NUMBER, "column amt: 'x' is not a number"))
    skipped.add("cards.csv", RowError(9, None, RowReason.CELL_COUNT, "5 cells, the header has 4"))
    skipped.report()
    assert said[0].startswith(
        "2 rows were skipped (cell_count 1, not_a_number 1); the first: cards.csv, row 3: column amt"
    )
    assert said[1] == f"All skipped rows are listed in {skipped.path}"
    with skipped.path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [
            ["row", "column", "reason", "message"],
            ["3", "amt", "not_a_number", "column amt: 'x' is not a number"],
            ["9", "", "cell_count", "5 cells, the header has 4"],
        ]


def test_without_a_skipped_row_there_is_no_list(tmp_path: Path, said: list[str]) -> None:
    SkipList(tmp_path / "cards.csv", tmp_path / "lists").report()
    assert said == []
    assert not (tmp_path / "lists").exists()


def test_training_data_are_sorted_and_left_out_rows_have_reasons(tmp_path: Path, said: list[str]) -> None:
    rows = [f"t{number},c,{1704067200 + number},9.99,0" for number in range(5)]
    rows += ["t5,c,1704067300,-1,0", "t6,c,1704067300000000,1,0", "t7,c,1704067300,x,0"]
    path = tmp_path / "cards.csv"
    path.write_text("id,cust,ts,amt,fraud\n" + "\n".join(reversed(rows)) + "\n")
    (tmp_path / "cards.mapping.yaml").write_text(MAPPING)
    data = read_data(
        DataChoice(path, None, skip_bad_rows=True, from_decisions=False, since=None, until=None, labels_until=None)
    ).dataset
    assert list(data.event_time_ms) == sorted(data.event_time_ms)
    assert len(data) == 5
    text = "\n".join(said)
    assert "not oldest first: transaction 2 is earlier than the one before it" in text
    assert "1 rows were skipped (not_a_number 1)" in text
    assert (
        "2 rows were left out because the detector would reject them (EVENT_TIME_IN_FUTURE 1, NEGATIVE_AMOUNT 1)"
        in text
    )
    assert "The first rejected row: row 4: amount_minor is negative" in text
    assert len(list((tmp_path / "home" / "skipped").iterdir())) == 1, "the list of the first reading is deleted"


def test_a_replay_counts_events_that_are_too_early(tmp_path: Path, said: list[str]) -> None:
    order = TimeOrder()
    events = [SourceEvent({"event_time_ms": time_ms}) for time_ms in (5, 4, 6, 3)]
    assert list(order.watched(iter(events))) == events
    order.report(tmp_path / "cards.csv")
    assert said[0] == "Warning: the file is not oldest first; transaction 2 is too early."
    assert said[1].startswith("2 of 4 transactions of")
