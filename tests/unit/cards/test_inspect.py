"""``streamflow inspect``: the proposal reads the file it was made from, and marks each decision that is left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from flink_jobs.cards.card_files import BadRowError, read_events
from flink_jobs.cards.detection import take_sample
from flink_jobs.cards.inspection import inspect_file
from flink_jobs.cards.mapping import load_mapping
from flink_jobs.cards.proposal import as_yaml, presets_for, propose, propose_label
from flink_jobs.cli.app import app
from flink_jobs.cli.row_reports import SkipList
from flink_jobs.contracts.document import DocumentError
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

NOW_MS = 1_790_000_000_000
CSV = "id,cust,ts,amt,ccy,fraud\nt1,c,1704067200,9.99,USD,0\nt2,c,1704067260,1.50,EUR,1\n"


def proposal_of(tmp_path: Path, content: str, name: str = "cards.csv", encoding: str = "utf-8") -> tuple[str, Path]:
    path = tmp_path / name
    path.write_bytes(content.encode(encoding))
    sample = take_sample(path)
    text = as_yaml(sample, propose(sample), propose_label(sample))
    (tmp_path / "proposed.yaml").write_text(text)
    return text, path


def test_a_clear_file_needs_no_decision(tmp_path: Path) -> None:
    text, path = proposal_of(tmp_path, CSV)
    assert "check" not in text
    result = inspect_file(path, load_mapping(tmp_path / "proposed.yaml"), NOW_MS)
    assert (result.rows, result.accepted, result.refused) == (2, 2, {})
    assert result.labels == {"fraud": 1, "genuine": 1, "unlabelled": 0}
    assert (result.first_ms, result.last_ms) == (1_704_067_200_000, 1_704_067_260_000)


def test_a_file_without_a_readable_row_names_the_first_one(tmp_path: Path) -> None:
    path = tmp_path / "cards.jsonl"
    path.write_text('{"transaction_id": "a", "merchant": NaN}\n' * 3)
    told = CliRunner().invoke(app, ["inspect", str(path)])
    assert isinstance(told.exception, UserError)
    assert "cards.jsonl, row 1: the line is not JSON" in told.exception.what
    path.write_text("")
    assert "has no rows" in str(CliRunner().invoke(app, ["inspect", str(path)]).exception)


def test_refunds_are_left_out_on_request_and_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMFLOW_HOME", str(tmp_path))
    refund = "t3,c,1704067300,-4.00,USD,0\n"
    text, path = proposal_of(tmp_path, CSV + refund)
    (line,) = (line for line in text.splitlines() if "amount:" in line)
    assert "refunds: skip" in line
    assert "# check" in line
    assert "1 of 3 are negative" in line
    proposed = tmp_path / "proposed.yaml"
    result = inspect_file(path, load_mapping(proposed), NOW_MS)
    assert (result.rows, result.accepted, result.refunds, result.refused) == (3, 2, 1, {})

    listed = SkipList(path, takes_errors=False)
    sent = [event.transaction["transaction_id"] for event in read_events(path, load_mapping(proposed), listed)]
    listed.report()
    assert sent == ["t1", "t2"]
    assert listed.path.read_text().splitlines() == [
        "row,column,reason,message", "4,amt,refund,column amt: a refund (-4.00)"
    ]  # fmt: skip
    path.write_text(CSV + refund + "t4,c,1704067300,four,USD,0\n")
    listed = SkipList(path, takes_errors=False)
    with pytest.raises(BadRowError, match="row 5: column amt"):
        list(read_events(path, load_mapping(proposed), listed))
    listed.report()

    proposed.write_text(text.replace(", refunds: skip", ""))
    path.write_text(CSV + refund)
    told = CliRunner().invoke(app, ["inspect", str(path), "--mapping", str(proposed)])
    assert told.exit_code == 1
    assert "add `refunds: skip` to the amount of the mapping" in " ".join(told.output.split())
    proposed.write_text(text.replace("refunds: skip", "refunds: maybe"))
    with pytest.raises(DocumentError, match="refunds"):
        load_mapping(proposed)


@pytest.mark.parametrize(
    ("content", "checked"),
    [
        (CSV.replace("9.99", "999").replace("1.50", "150"), "amount"),
        (CSV.replace("1704067200", "01/02/2024").replace("1704067260", "03/04/2024"), "event_time"),
        (CSV.replace("1704067200", "0").replace("1704067260", "60"), "event_time"),
        (CSV.replace("1704067200", "2024-01-01T00:00:00").replace("1704067260", "2024-01-01T00:00:00"), "event_time"),
        (CSV.replace("ccy", "x"), "currency"),
        (CSV.replace("EUR", ""), "currency"),
        (CSV.replace("t2", "t1"), "transaction_id"),
        (CSV.replace("cust", "x"), "customer_id"),
        (CSV.replace("EUR,1", "EUR,maybe"), "label"),
    ],
)
def test_a_decision_that_the_file_leaves_open_is_marked(tmp_path: Path, content: str, checked: str) -> None:
    text, _ = proposal_of(tmp_path, content)
    marked = [line.split(":")[0].strip() for line in text.splitlines() if "# check" in line]
    assert marked == [checked]
    load_mapping(tmp_path / "proposed.yaml")


def test_dialect_and_encoding_are_detected(tmp_path: Path) -> None:
    content = "id;cust;date;betrag;currency;merchant\n" + "".join(
        f"t{day};c;{day}.01.2024;1.234,56;EUR;Café\n" for day in range(10, 20)
    )
    text, path = proposal_of(tmp_path, content, encoding="windows-1252")
    assert 'file: {delimiter: ";"' in text
    assert "encoding: windows-1252" in text
    result = inspect_file(path, load_mapping(tmp_path / "proposed.yaml"), NOW_MS)
    assert result.accepted == 10


def test_line_breaks_in_quoted_cells_are_proposed_and_a_lost_quote_is_not(tmp_path: Path) -> None:
    head = "id,cust,ts,amt,merchant\n"
    broken = (
        head + 't1,c,1704067200,9.99,"Joe\'s\nDiner ""X"""\nt2,c,1704067260,1.50,a\u2028b\nt3,c,1704067320,2.50,"Joe\n'
    )
    text, path = proposal_of(tmp_path, broken.replace(',"Joe\n', ',"Jo\ne"\n'))
    assert "line_breaks: true}  # check: quoted cells hold line breaks" in text
    assert inspect_file(path, load_mapping(tmp_path / "proposed.yaml"), NOW_MS).accepted == 3
    text, path = proposal_of(tmp_path, head + 't1,c,1704067200,9.99,"Joe\n' + "t2,c,1704067260,1.50,Shop\n" * 3)
    assert "line_breaks" not in text
    assert inspect_file(path, load_mapping(tmp_path / "proposed.yaml"), NOW_MS).refused["quote"].count == 1


def test_a_time_without_a_year_is_proposed_with_a_year_to_check(tmp_path: Path) -> None:
    text, path = proposal_of(
        tmp_path, "F11,F2,F4,F49,F7\n1,PAN1,000000012345,840,0101120000\n2,PAN1,99,840,1231235959\n"
    )
    assert 'event_time: {column: F7, format: "%m%d%H%M%S", year: 2024' in text
    result = inspect_file(path, load_mapping(tmp_path / "proposed.yaml"), NOW_MS)
    assert (result.first_ms, result.accepted) == (1_704_110_400_000, 2)


def test_a_date_in_four_columns_is_joined(tmp_path: Path) -> None:
    head = "User,Year,Month,Day,Time,Amount\n"
    text, path = proposal_of(tmp_path, f"{head}0,2002,9,1,06:21,$20.50\n0,2002,12,31,23:59,$7.25\n")
    assert 'event_time: {columns: [Year, Month, Day, Time], format: "%Y %m %d %H:%M", timezone: UTC}  # check' in text
    result = inspect_file(path, load_mapping(tmp_path / "proposed.yaml"), NOW_MS)
    assert (result.first_ms, result.last_ms) == (1_030_861_260_000, 1_041_379_140_000)


def test_a_truth_value_is_no_currency_symbol(tmp_path: Path) -> None:
    line = '{"transaction_id":"a","customer_id":"c","amount_minor":5,"currency":"USD","event_time_ms":1704067200000}\n'
    text, path = proposal_of(tmp_path, line + line.replace(":5,", ":true,"), name="cards.jsonl")
    assert "symbol" not in text
    assert inspect_file(path, load_mapping(tmp_path / "proposed.yaml"), NOW_MS).refused["not_a_number"].count == 1


@pytest.mark.parametrize(
    ("time_format", "cell", "hint"),
    [
        ("unix_s", "1704067200000", "; the numbers look like unix_ms, but the mapping reads unix_s"),
        ("unix_s", "1704067200000000", "; the numbers look like unix_us, but the mapping reads unix_s"),
        ("unix_ms", "1704067200", "; the numbers look like unix_s, but the mapping reads unix_ms"),
        ("unix_ms", "1704067200000000000", "; the numbers look like unix_ns, but the mapping reads unix_ms"),
        ("unix_s", "86400", "; if the numbers count from a start, write `format: offset` with `unit` and `start`"),
        ("iso", "1999-12-31T00:00:00Z", "row 2: event_time_ms is before 2000-01-01"),
    ],
)
def test_a_rejected_time_is_explained_by_the_format_of_the_mapping(
    tmp_path: Path, time_format: str, cell: str, hint: str
) -> None:
    path = tmp_path / "cards.csv"
    path.write_text(f"id,cust,ts,amt\nt1,c,{cell},9.99\n")
    mapping = tmp_path / "m.yaml"
    mapping.write_text(
        "fields: {transaction_id: id, customer_id: cust, amount: {column: amt, unit: major}, "
        f"event_time: {{column: ts, format: {time_format}}}}}"
    )
    (refusal,) = inspect_file(path, load_mapping(mapping), NOW_MS).refused.values()
    assert refusal.first.endswith(hint)


def test_single_quotes_are_detected(tmp_path: Path) -> None:
    rows = "".join(f"{step},'C1','M{step}',4.55,0\n" for step in range(5))
    text, path = proposal_of(tmp_path, "step,customer,merchant,amount,fraud\n" + rows)
    assert load_mapping(tmp_path / "proposed.yaml").dialect.quote == "'"
    assert inspect_file(path, load_mapping(tmp_path / "proposed.yaml"), NOW_MS).accepted == 5
    assert "such as 'C1'" in text


def test_json_lines_are_proposed_with_dotted_columns(tmp_path: Path) -> None:
    line = {"id": "t1", "card": "c", "amount_minor": 5, "currency": "USD", "timestamp": 1704067200000}
    text, path = proposal_of(tmp_path, json.dumps({**line, "geo": {"lat": 1.5, "lon": 2.5}}) + "\n", "a.jsonl")
    assert "location: {lat: geo.lat, lon: geo.lon}" in text
    assert "unit: minor" in text
    assert inspect_file(path, load_mapping(tmp_path / "proposed.yaml"), NOW_MS).accepted == 1


def test_rejected_rows_are_counted_by_reason_with_the_first_row(tmp_path: Path) -> None:
    bad = "t3,c,1704067200,1,234.56,USD,0\nt4,c,4,9.99,USD,0\nt5,c,5,9.99,USD,0\nt6,c,1704067100,9.99,usd,0\n"
    _, path = proposal_of(tmp_path, CSV + bad)
    (tmp_path / "m.yaml").write_text(
        "fields:\n  transaction_id: id\n  customer_id: cust\n  amount: {column: amt, unit: major}\n"
        "  event_time: {column: ts, format: unix_s}\n  currency: ccy\n"
    )
    result = inspect_file(path, load_mapping(tmp_path / "m.yaml"), NOW_MS)
    assert (result.rows, result.accepted) == (6, 2)
    counts = {reason: (refusal.by, refusal.count) for reason, refusal in result.refused.items()}
    assert counts == {
        "cell_count": ("reader", 1), "EVENT_TIME_OUT_OF_RANGE": ("detector", 2), "UNKNOWN_CURRENCY": ("detector", 1),
    }  # fmt: skip
    assert result.refused["cell_count"].first.startswith("row 4: 7 cells")
    assert result.refused["EVENT_TIME_OUT_OF_RANGE"].first.startswith("row 5: ")


def test_the_command_prints_a_mapping_that_can_be_saved_and_ends_with_1_for_rejected_rows(tmp_path: Path) -> None:
    path = tmp_path / "cards.csv"
    path.write_text(CSV)
    runner = CliRunner()
    proposed = runner.invoke(app, ["inspect", str(path)])
    assert proposed.exit_code == 0, proposed.output
    (tmp_path / "m.yaml").write_text(proposed.stdout)
    counted = runner.invoke(app, ["inspect", str(path), "--mapping", str(tmp_path / "m.yaml"), "--output", "json"])
    assert json.loads(counted.stdout)["accepted"] == 2
    path.write_text(CSV + "t3,c\n")
    refused = runner.invoke(app, ["inspect", str(path), "--mapping", str(tmp_path / "m.yaml")])
    assert refused.exit_code == 1
    assert "cell_count" in refused.stdout


def test_a_file_of_a_public_data_set_is_recognised(tmp_path: Path) -> None:
    header = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TX_FRAUD,TX_FRAUD_SCENARIO"
    path = tmp_path / "cards.csv"
    path.write_text(f"{header}\n0,2018-04-01 00:00:31,596,3156,57.16,0,0\n")
    assert presets_for(take_sample(path)) == ["handbook"]
    path.write_text(CSV)
    assert presets_for(take_sample(path)) == []


def test_a_date_and_a_time_in_two_columns_are_joined(tmp_path: Path) -> None:
    content = "id,cust,date,time,amt,ccy\nt1,c,31.01.2024,10:15,9.99,USD\n"
    text, path = proposal_of(tmp_path, content)
    assert 'columns: [date, time], format: "%d.%m.%Y %H:%M", timezone: UTC}  # check' in text
    assert inspect_file(path, load_mapping(tmp_path / "proposed.yaml"), NOW_MS).first_ms == 1_706_696_100_000


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            "merchant_id,terminal_id,device_id,card_token,ip_address",
            "merchant_id terminal_id device_id card_token ip_address",
        ),
        ("terminal_id,device,x,y,z", "terminal_id terminal_id device"),
    ],
)
def test_columns_of_terminal_device_card_and_address_are_proposed(columns: str, expected: str, tmp_path: Path) -> None:
    content = f"id,cust,ts,amt,ccy,{columns}\nt1,c,1704067200,9.99,USD,a1,a2,a3,a4,10.0.0.1\n"
    _, path = proposal_of(tmp_path, content)
    mapping = load_mapping(tmp_path / "proposed.yaml")
    assert " ".join(source.columns[0] for _, source in mapping.texts) == expected
    assert inspect_file(path, mapping, NOW_MS).accepted == 1
