"""A label that is neither fraud nor genuine is an error with the values and their counts, never "genuine"."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flink_jobs.cards.card_files import SkippedRows, mapping_for, read_events
from flink_jobs.cards.labels import UnknownLabelError, label_values
from flink_jobs.errors import UserError

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


def card_file(folder: Path, labels: list[str]) -> Path:
    rows = [f"t{number},c,{1704067200 + number},9.99,{label}" for number, label in enumerate(labels)]
    path = folder / "cards.csv"
    path.write_text("id,cust,ts,amt,fraud\n" + "\n".join(rows) + "\n")
    (folder / "cards.mapping.yaml").write_text(MAPPING)
    return path


def test_the_usual_words_are_known_and_a_missing_label_stays_missing(tmp_path: Path) -> None:
    path = card_file(tmp_path, ["1.0", "0.0", "Y", "n", " TRUE ", "False", "yes", "No", "1", "0", "", "Fraud", "legit"])
    labels = [event.label for event in read_events(path, mapping_for(path, None))]
    known = [True, False, True, False, True, False, True, False, True, False]
    assert labels == [*known, None, True, False]


def test_unknown_labels_are_listed_with_their_counts_and_the_first_row(tmp_path: Path) -> None:
    path = card_file(tmp_path, ["0", "?", "1", "-1", "?"])
    with pytest.raises(
        UserError, match=r"from row 3 on: label.column has .*'\?' \(2 times\), '-1' \(1 times\)"
    ) as caught:
        list(read_events(path, mapping_for(path, None)))
    assert "genuine_values" in caught.value.fix
    skipped = SkippedRows()
    assert [event.label for event in read_events(path, mapping_for(path, None), skipped)] == [False, True]
    assert skipped.count == 3


@pytest.mark.parametrize(
    ("fraud", "genuine", "cell", "is_fraud"),
    [
        (["1"], None, 1.0, True),
        (["1"], None, 0, False),
        (["1"], None, True, True),
        (["0"], None, "1", False),
        (["chargeback"], ["settled"], "Settled", False),
        (["F"], None, "g", False),
        (["T"], None, "f", False),
    ],
)
def test_a_mapping_defines_the_opposite_too(
    fraud: list[str], genuine: list[str] | None, cell: object, *, is_fraud: bool
) -> None:
    assert label_values(fraud, genuine).is_fraud(cell) is is_fraud


@pytest.mark.parametrize(
    ("fraud", "cell"), [(["1"], "yes"), (["chargeback"], "settled"), (None, "F"), (None, "T"), (None, "2")]
)
def test_other_values_are_refused(fraud: list[str] | None, cell: str) -> None:
    with pytest.raises(UnknownLabelError):
        label_values(fraud, None).is_fraud(cell)
