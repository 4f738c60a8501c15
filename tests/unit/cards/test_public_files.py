"""Each preset reads a sample with the real header of its data set; and the mapping keys that the presets use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from flink_jobs.cards.card_files import RowReason, SkippedRows, mapping_for, read_events
from flink_jobs.cards.mapping import PRESETS, load_mapping, preset_names
from flink_jobs.contracts.document import DocumentError
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.transaction import Transaction
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from flink_jobs.cards.card_files import SourceEvent


V_COLUMNS = ",".join(f'"V{number}"' for number in range(1, 29))
V_CELLS = ",".join(["-0.1"] * 28)
SAMPLES = {
    "sparkov": (
        ",trans_date_trans_time,cc_num,merchant,category,amt,first,last,gender,street,city,state,zip,lat,long,city_pop,"
        "job,dob,trans_num,unix_time,merch_lat,merch_long,is_fraud\n"
        '0,2019-01-01 00:00:18,2703186189652095,"fraud_Rippin, Kub and Mann",misc_net,4.97,Jennifer,Banks,F,'
        '561 Perry Cove,Moravian Falls,NC,28654,36.0788,-81.1781,3495,"Psychologist, counselling",1988-03-09,'
        "0b242abb623afc578575680df30655b9,1325376018,36.011293,-82.048315,0\n"
        "1,2019-01-01 00:00:44,630423337322,fraud_Heller,grocery_pos,107.23,Stephanie,Gill,F,43039 Riley Greens,Orient,"
        "WA,99160,48.8878,-118.2105,149,Education,1978-06-21,1f76529f8574734946361c461b024d99,1325376044,49.159047,"
        "-118.186462,1\n"
    ),
    "ulb": f'"Time",{V_COLUMNS},"Amount","Class"\n0,{V_CELLS},149.62,"0"\n1,{V_CELLS},378.66,"1"\n',
    "ieee-cis": (
        "TransactionID,isFraud,TransactionDT,TransactionAmt,ProductCD,card1,card2,card3,card4,card5,card6,addr1,addr2\n"
        "2987000,0,86400,68.5,W,13926,,150.0,discover,142.0,credit,315.0,87.0\n"
        "2987001,1,86401,29.0,W,2755,404.0,150.0,mastercard,102.0,credit,,\n"
    ),
    "paysim": (
        "step,type,amount,nameOrig,oldbalanceOrg,newbalanceOrig,nameDest,oldbalanceDest,newbalanceDest,isFraud,"
        "isFlaggedFraud\n1,PAYMENT,9839.64,C1231006815,170136.0,160296.36,M1979787155,0.0,0.0,0,0\n"
        "1,TRANSFER,181.0,C1305486145,181.0,0.0,C553264065,0.0,0.0,1,0\n"
    ),
    "banksim": (
        "step,customer,age,gender,zipcodeOri,merchant,zipMerchant,category,amount,fraud\n"
        "0,'C1093826151','4','M','28007','M348934600','28007','es_transportation',4.55,0\n"  # pragma: allowlist secret
        "179,'C352968107','2','M','28007','M348934600','28007','es_health',39.68,1\n"  # pragma: allowlist secret
    ),
    "handbook": (
        "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_TIME_SECONDS,TX_TIME_DAYS,TX_FRAUD,"
        "TX_FRAUD_SCENARIO\n0,2018-04-01 00:00:31,596,3156,57.16,31,0,0,0\n"
        "1,2018-04-01 00:02:10,4961,3412,81.51,130,0,1,2\n"
    ),
    "handbook-merchants": (
        "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,MERCHANT_ID,TX_AMOUNT,TX_TIME_SECONDS,TX_TIME_DAYS,TX_FRAUD,"
        "TX_FRAUD_SCENARIO\n0,2018-04-01 00:00:31,596,3156,315,57.16,31,0,0,0\n"
        "1,2018-04-01 00:02:10,4961,3412,341,81.51,130,0,1,2\n"
    ),
    "handbook-devices": (
        "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,DEVICE_ID,CARD_ID,TX_AMOUNT,TX_TIME_SECONDS,TX_TIME_DAYS,"
        "TX_FRAUD,TX_FRAUD_SCENARIO\n0,2018-04-01 00:00:31,596,3156,3576,1192,57.16,31,0,0,0\n"
        "1,2018-04-01 00:02:10,4961,3412,30012,9923,81.51,130,0,1,4\n"
    ),
    "tabformer": (
        "User,Card,Year,Month,Day,Time,Amount,Use Chip,Merchant Name,Merchant City,Merchant State,Zip,MCC,Errors?,"
        "Is Fraud?\n0,0,2002,9,1,06:21,$134.09,Swipe Transaction,3527213246127876953,La Verne,CA,91750.0,5300,,No\n"
        "0,1,2002,9,1,06:42,$1038.48,Chip Transaction,-727612092139916043,Monterey Park,CA,91754.0,5411,"
        '"Bad PIN,Technical Glitch",Yes\n'
    ),
    "european": (
        "id;card;date;time;amount;currency;merchant\n"
        "t1;k1;31.12.2023;23:59:59;1.234,56;EUR;Café Müller\n"
        't2;k1;01.01.2024;00:00:01;9,90;CHF;"Kiosk; Bahnhof"\n'
    ),
}
FIRST: dict[str, dict[str, Any]] = {
    "sparkov": {
        "transaction_id": "0b242abb623afc578575680df30655b9", "customer_id": "2703186189652095", "amount_minor": 497,
        "event_time_ms": 1_546_300_818_000, "merchant": "fraud_Rippin, Kub and Mann",
        "location": {"lat": 36.011293, "lon": -82.048315},
    },
    "ulb": {"transaction_id": "ulb-2", "customer_id": "ulb-card-2", "amount_minor": 14_962, "currency": "EUR",
            "event_time_ms": 1_377_993_600_000},
    "ieee-cis": {"transaction_id": "ieee-2987000", "amount_minor": 6_850, "event_time_ms": 1_512_172_800_000},
    "paysim": {"transaction_id": "paysim-2", "customer_id": "C1231006815", "event_time_ms": 1_483_232_400_000},
    "banksim": {"customer_id": "C1093826151", "category": "es_transportation", "event_time_ms": 1_351_728_000_000},
    "handbook": {"transaction_id": "handbook-0", "customer_id": "handbook-596", "merchant": "3156", "terminal": "3156",
                 "event_time_ms": 1_522_540_831_000},
    "handbook-merchants": {"customer_id": "handbook-596", "merchant": "315", "terminal": "3156"},
    "handbook-devices": {"merchant": "3156", "terminal": "3156", "device": "3576", "card": "1192"},
    "tabformer": {"customer_id": "tabformer-0-0", "amount_minor": 13_409, "event_time_ms": 1_030_861_260_000,
                  "merchant": "3527213246127876953", "category": "5300", "channel": "Swipe Transaction"},
    "european": {"amount_minor": 123_456, "currency": "EUR", "event_time_ms": 1_704_063_599_000,
                 "merchant": "Café Müller"},
}  # fmt: skip
NOW_MS = 1_790_000_000_000


def events_of(tmp_path: Path, content: bytes, mapping: Path) -> list[SourceEvent]:
    path = tmp_path / "cards.csv"
    path.write_bytes(content)
    return list(read_events(path, mapping_for(path, mapping)))


def mapping_with(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    return path


def test_every_preset_has_a_sample() -> None:
    assert sorted({*SAMPLES, "wire"}) == preset_names()
    for name in preset_names():
        assert load_mapping(PRESETS / f"{name}.yaml") is not None


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_preset_reads_the_file_of_its_data_set(tmp_path: Path, name: str) -> None:
    content = SAMPLES[name].encode("windows-1252" if name == "european" else "utf-8")
    events = events_of(tmp_path, content, Path(f"preset:{name}"))
    first = events[0].transaction
    assert {key: first[key] for key in FIRST[name]} == FIRST[name]
    labels = [event.label for event in events]
    assert labels == ([None, None] if name == "european" else [False] * (len(events) - 1) + [True])
    for event in events:
        assert isinstance(parse_transaction(orjson.dumps(event.transaction), NOW_MS), Transaction)
    assert len({event.transaction["transaction_id"] for event in events}) == len(events)
    assert events_of(tmp_path, content, Path(f"preset:{name}")) == events, "generated ids are the same in every run"


def test_an_unknown_preset_lists_the_presets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no preset 'tabfomer': choose one of banksim, european"):
        events_of(tmp_path, b"", Path("preset:tabfomer"))


ISO8583 = """
fields:
  transaction_id: {hash: [F2, F7, F11]}
  customer_id: F2
  amount: {column: F4, unit: minor}
  currency: F49
  event_time: {column: F7, format: "%m%d%H%M%S", year: 2024}
  merchant: F43
"""


def test_iso_8583_fields_with_numeric_currency_and_no_year(tmp_path: Path) -> None:
    rows = b"F11,F2,F4,F49,F7,F18,F43\n000001,PAN1,000000012345,840,0229120000,5411,SHOP\n"
    (event,) = events_of(tmp_path, rows, mapping_with(tmp_path, ISO8583))
    assert event.transaction["amount_minor"] == 12_345
    assert event.transaction["currency"] == "USD"
    assert event.transaction["event_time_ms"] == 1_709_208_000_000
    assert len(event.transaction["transaction_id"]) == 32


def test_a_time_that_lost_its_leading_zero_is_not_read_as_another_time(tmp_path: Path) -> None:
    rows = b"F11,F2,F4,F49,F7,F18,F43\n000001,PAN1,12345,840,101120000,5411,SHOP\n"
    with pytest.raises(UserError, match=r"column F7: '101120000' is not a time in the format .* needs 10 digits"):
        events_of(tmp_path, rows, mapping_with(tmp_path, ISO8583))


BASE = """
fields:
  transaction_id: id
  customer_id: card
  amount: {column: amt, unit: major, %s}
  currency: {constant: EUR}
  event_time: {column: when, %s}
%s
"""


@pytest.mark.parametrize(
    ("keys", "cell", "minor"),
    [
        ('decimal: ","', "12,50", 1_250),
        ('decimal: ",", thousands: "."', "1.234.567,89", 123_456_789),
        ('decimal: ",", thousands: "."', "1234,5", 123_450),
        ('decimal: ",", thousands: "."', "12.50", None),
        ('decimal: ",", thousands: " "', "1\u202f234,50", 123_450),
        ('decimal: ","', "1.50", None),
        ('thousands: ","', "1,234.56", 123_456),
        ('thousands: ","', "1,23", None),
        ('thousands: "\'"', "1'234.50", 123_450),
        ('symbol: "$"', "$-12.00", -1_200),
        ('symbol: "$"', "-$12.00", -1_200),
        ('symbol: "€", decimal: ","', "12,00 €", 1_200),
        ('symbol: "€"', "$12.00", None),
        ("negate: true", "-12.00", 1_200),
        ("exponent: 2", "1,234.56", None),
    ],
)
def test_formats_of_amounts(tmp_path: Path, keys: str, cell: str, minor: int | None) -> None:
    mapping = mapping_with(tmp_path, BASE % (keys, "format: unix_s", "file: {delimiter: tab}"))
    path = tmp_path / "cards.csv"
    path.write_text(f"id\tcard\tamt\twhen\nt\tc\t{cell}\t1704067200\n")
    skipped = SkippedRows()
    events = list(read_events(path, mapping_for(path, mapping), skipped))
    assert [event.transaction["amount_minor"] for event in events] == ([] if minor is None else [minor])
    if minor is None:
        assert skipped.first_by_reason[RowReason.NOT_A_NUMBER].column == "amt"


@pytest.mark.parametrize(
    ("keys", "cell", "expected"),
    [
        ('format: offset, unit: minutes, start: "2024-01-01"', "1.5", 1_704_067_290_000),
        ('format: offset, unit: days, start: "2024-01-01T00:00:00+01:00"', "1", 1_704_150_000_000),
        ('format: offset, unit: steps, step_seconds: 10, start: "2024-01-01"', "3", 1_704_067_230_000),
        ('format: "%d/%m %H:%M", year: 2024', "29/02 00:00", 1_709_164_800_000),
        ('format: "%Y-%m-%d %H:%M:%S UTC"', "2024-01-01 00:00:00 UTC", 1_704_067_200_000),
    ],
)
def test_formats_of_times(tmp_path: Path, keys: str, cell: str, expected: int) -> None:
    mapping = mapping_with(tmp_path, BASE % ("exponent: 2", keys, ""))
    (event,) = events_of(tmp_path, f"id,card,amt,when\nt,c,1,{cell}\n".encode(), mapping)
    assert event.transaction["event_time_ms"] == expected


@pytest.mark.parametrize(
    ("amount", "time", "top", "message"),
    [
        ("exponent: 2", 'format: "%H:%M"', "", "which has no day and month.*columns"),
        ("exponent: 2", 'format: "%d.%m. %H:%M"', "", "event_time.year is missing: the format has no year"),
        ("exponent: 2", "format: iso, year: 2024", "", "event_time.year is given"),
        ("exponent: 2", 'format: "%Y-%m-%d %Z"', "", "has %Z"),
        ("exponent: 2", 'format: "%Y-%m-%d %Q"', "", "bad directive"),
        ("exponent: 2", "format: offset, unit: hours", "", "event_time.start is missing"),
        ("exponent: 2", 'format: offset, start: "2024-01-01"', "", "event_time.unit is missing"),
        ("exponent: 2", 'format: offset, unit: weeks, start: "2024-01-01"', "", "unit is 'weeks'"),
        ('decimal: "."  , thousands: "."', "format: iso", "", "amount.thousands is '.'"),
        ('decimal: ";"', "format: iso", "", "amount.decimal is ';'"),
        ("exponent: 2", "format: iso", "file: {delimiter: ab}", "file.delimiter is 'ab'"),
        ("exponent: 2", "format: iso", "file: {encoding: latin-99}", "file.encoding is 'latin-99'"),
        ("exponent: 2", "format: iso", "pattern: {generate: row_number}", "pattern.prefix is missing"),
        ("exponent: 2", "format: iso", "pattern: {hash: []}", "pattern.hash is empty"),
    ],
)  # fmt: skip
def test_a_bad_key_names_the_key_and_the_fix(tmp_path: Path, amount: str, time: str, top: str, message: str) -> None:
    with pytest.raises(DocumentError, match=message):
        load_mapping(mapping_with(tmp_path, BASE % (amount, time, top)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    mapping = mapping_with(
        tmp_path, BASE % ("exponent: 2", "format: unix_s", f"segment: shop\nfile: {{encoding: {encoding}}}")
    )
    content = "id,card,amt,when,shop\r\nt,c,1,1704067200,Café\r\n".encode(encoding)
    (event,) = events_of(tmp_path, content, mapping)
    assert event.segment == "Café"


def test_a_file_without_header_and_a_header_below_a_title(tmp_path: Path) -> None:
    names = mapping_with(tmp_path, BASE % ("exponent: 2", "format: unix_s", "file: {columns: [id, card, amt, when]}"))
    assert len(events_of(tmp_path, b"t,c,1,1704067200\n", names)) == 1
    below = mapping_with(tmp_path, BASE % ("exponent: 2", "format: unix_s", "file: {header_line: 3}"))
    assert len(events_of(tmp_path, b"Export\n\nid,card,amt,when\nt,c,1,1704067200\n", below)) == 1
