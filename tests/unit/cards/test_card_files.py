from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pytest
from pyarrow import parquet

from flink_jobs.cards.card_files import SkippedRows, mapping_for, read_events, with_prefix
from flink_jobs.cli.traffic_commands import write_events
from flink_jobs.errors import UserError
from flink_jobs.traffic.purchase_ids import with_purchase_ids
from flink_jobs.traffic.simulate import SimulationPlan, simulate

if TYPE_CHECKING:
    from flink_jobs.cards.card_files import SourceEvent

CARDS = Path(__file__).parents[2] / "data" / "card_transactions.csv.gz"
MAPPING = """
fields:
  transaction_id: id
  customer_id: {column: card, prefix: c}
  amount: {column: amt, unit: major}
  currency: {constant: EUR}
  event_time: {column: when, format: iso}
  merchant: shop
label: {column: fraud}
"""
CSV = "id,card,amt,when,shop,fraud\nt1,7,1.50,2024-01-01T00:00:00Z,Kiosk,0\nt2,7,99,2024-01-01T00:01:00Z,,1\n"


@pytest.fixture
def mapping_file(tmp_path: Path) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(MAPPING)
    return path


def events_of(path: Path, mapping: Path | None = None, skipped: SkippedRows | None = None) -> list[SourceEvent]:
    return list(read_events(path, mapping_for(path, mapping), skipped))


def test_the_card_file_as_its_readme_describes_it() -> None:
    events = events_of(CARDS)
    assert len(events) == 62_522
    assert sum(event.label is True for event in events) == 2_502
    assert len({event.transaction["customer_id"] for event in events}) == 261
    assert len({event.transaction["transaction_id"] for event in events}) == 62_522
    times = [event.transaction["event_time_ms"] for event in events]
    assert times == sorted(times)
    first = events[0].transaction
    assert first["amount_minor"] == 20_566
    assert first["location"] == {"lat": 44.263012, "lon": -93.250548}, "of the purchase, not of the home"


def test_csv_json_lines_and_parquet_give_the_same_events(tmp_path: Path, mapping_file: Path) -> None:
    rows = [
        dict(zip(CSV.split("\n", maxsplit=1)[0].split(","), line.split(","), strict=True))
        for line in CSV.split("\n")[1:3]
    ]
    plain, zipped, lines, columns = (tmp_path / name for name in ("a.csv", "a.csv.gz", "a.jsonl.gz", "a.parquet"))
    plain.write_text(CSV)
    zipped.write_bytes(gzip.compress(CSV.encode()))
    lines.write_bytes(gzip.compress(b"\n".join(orjson.dumps(row) for row in rows) + b"\n\n"))
    typed = [{**row, "card": float(row["card"]), "amt": float(row["amt"]), "fraud": int(row["fraud"])} for row in rows]
    parquet.write_table(pa.Table.from_pylist(typed), columns)
    expected = events_of(plain, mapping_file)
    assert [event.label for event in expected] == [False, True]
    assert [event.transaction["customer_id"] for event in expected] == ["c7", "c7"]
    assert "merchant" not in expected[1].transaction
    for path in (zipped, lines, columns):
        assert events_of(path, mapping_file) == expected, path.name


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, mapping_file: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + CSV.encode())
    assert len(events_of(path, mapping_file)) == 2


def test_the_mapping_beside_the_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "cards.mapping.yaml").write_text(MAPPING)
    (tmp_path / "cards.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    assert len(events_of(tmp_path / "cards.csv.gz")) == 2


@pytest.mark.parametrize("version", [1, 2])
def test_simulated_traffic_comes_back_as_it_was_written(tmp_path: Path, version: int) -> None:
    path = tmp_path / "cards.jsonl"
    plain = list(itertools.islice(simulate(SimulationPlan(customers=20, fraud_rate=0.2)), 500))
    events = plain if version == 1 else list(with_purchase_ids(plain, 1))
    counts = write_events(events, path)
    assert counts == {"events": 500, "frauds": sum(event.label is True for event in events)}
    assert counts["frauds"] > 0
    assert events_of(path) == events


def test_ids_in_the_wire_format_count_as_unknown_where_they_are_not_valid(tmp_path: Path) -> None:
    """Messages of version 1 may have any value under these names, and were always replayed."""
    plain = {"transaction_id": "t", "customer_id": "c", "amount_minor": 1, "currency": "USD",
             "event_time_ms": 1_704_067_200_000}  # fmt: skip
    path = tmp_path / "wire.jsonl"
    for given, expected in (
        ({"terminal": {"id": 1}, "device": ["d"], "card": 17, "ip": "x"}, {}),
        ({"terminal": True, "ip": 7, "device": "d-1"}, {"device": "d-1", "schema_version": 2}),
        ({"card": "4111 1111 1111 1111"}, {"card": "****1111", "schema_version": 2}),
        ({"ip": "2001:DB8::1"}, {"ip": "2001:db8::1", "schema_version": 2}),
    ):
        path.write_text(orjson.dumps({**plain, **given}).decode())
        (event,) = events_of(path)
        assert event.transaction == {**plain, **expected}


def test_a_prefix_makes_every_event_new_and_changes_nothing_else(tmp_path: Path, mapping_file: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(CSV)
    plain = events_of(path, mapping_file)
    for before, after in zip(plain, with_prefix(plain, "run2-"), strict=True):
        ids = {name: "run2-" + before.transaction[name] for name in ("transaction_id", "customer_id")}
        assert after.transaction == {**before.transaction, **ids}
        assert after.label == before.label


def test_a_bad_row_names_file_row_and_cell_or_is_counted(tmp_path: Path, mapping_file: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(CSV.replace("99", "lots"))
    with pytest.raises(
        UserError, match=r"a.csv, row 3: column amt: 'lots' is not a number: correct the row or .*m.yaml$"
    ):
        events_of(path, mapping_file)
    with pytest.raises(UserError, match=r"m.yaml, or skip such rows with --skip-bad-rows$"):
        events_of(path, mapping_file, SkippedRows(takes_errors=False))
    skipped = SkippedRows()
    assert len(events_of(path, mapping_file, skipped)) == 1
    assert skipped.count == 1
    assert "row 3" in skipped.first


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,card\n", "does not have"),
        ("a.csv", b"", "does not have"),
        ("a.csv", CSV.encode().replace(b"Kiosk", b"Caf\xe9"), "row 2: byte 35 of the line is not utf-8"),
        ("a.csv.gz", b"not gzip", "cannot be read"),
        ("a.csv.gz", gzip.compress(CSV.encode() + b"x" * 100_000)[:-20], "cannot be read"),
        ("a.jsonl", b'{"id": 1}\n', "does not have"),
        ("a.jsonl", b"[1]\n", "row 1: the line is not a JSON object"),
        ("a.jsonl", b"{\n", "row 1: the line is not JSON"),
        ("a.parquet", b"PAR1", "cannot be read as Parquet"),
        ("a.xlsx", b"", "has an unknown file type"),
        ("b.csv", None, "there is no file"),
    ],
    ids=[  # by name: pytest makes a name from bytes by printing them, and workers must agree on names
        "no-rows",
        "empty",
        "not-utf8",
        "not-gzip",
        "cut-gzip",
        "other-fields",
        "not-an-object",
        "not-json",
        "not-parquet",
        "unknown-kind",
        "absent",
    ],
)
def test_a_bad_file_says_what_is_wrong(
    tmp_path: Path, mapping_file: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        events_of(path, mapping_file)


def test_a_csv_without_mapping_says_where_one_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "cards.csv.gz").touch()
    with pytest.raises(UserError, match=r"has no column mapping: write .*cards.mapping.yaml, or name a mapping"):
        mapping_for(tmp_path / "cards.csv.gz", None)


def test_pattern_and_segment_stay_beside_the_transaction(tmp_path: Path, mapping_file: Path) -> None:
    mapping_file.write_text(MAPPING + "pattern: kind\nsegment: {column: region, prefix: r-}\n")
    path = tmp_path / "cards.csv"
    path.write_text("id,card,amt,when,shop,fraud,kind,region\nt1,7,1,2024-01-01T00:00:00Z,,1,burst,north\n")
    (event,) = events_of(path, mapping_file)
    assert (event.pattern, event.segment) == ("burst", "r-north")
    assert not {"burst", "r-north", "north"} & set(map(str, event.transaction.values()))
    path.write_text("id,card,amt,when,shop,fraud,kind\nt1,7,1,2024-01-01T00:00:00Z,,1,burst\n")
    with pytest.raises(UserError, match="segment"):
        events_of(path, mapping_file)
