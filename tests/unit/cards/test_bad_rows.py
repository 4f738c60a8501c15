"""Rows that cannot be read: never changed silently, always named, and one bad row costs one row."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from flink_jobs.cards.card_files import BadRowError, RowError, RowReason, SkippedRows, mapping_for, read_events
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

MAPPING = """
fields:
  transaction_id: id
  customer_id: cust
  amount: {column: amt, unit: major}
  event_time: {column: ts, format: unix_s}
  merchant: shop
"""
HEADER = b"id,cust,ts,shop,amt\n"
GOOD = [b"t%d,c,17040672%02d,Shop,9.99\n" % (i, i) for i in range(10)]


def read(tmp_path: Path, name: str, content: bytes, mapping: str = MAPPING) -> tuple[list[dict[str, Any]], SkippedRows]:
    (tmp_path / "m.yaml").write_text(mapping)
    path = tmp_path / name
    path.write_bytes(content)
    skipped = SkippedRows()
    loaded = mapping_for(path, tmp_path / "m.yaml")
    events = [event.transaction for event in read_events(path, loaded, skipped)]
    if skipped.count:
        with pytest.raises(BadRowError) as caught:
            list(read_events(path, loaded))
        assert caught.value.row_error == min(skipped.first_by_reason.values(), key=lambda error: error.row)
    return events, skipped


def csv_with(*rows: bytes) -> bytes:
    return HEADER + GOOD[0] + b"".join(rows) + GOOD[1]


@pytest.mark.parametrize(
    ("row", "reason", "message"),
    [
        (b't,c,1704067200,"Joe,9.99\n', RowReason.QUOTE, "opens and does not end on this line"),
        (b't,c,1704067200,"Joe"s,9.99\n', RowReason.QUOTE, "ends inside a cell"),
        (b"t,c,1704067200,Shop,1,234.56\n", RowReason.CELL_COUNT, "6 cells, but the header has 5 columns"),
        (b"t,c,17040672\n", RowReason.CELL_COUNT, "3 cells, but the header has 5 columns"),
        (b"t,c,1704067200,Caf\xe9,9.99\n", RowReason.ENCODING, "byte 19 of the line is not utf-8"),
        (b"t,c,1704067200," + b"x" * 140_000 + b",9.99\n", RowReason.TOO_LONG, "above 131,072 characters"),
        (b't,c,1704067200,"' + b"x" * 140_000 + b'",9.99\n', RowReason.TOO_LONG, "above 131,072 characters"),
        (b"x" * 3_000_000 + b"\n", RowReason.TOO_LONG, "above 1,048,576 bytes"),
        (b"t,c,1704067200,Shop,1e999999\n", RowReason.TOO_LARGE, "column amt"),
        (b"t,c,1704067200,Shop,1_000\n", RowReason.NOT_A_NUMBER, "column amt"),
        (b"t,c,1e99,Shop,1\n", RowReason.TOO_LARGE, "column ts"),
        (b"t,4.99235E+18,1704067200,Shop,1\n", RowReason.INEXACT_ID, "column cust: '4.99235E\\+18' was rounded"),
        (b"t,,1704067200,Shop,1\n", RowReason.EMPTY, "fields.customer_id is empty"),
    ],
    ids=lambda value: value.value if isinstance(value, RowReason) else "",
)
def test_a_bad_csv_row_is_named_and_costs_one_row(tmp_path: Path, row: bytes, reason: RowReason, message: str) -> None:
    events, skipped = read(tmp_path, "a.csv", csv_with(row))
    assert [event["transaction_id"] for event in events] == ["t0", "t1"]
    assert dict(skipped.by_reason) == {reason: 1}
    assert skipped.first_by_reason[reason].row == 3
    with pytest.raises(BadRowError, match=f"a.csv, row 3: .*{message}"):
        list(read_events(tmp_path / "a.csv", mapping_for(tmp_path / "a.csv", tmp_path / "m.yaml")))


def test_quotes_that_pair_across_lines_swallow_no_rows(tmp_path: Path) -> None:
    rows = list(GOOD)
    rows[3], rows[6] = b't3,c,1704067203,"Joe,9.99\n', b't6,c,1704067206,Joe",9.99\n'
    events, skipped = read(tmp_path, "a.csv", HEADER + b"".join(rows))
    assert [event["transaction_id"] for event in events] == ["t0", "t1", "t2", "t4", "t5", "t6", "t7", "t8", "t9"]
    assert events[5]["merchant"] == 'Joe"'
    assert skipped.first_by_reason[RowReason.QUOTE].row == 5


def test_cells_with_line_breaks_are_read_where_the_mapping_says_so(tmp_path: Path) -> None:
    rows = [
        b't0,c,1704067200,"Joe\'s\r\nDiner",9.99\r\n',
        b't1,c,1704067201,"One\n\n""two""\nthree",9.99\n',
        b't2,c,1704067202,"Lost,9.99\n',  # no quote ends it: the row is an error, the next ones are read
        b't3,c,1704067203,"Also\nbroken",9.99\n',
        b't4,c,1704067204,"Too\nmany",cells,9.99\n',
        *(b"t%d,c,17040672%02d,Shop,9.99\n" % (number, number) for number in range(5, 40)),
        b't40,c,1704067240,"never ends,9.99\n',
    ]
    content = HEADER + b"".join(rows)
    events, skipped = read(tmp_path, "a.csv", content, MAPPING + "file: {line_breaks: true}\n")
    merchants = {event["transaction_id"]: event["merchant"] for event in events}
    assert [merchants[name] for name in ("t0", "t1", "t3")] == ["Joe's Diner", 'One "two" three', "Also broken"]
    assert set(merchants) == {"t0", "t1", "t3", *(f"t{number}" for number in range(5, 40))}
    assert dict(skipped.by_reason) == {RowReason.QUOTE: 3, RowReason.CELL_COUNT: 1}
    assert skipped.first_by_reason[RowReason.QUOTE].row == 8
    assert "line_breaks: true" in skipped.first_by_reason[RowReason.QUOTE].fix
    alone, _ = read(tmp_path, "b.csv", HEADER + rows[0] + GOOD[1], MAPPING)
    assert [event["transaction_id"] for event in alone] == ["t1"], "by default one line is one row"


def test_empty_cells_after_the_last_column_and_empty_lines_are_allowed(tmp_path: Path) -> None:
    events, skipped = read(tmp_path, "a.csv", csv_with(b"t,c,1704067200,Shop,9.99,, \r\n", b"\n", b"  \r\n"))
    assert len(events) == 3
    assert not skipped.count


def test_short_rows_are_allowed_where_the_mapping_says_so(tmp_path: Path) -> None:
    header = b"id,cust,ts,amt,shop\n"
    rows = b"t,c,1704067200,9.99\n"
    events, skipped = read(tmp_path, "a.csv", header + rows, MAPPING + "file: {short_rows: true}\n")
    assert "merchant" not in events[0]
    assert not skipped.count


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,cust,ts,shop,amt,amt\n", r"row 1: column names repeat: 'amt' \(5 and 6\)"),
        (b"id,cust,ts,shop,amt\rt,c,1,s,1\r", "carriage return only.*tr "),
        (b"id;cust;ts;shop;amt\n", r"one column; its header holds the delimiter \";\".*file: {delimiter"),
        (b'id,"cust,ts\n', "row 1: a quote"),
    ],
    ids=["repeated", "mac-lines", "semicolon", "quote"],
)
def test_a_bad_header_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(tmp_path, "a.csv", content)


LINE = (
    '{"transaction_id": "%s", "customer_id": "c", "amount_minor": 5, "currency": "USD", "event_time_ms": 1704067200000}'
)


@pytest.mark.parametrize(
    ("line", "reason", "message"),
    [
        (b'{"transaction_id": "x", "cust', RowReason.NOT_JSON, "is not JSON"),
        (LINE.encode().replace(b"%s", b"\xff"), RowReason.ENCODING, "is not UTF-8"),
        (LINE.replace('"%s"', "NaN").encode(), RowReason.NOT_JSON, "NaN is not a JSON number"),
        (b"[1]", RowReason.NOT_JSON, "not a JSON object"),
        (LINE.replace('"%s"', '{"id": 1}').encode(), RowReason.WRONG_TYPE, "is a dict"),
        (LINE.replace('"%s"', '["a"]').encode(), RowReason.WRONG_TYPE, "is a list"),
        (LINE.replace('"%s"', "true").encode(), RowReason.WRONG_TYPE, "is a bool"),
        (LINE.replace('"%s"', "123456789012345678901").encode(), RowReason.INEXACT_ID, "lost digits"),
        (LINE.replace("5,", '5, "amount_minor": 9,').encode(), RowReason.REPEATED_KEY, "'amount_minor' occurs twice"),
        (LINE.replace('"USD"', '""').encode(), RowReason.EMPTY, "fields.currency is empty"),
        (LINE.replace('"transaction_id": "%s", ', "").encode(), RowReason.MISSING_COLUMN, "does not have"),
    ],
    ids=["cut", "utf8", "nan", "array", "object-id", "list-id", "bool-id", "big-id", "twice", "currency", "missing"],
)  # fmt: skip
@pytest.mark.parametrize("place", [0, 1])
def test_a_bad_json_line_is_named_and_costs_one_row(
    tmp_path: Path, line: bytes, reason: RowReason, message: str, place: int
) -> None:
    path, seen = tmp_path / "a.jsonl", list[RowError]()
    lines = [(LINE % "t0").encode(), (LINE % "t1").encode()]
    lines.insert(place, line)
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines) + b"\n")
    skipped = SkippedRows(on_skip=seen.append)
    assert [e.transaction["transaction_id"] for e in read_events(path, mapping_for(path, None), skipped)] == [
        "t0",
        "t1",
    ]
    assert [(error.row, error.reason) for error in seen] == [(place + 1, reason)]
    with pytest.raises(UserError, match=message):
        list(read_events(path, mapping_for(path, None)))


PARQUET_MAPPING = MAPPING.replace("unix_s", "iso").replace("  merchant: shop\n", "")


def parquet_rows(tmp_path: Path, **columns: pa.Array) -> tuple[list[dict[str, Any]], SkippedRows]:
    rows = len(next(iter(columns.values())))
    usual = {
        "id": pa.array([f"t{i}" for i in range(rows)]),
        "cust": pa.array(["c"] * rows),
        "amt": pa.array([1.5] * rows),
        "ts": pa.array([datetime(2024, 1, 1)] * rows, pa.timestamp("us")),  # noqa: DTZ001 - as Parquet stores it
    }
    parquet.write_table(pa.table({**usual, **columns}), tmp_path / "b.parquet")
    return read(tmp_path, "b.parquet", (tmp_path / "b.parquet").read_bytes(), PARQUET_MAPPING)


def test_parquet_bytes_are_text_and_nanoseconds_are_times(tmp_path: Path) -> None:
    times = pa.array([1_704_067_200_123_456_789] * 2, pa.timestamp("ns"))
    events, skipped = parquet_rows(tmp_path, id=pa.array([b"p0", b"p\xff"], pa.binary()), ts=times)
    assert [(event["transaction_id"], event["event_time_ms"]) for event in events] == [("p0", 1_704_067_200_123)]
    assert dict(skipped.by_reason) == {RowReason.ENCODING: 1}


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"ts": pa.array([1, 2**62], pa.timestamp("us"))}, RowReason.TOO_LARGE),
        ({"cust": pa.array([1.0, 2.0**53])}, RowReason.INEXACT_ID),
        ({"amt": pa.array([19.99, 1234567.89], pa.float32())}, RowReason.TOO_LARGE),
        ({"cust": pa.array([None, ["b"]])}, RowReason.WRONG_TYPE),
    ],
    ids=["far", "float-id", "float32-amount", "list-id"],
)
def test_a_parquet_value_that_is_not_exact_is_the_error_of_its_row(
    tmp_path: Path, columns: dict[str, pa.Array], reason: RowReason
) -> None:
    _, skipped = parquet_rows(tmp_path, **columns)
    assert skipped.first_by_reason[reason].row == 2
    assert skipped.first_by_reason[reason].column in columns


def test_a_parquet_column_of_an_unknown_time_zone_is_an_error_of_each_row(tmp_path: Path) -> None:
    events, skipped = parquet_rows(tmp_path, ts=pa.array([1, 2], pa.timestamp("us", "Mars/Base")))
    assert events == []
    assert dict(skipped.by_reason) == {RowReason.NOT_A_TIME: 2}


def test_repeated_parquet_columns_are_refused(tmp_path: Path) -> None:
    parquet.write_table(pa.table([pa.array([1])] * 2, names=["id", "id"]), tmp_path / "b.parquet")
    with pytest.raises(UserError, match="column names repeat: id"):
        read(tmp_path, "b.parquet", (tmp_path / "b.parquet").read_bytes())


def test_the_column_of_an_error_is_not_that_of_an_absent_optional_cell(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text((LINE % "t0").replace("}", ', "is_fraud": "maybe"}') + "\n")
    skipped = SkippedRows()
    assert list(read_events(path, mapping_for(path, None), skipped)) == []
    assert skipped.first_by_reason[RowReason.UNKNOWN_LABEL].column == "is_fraud"


@pytest.mark.parametrize(
    "extra", ['"location": {"lat": 1.5, "lat": 2.5}', '"note" : 1, "note" : 2', '"a": [{"b": 1, "b": 2}]']
)
def test_a_repeated_json_key_is_found_at_any_depth(tmp_path: Path, extra: str) -> None:
    path = tmp_path / "a.jsonl"
    fine = '"location" : {"lat": 1.5, "lon": 2.5}, "note": "a \\":", "b": [{"c": 1}, {"c": 2}]'
    path.write_text(
        "\n".join((LINE % number).replace("}", f", {more}}}", 1) for number, more in ((1, fine), (2, extra)))
    )
    skipped = SkippedRows()
    assert len(list(read_events(path, mapping_for(path, None), skipped))) == 1
    assert skipped.first_by_reason[RowReason.REPEATED_KEY].row == 2
