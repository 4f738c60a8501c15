"""Findings of the fault matrix and their report, without a running stack."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from flink_jobs.local.ports import free_ports
from flink_jobs.traffic.balance import Balance
from tests.lab.faults import fault_command, fault_report
from tests.lab.faults.fault_case import CaseResult, CaseStatus, LedgerCounts
from tests.lab.faults.fault_matrix import CASES
from tests.lab.faults.throttle import throttle


def result(name: str = "broker-kill", **fields: object) -> CaseResult:
    made = CaseResult(name, "SIGKILL", "goes on")
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def test_every_case_has_a_unique_name_and_states_what_is_expected() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 20
    assert all(case.fault and case.expected for case in CASES)


def test_the_counts_show_a_lost_and_a_repeated_outcome() -> None:
    lost = LedgerCounts.of(Balance(sent=3, decided=2, rejected=0, duplicates=0, missing=((0, 1),)))
    assert (lost.missing, lost.holds) == (1, False)
    twice = LedgerCounts.of(
        Balance(sent=1, decided=2, rejected=0, duplicates=0, repeated=((0, 0),), repeated_transactions=1)
    )
    assert (twice.repeated, twice.holds) == (2, False)
    assert LedgerCounts.of(Balance(sent=3, decided=2, rejected=1, duplicates=0)).holds


def test_the_newest_finding_of_each_case_is_kept_in_the_order_of_the_matrix(tmp_path: Path) -> None:
    order = ["one", "two", "three"]
    first = fault_report.merged([], [result("two", sent=2), result("one")], order)
    fault_report.write(tmp_path, first, {"cores": "2"}, "python -m tests.lab.faults")
    again = fault_report.merged(fault_report.read(tmp_path / "faults.json"), [result("two", sent=5)], order)
    assert [(row["name"], row["sent"]) for row in again] == [("one", 0), ("two", 5)]
    assert fault_report.merged(again, [], ["two"]) == again[1:], "a case that no longer exists leaves the table"
    assert fault_report.read(tmp_path / "none.json") == []


def test_the_table_shows_what_failed_and_what_was_left_out() -> None:
    rows = fault_report.merged(
        [], [result("a", problems=["Kafka: 3 without an outcome"], postgres=LedgerCounts(decided=1)),
             result("b", status=CaseStatus.LEFT_OUT, happened=["only root may"])], ["a", "b"],
    )  # fmt: skip
    failed, left_out = (fault_report.cells(row) for row in rows)
    assert "**Kafka: 3 without an outcome**" in failed[4]
    assert failed[3] == "FAILS"
    assert left_out[3:] == ("not run", "only root may", "-", "-")
    assert "**differs**" in fault_report.account_cells(rows[0])
    text = fault_report.markdown(rows, {}, "command")
    assert "| b | SIGKILL | goes on | not run |" in text
    assert "\n| b | 0 |" not in text, "a case that was not run has no ledger"
    for columns in (fault_report.COLUMNS, fault_report.ACCOUNT_COLUMNS):
        assert f"| {' | '.join(columns)} |" in text


def test_an_unknown_case_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        fault_command.parse(["--only", "earthquake"])
    assert "unknown case earthquake; known cases: " in capsys.readouterr().err


def test_the_throttle_passes_everything() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, throttle("127.0.0.1", server.getsockname()[1]) as proxy:
        proxy.bytes_per_s = 200_000.0
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            upstream, _ = server.accept()
            with upstream:
                client.sendall(b"x" * 40_000)
                client.shutdown(socket.SHUT_WR)
                received = b"".join(iter(lambda: upstream.recv(65_536), b""))
        assert received == b"x" * 40_000
        assert proxy.passed == 40_000


def test_a_server_that_is_gone_closes_the_connection() -> None:
    (port,) = free_ports(1)
    with throttle("127.0.0.1", port) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
        client.settimeout(60)
        assert client.recv(1) == b""
