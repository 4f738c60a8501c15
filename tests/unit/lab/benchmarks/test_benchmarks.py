"""The arithmetic and the report of the benchmarks, on which every speed figure rests."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import orjson
import pytest

from flink_jobs.errors import UserError
from flink_jobs.settings import REPO_ROOT
from tests.lab.benchmarks import bench_command, bench_report, kafka_rates, latency, workload
from tests.lab.benchmarks.meter import ProcessMeter, ProcessSample, Rate, read_process, steady_rate
from tests.lab.benchmarks.outputs import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.lab.benchmarks.rig import JobPlan, Rig


def meter_of(*samples: ProcessSample) -> ProcessMeter:
    meter = ProcessMeter([])
    meter.samples = list(samples)
    return meter


def test_cpu_time_lies_between_two_samples_in_proportion() -> None:
    meter = meter_of(ProcessSample(1_000, 2.0, 0, 0.0), ProcessSample(2_000, 3.0, 0, 2.0))
    found = [meter.at(at) for at in (0, 1_000, 1_250, 2_000, 9_000)]
    assert found == [(2.0, 0.0), (2.0, 0.0), (2.25, 0.5), (3.0, 2.0), (3.0, 2.0)]


def test_the_first_tenth_is_not_timed() -> None:
    # 10 outputs in the first ten seconds (a slow start), then 90 in nine seconds.
    appended = [1_000 * n for n in range(10)] + [10_000 + 100 * n for n in range(90)]
    meter = meter_of(ProcessSample(0, 0.0, 0, 5.0), ProcessSample(20_000, 10.0, 0, 9.0))
    rate = steady_rate(appended[::-1], meter)
    assert rate.events == 89
    assert rate.seconds == pytest.approx(8.9)
    assert rate.events_per_s == pytest.approx(10.0)
    assert rate.cpu_seconds == pytest.approx(4.45)
    assert rate.cores == pytest.approx(0.5)
    assert rate.stolen_cores == pytest.approx(0.2)


def test_outputs_of_the_batch_that_ends_the_warm_up_are_not_counted() -> None:
    rate = steady_rate([1_000] * 50 + [2_000] * 50, meter_of(ProcessSample(0, 0.0, 0), ProcessSample(2_000, 2.0, 0)))
    assert rate == Rate(50, 1.0, 1.0)


def test_too_few_outputs_have_no_rate() -> None:
    with pytest.raises(ValueError, match="9 outputs are too few"):
        steady_rate(list(range(9)), meter_of(ProcessSample(0, 0.0, 0)))


def test_a_process_uses_cpu_time_and_memory() -> None:
    with ProcessMeter([os.getpid()], interval_s=0.001) as meter:
        while meter.samples[-1].cpu_s <= meter.samples[0].cpu_s:
            sum(range(10_000))
    assert meter.samples[-1].rss_bytes > 2**20
    assert read_process([2**22 + 1]).cpu_s == 0.0  # above the largest pid, so no such process exists


def test_workload_has_the_requested_size_and_share_of_garbage() -> None:
    messages = workload.card_traffic(3_000, garbage=0.3, customers=50)
    clean = {message.value for message in workload.card_traffic(3_000, customers=50)}
    assert len(messages) == 3_000
    assert 0.27 < sum(message.value not in clean for message in messages) / 3_000 < 0.33


def test_many_customers_each_have_their_transactions() -> None:
    messages = list(workload.many_customers(200, 3))
    assert len({message.value for message in messages}) == 600
    assert {message.key for message in messages} == {f"m{number:07d}".encode() for number in range(200)}


def test_the_transaction_id_carries_the_send_time() -> None:
    value = latency.marked(1)[0].value
    assert value is not None
    transaction = orjson.loads(value.replace(b"latency-mark", b"1700000000123"))["transaction_id"]
    assert latency.Received(is_alert=False, transaction=transaction, received_ms=0.0).sent_ms == 1_700_000_000_123


def test_latency_is_reported_for_each_guarantee_and_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: plans with different settings had the same hash, and ``--only latency`` failed."""

    def run_of(_rig: Rig, plan: JobPlan, rate: float, _seconds: float, *, failover: bool = False) -> latency.Found:
        decisions: NDArray[np.float64] = np.array([1.0, 3.0]) * float(plan.checkpoint_interval_ms)
        return latency.Found(decisions, decisions / 1000, rate, decisions if failover else None)

    monkeypatch.setattr(latency, "run", run_of)
    (section,) = latency.measure(cast("Rig", None), 1_000.0, 1.0, 2, lambda _: None)
    decided = [row for row in section.rows if row[1] == "decisions"]
    assert [row[2] for row in decided] == [f"{plan.checkpoint_interval_ms * 2:,}" for plan in latency.PLANS]
    assert len({hash(plan) for plan in latency.PLANS}) == len(decided) == 4
    assert [row[1] for row in section.rows].count("alerts") == 4
    assert [row[1] for row in section.rows[-2:]] == ["alerts during", "alerts after"]


def test_digest_does_not_depend_on_order_but_on_scores() -> None:
    one, two = b'{"transaction_id":"a","score":0.1}', b'{"transaction_id":"b","score":0.2}'
    assert digest([one, two]) == digest([two, one])
    assert digest([one, two]) != digest([one, two.replace(b"0.2", b"0.20001")])


def test_report_is_written_as_markdown_and_json(tmp_path: Path) -> None:
    section = bench_report.ResultSection(
        "engines", "Speed", "How.", ("engine", "events/s"), raw=[{"events_per_s": 1234.5}]
    )
    section.add("a|b", bench_report.spread([1_000, 3_000, 2_000]))
    text, data = bench_report.write(tmp_path / "out", [section], {"cores": "2"}, "python -m tests.lab.benchmarks")
    assert "| a\\|b | 2,000 (1,000 to 3,000) |" in text.read_text()
    assert "- cores: 2" in text.read_text()
    written = json.loads(data.read_text())
    assert written["sections"][0]["raw"] == [{"events_per_s": 1234.5}]
    assert written["layout"] == bench_report.LAYOUT


def test_rates_are_read_from_the_output_of_kafkas_tools() -> None:
    written = (
        "49801 records sent, 9960.2 records/sec (3.01 MB/sec), 1.0 ms avg latency, 200.0 ms max latency.\n"
        "200000 records sent, 99304.865938 records/sec (28.41 MB/sec), 9.31 ms avg latency, 391.00 ms max latency, "
        "3 ms 50th, 40 ms 95th, 56 ms 99th, 61 ms 99.9th.\n"
    )
    read = (
        "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, "
        "fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec\n"
        "2026-11-21 05:00:00:000, 2026-11-21 05:00:04:100, 57.2, 13.9, 200000, 48780.4, 3456, 644, 88.8, 310559.0062\n"
    )
    assert kafka_rates.written_rate(written) == pytest.approx(99304.865938)
    assert kafka_rates.read_rate(read) == pytest.approx(310559.0062)
    for rate_of in (kafka_rates.written_rate, kafka_rates.read_rate):
        with pytest.raises(UserError, match="printed no rate"):
            rate_of("Error while executing command")


def test_a_row_must_fit_its_table() -> None:
    with pytest.raises(ValueError, match="1 cells in a table of 2 columns"):
        bench_report.ResultSection("x", "t", "m", ("a", "b")).add("1")


def test_options() -> None:
    assert bench_command.parse([]).parts == bench_command.PARTS
    assert bench_command.parse(["--only", "memory, latency", "--quick"]).parts == ("memory", "latency")
    for wrong in (["--only", "memroy"], ["--compare", "one.json"], ["--threshold", "0"]):
        with pytest.raises(SystemExit):
            bench_command.parse(wrong)


def test_peers_share_our_versions() -> None:
    """A peer with another version of numpy or orjson would run the evaluator at another speed."""

    def locked(lock: Path) -> dict[str, str]:
        packages = tomllib.loads(lock.read_text())["package"]
        return {item["name"]: item["version"] for item in packages if item["name"] in {"numpy", "orjson"}}

    ours = locked(REPO_ROOT / "uv.lock")
    assert len(ours) == 2
    assert locked(REPO_ROOT / "tests/lab/benchmarks/peers/uv.lock") == ours
