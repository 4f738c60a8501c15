from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flink_jobs.cards.converters import minor_units, time_converter
from flink_jobs.cards.labels import UnknownLabelError
from flink_jobs.cards.mapping import load_mapping
from flink_jobs.cards.row_errors import CellError
from flink_jobs.contracts.document import DocumentError
from flink_jobs.core.currencies import MINOR_UNITS
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flink_jobs.cards.mapping import ColumnMapping

LEAST: dict[str, Any] = {
    "fields": {
        "transaction_id": "id",
        "customer_id": "card",
        "amount": {"column": "amt", "unit": "major"},
        "event_time": {"column": "when", "format": "unix_s"},
    }
}
ROW = {"id": "t1", "card": "c1", "amt": "12.34", "when": "1704067202", "fraud": "1", "shop": "Kiosk"}


def write(tmp_path: Path, document: object) -> ColumnMapping:
    path = tmp_path / "cards.mapping.yaml"
    path.write_text(yaml.safe_dump(document))
    return load_mapping(path)


def with_fields(**fields: object) -> dict[str, Any]:
    return {**LEAST, "fields": {**LEAST["fields"], **fields}}


def test_four_fields_are_enough_and_dollars_are_assumed(tmp_path: Path) -> None:
    mapping = write(tmp_path, LEAST)
    assert mapping.assumes_currency
    assert mapping.label(ROW) is None
    assert mapping.transaction(ROW) == {
        "transaction_id": "t1",
        "customer_id": "c1",
        "amount_minor": 1234,
        "currency": "USD",
        "event_time_ms": 1_704_067_202_000,
    }


def test_a_prefix_keeps_ids_of_two_sources_apart(tmp_path: Path) -> None:
    mapping = write(tmp_path, with_fields(customer_id={"column": "card", "prefix": "bank-a-"}))
    assert mapping.transaction(ROW)["customer_id"] == "bank-a-c1"


def test_the_label_is_beside_the_transaction_and_never_in_it(tmp_path: Path) -> None:
    mapping = write(tmp_path, {**with_fields(merchant="shop"), "label": {"column": "fraud"}})
    assert mapping.label(ROW) is True
    assert mapping.label({**ROW, "fraud": "0"}) is False
    assert mapping.label({**ROW, "fraud": ""}) is None
    assert "fraud" not in mapping.transaction(ROW)


@pytest.mark.parametrize(("value", "is_fraud"), [("F", True), ("f", True), ("G", False)])
def test_fraud_values_replace_the_usual_ones(tmp_path: Path, value: str, *, is_fraud: bool) -> None:
    mapping = write(tmp_path, {**LEAST, "label": {"column": "fraud", "fraud_values": ["F"]}})
    assert mapping.label({**ROW, "fraud": value}) is is_fraud


def test_values_of_the_mapping_can_stand_for_no_label(tmp_path: Path) -> None:
    label = {"column": "fraud", "unlabelled_values": ["?", "-1"]}
    mapping = write(tmp_path, {**LEAST, "label": label})
    assert [mapping.label({**ROW, "fraud": value}) for value in ("?", -1, "1.0", False)] == [None, None, True, False]


def test_with_own_fraud_values_the_usual_ones_are_unknown(tmp_path: Path) -> None:
    mapping = write(tmp_path, {**LEAST, "label": {"column": "fraud", "fraud_values": ["F"]}})
    with pytest.raises(UnknownLabelError, match="'1' is neither a fraud value nor a genuine value"):
        mapping.label({**ROW, "fraud": "1"})


@pytest.mark.parametrize(
    ("currency", "minor"), [("USD", 1234), ("JPY", 12), ("KWD", 12_340), ("CLF", 123_400), ("???", 1234)]
)
def test_major_units_use_the_decimals_of_the_rows_currency(tmp_path: Path, currency: str, minor: int) -> None:
    mapping = write(tmp_path, with_fields(currency="cur"))
    assert mapping.transaction({**ROW, "cur": currency})["amount_minor"] == minor


def test_an_explicit_exponent_and_minor_units(tmp_path: Path) -> None:
    three = write(tmp_path, with_fields(amount={"column": "amt", "unit": "major", "exponent": 3}))
    assert three.transaction(ROW)["amount_minor"] == 12_340
    minor = write(tmp_path, with_fields(amount={"column": "amt", "unit": "minor"}))
    assert minor.transaction({**ROW, "amt": "1234"})["amount_minor"] == 1234


def test_half_a_location_is_left_out(tmp_path: Path) -> None:
    mapping = write(tmp_path, with_fields(location={"lat": "y", "lon": "x"}))
    assert mapping.transaction({**ROW, "y": "47.3", "x": "8.5"})["location"] == {"lat": 47.3, "lon": 8.5}
    for row in ({**ROW, "y": "47.3", "x": ""}, {**ROW, "y": float("nan"), "x": 8.5}):
        assert "location" not in mapping.transaction(row)


@pytest.mark.parametrize("column", ["id", "card", "amt", "when"])
@pytest.mark.parametrize("empty", ["", "  ", None, float("nan")])
def test_an_empty_required_cell_is_an_error(tmp_path: Path, column: str, empty: object) -> None:
    with pytest.raises(CellError, match="is empty"):
        write(tmp_path, LEAST).transaction({**ROW, column: empty})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["fields"].pop("amount"), "fields.amount is missing: add it: a mapping"),
        (lambda m: m["fields"].pop("customer_id"), "fields.customer_id is missing"),
        (lambda m: m["fields"]["amount"].pop("unit"), "fields.amount.unit is missing"),
        (lambda m: m["fields"]["amount"].update(unit="cents"), "fields.amount.unit is 'cents': write `major`"),
        (lambda m: m["fields"].update(merchnt="x"), r"fields.merchnt is not a known key: did you mean `merchant`"),
        (
            lambda m: m["fields"]["event_time"].update(format="epoch"),
            "event_time.format is 'epoch': write unix_s",
        ),
        (lambda m: m["fields"]["event_time"].update(timezone="Mars"), "timezone 'Mars' is not a time zone"),
        (lambda m: m["fields"].update(currency={"constant": "USD", "column": "c"}), "either a column or a constant"),
        (lambda m: m["fields"].update(location={"lat": "y"}), "fields.location.lon is missing"),
        (lambda m: m.update(lable={"column": "x"}), "did you mean `label`"),
        (lambda m: m.pop("fields"), "fields is missing"),
    ],
)
def test_a_bad_mapping_says_file_key_and_remedy(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    document = yaml.safe_load(yaml.safe_dump(LEAST))
    document["fields"].setdefault("merchant", "shop")
    change(document)
    with pytest.raises(DocumentError, match=message) as caught:
        write(tmp_path, document)
    assert "cards.mapping.yaml" in str(caught.value)


def test_a_missing_column_names_key_and_nearest_column(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"fields.amount.column names the column 'amt'.*did you mean 'amount'"):
        write(tmp_path, LEAST).check_columns(["id", "card", "amount", "when"], "cards.csv")


@given(st.integers(0, 10**12), st.sampled_from(sorted(MINOR_UNITS)))
def test_minor_units_survive_the_way_through_decimals(minor: int, currency: str) -> None:
    exponent = {1.0: 0, 100.0: 2, 1000.0: 3, 10000.0: 4}[MINOR_UNITS[currency]]
    assert minor_units(str(Decimal(minor).scaleb(-exponent)), exponent) == minor
    if minor < 10**11:  # a float of Parquet holds this many digits
        assert minor_units(float(Decimal(minor).scaleb(-exponent)), exponent) == minor


@pytest.mark.parametrize("cell", ["abc", "NaN", "inf", "-Infinity", "1e400", "1" * 30, "9" * 19])
def test_what_is_no_amount_is_an_error_not_a_number(cell: str) -> None:
    with pytest.raises(CellError, match=r"not a number|not a finite number|too large"):
        minor_units(cell, 2)


def test_a_negative_amount_passes_for_the_detector_to_refuse() -> None:
    assert minor_units("-3.005", 2) == -301


@pytest.mark.parametrize(
    ("text", "time_format", "expected"),
    [
        ("1704067202", "unix_s", 1_704_067_202_000),
        ("1704067202.5", "unix_s", 1_704_067_202_500),
        ("1704067202000", "unix_ms", 1_704_067_202_000),
        ("1704067202000123", "unix_us", 1_704_067_202_000),
        ("1704067202000123456", "unix_ns", 1_704_067_202_000),
        ("2024-01-01T00:00:02Z", "iso", 1_704_067_202_000),
        ("2024-01-01T01:00:02.250+01:00", "iso", 1_704_067_202_250),
        ("2024-01-01 00:00:02", "iso", 1_704_067_202_000),
        ("01/01/2024 00:00", "%d/%m/%Y %H:%M", 1_704_067_200_000),
        ("1969-12-31T23:59:59.999Z", "iso", -1),
    ],
)
def test_times(text: str, time_format: str, expected: int) -> None:
    assert time_converter(time_format, UTC)(text) == expected


def test_a_time_without_zone_is_in_the_zone_of_the_mapping(tmp_path: Path) -> None:
    event_time = {"column": "when", "format": "iso", "timezone": "Europe/Zurich"}
    mapping = write(tmp_path, with_fields(event_time=event_time))
    assert mapping.transaction({**ROW, "when": "2024-07-01T02:00:00"})["event_time_ms"] == 1_719_792_000_000


def test_a_time_of_another_format_is_an_error() -> None:
    with pytest.raises(CellError, match="is not a time in the format iso"):
        time_converter("iso", UTC)("yesterday")


def test_the_mapping_of_the_card_file_is_sound() -> None:
    mapping = load_mapping(Path(__file__).parents[2] / "data" / "card_transactions.mapping.yaml")
    assert set(mapping.columns()) >= {"trans_num", "acct_num", "amt", "unix_time", "merch_lat", "is_fraud"}
    assert not mapping.assumes_currency


def test_an_empty_currency_is_an_error_or_the_default_of_the_mapping(tmp_path: Path) -> None:
    with pytest.raises(CellError, match=r"fields.currency.* is empty"):
        write(tmp_path, with_fields(currency="cur")).transaction({**ROW, "cur": ""})
    mapping = write(tmp_path, with_fields(currency={"column": "cur", "default": "JPY"}))
    assert mapping.transaction({**ROW, "cur": " ", "amt": "1500"})["amount_minor"] == 1500


@pytest.mark.parametrize(
    ("cell", "code", "minor"),
    [("840", "USD", 1234), (840, "USD", 1234), ("36", "AUD", 1234), ("392", "JPY", 12), ("HRK", "HRK", 1234),
     ("ITL", "ITL", 12), ("532", "532", 1234), (" USD ", "USD", 1234)],
)  # fmt: skip
def test_numeric_and_withdrawn_currencies(tmp_path: Path, cell: object, code: str, minor: int) -> None:
    transaction = write(tmp_path, with_fields(currency="cur")).transaction({**ROW, "cur": cell})
    assert (transaction["currency"], transaction["amount_minor"]) == (code, minor)


@pytest.mark.parametrize(
    "fields",
    [
        {"currency": {"constant": "usd"}},
        {"currency": {"constant": "EURO"}},
        {"country": {"constant": "no"}},
        {"country": {"constant": "USA"}},
        {"customer_id": {"constant": "x" * 65}},
        {"merchant": {"constant": "x" * 129}},
        {"amount": {"constant": "lots", "unit": "major"}},
    ],
)
def test_a_constant_that_the_detector_rejects_is_refused(tmp_path: Path, fields: dict[str, object]) -> None:
    with pytest.raises(DocumentError, match=f"fields.{next(iter(fields))}"):
        write(tmp_path, with_fields(**fields))


def test_a_numeric_constant_currency_is_read_as_its_letters(tmp_path: Path) -> None:
    mapping = write(tmp_path, with_fields(currency={"constant": "978"}))
    assert mapping.transaction(ROW)["currency"] == "EUR"


def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text("fields:\n  merchant: a\n  merchant: b\n")
    with pytest.raises(DocumentError, match=r"line 3 is not valid YAML \(the key 'merchant' occurs twice\)"):
        load_mapping(path)


def test_a_tab_or_line_break_inside_a_name_becomes_a_space(tmp_path: Path) -> None:
    mapping = write(tmp_path, with_fields(merchant="shop"))
    assert mapping.transaction({**ROW, "shop": "tab\there"})["merchant"] == "tab here"
    assert mapping.transaction({**ROW, "shop": "two\r\nlines"})["merchant"] == "two lines"
    assert mapping.transaction({**ROW, "shop": "Lawson\u3000Shibuya"})["merchant"] == "Lawson\u3000Shibuya"
