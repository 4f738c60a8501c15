from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from flink_jobs.demo.board import Alert, ClusterView, Snapshot
from flink_jobs.demo.measures import Percentiles
from flink_jobs.demo.screen import LINE_EVERY_S, LineView, LiveView, amount, line, render

ALERT = Alert("42", "Corner [shop]", 1_234_567, "USD", 0.87, ("IMPOSSIBLE_TRAVEL", "HIGH_AMOUNT"))
CLUSTER = ClusterView("RUNNING", 0.35, 12, 1, 0.4, 88, 1_400_000, 90)
BUSY = Snapshot(
    8.0, 200, 110, 120, 60.0, 95, 50.0, 6, 2, Percentiles(12.0, 55.0, 1), Percentiles(640.0, 1_180.0, 95),
    Percentiles(9.0, 41.0, 95), 1, (ALERT,), {"MALFORMED_JSON": 6, "DUPLICATE_TRANSACTION": 2}, 3, CLUSTER,
)  # fmt: skip
EMPTY = Snapshot(0.0, 200, 0, 0, 0.0, 0, 0.0, 0, 0, Percentiles(), Percentiles(), Percentiles(), 0)


def drawn(snapshot: Snapshot) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(render(snapshot, "title"))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_line_shows_the_main_values() -> None:
    text = line(BUSY)
    for part in ("sent 120 (60/s)", "decided 95 (50/s)", "lag 17", "alerts p50 12 p99 55 ms",
                 "decisions p50 640 p99 1,180 ms", "dead letters 8",
                 "checkpoint 0.4 s ago", "in Postgres 90", "0.87 IMPOSSIBLE_TRAVEL+HIGH_AMOUNT"):  # fmt: skip
        assert part in text
    assert "Corner" not in text, "lines end up in logs: no card data in them"


def test_the_view_shows_everything() -> None:
    text = drawn(BUSY)
    for part in ("120", "60/s", "17", "p50 12 ms, p99 55 ms", "p50 640 ms, p99 1,180 ms",
                 "p50 9 ms, p99 41 ms", "RUNNING, busy 35%",
                 "took 88 ms", "12 completed, 1 failed", "3 decisions without the model", "12,345.67 USD",
                 "Corner [shop]", "IMPOSSIBLE_TRAVEL, HIGH_AMOUNT",
                 "MALFORMED_JSON 6, DUPLICATE_TRANSACTION 2"):  # fmt: skip
        assert part in text
    assert len(text.splitlines()) <= 24, "it must fit a small terminal"


def test_long_reasons_do_not_hide_score_and_amount() -> None:
    reasons = ("HIGH_AMOUNT", "HIGH_VELOCITY", "IMPOSSIBLE_TRAVEL", "UNUSUAL_TIME", "MODEL_ANOMALY", "BLACKLISTED")
    text = drawn(replace(BUSY, latest=(replace(ALERT, reasons=reasons, merchant="A merchant with a long name " * 3),)))
    assert "0.87" in text
    assert "12,345.67 USD" in text


def test_missing_values_are_shown_as_missing() -> None:
    assert "latency: alerts - ms, decisions - ms" in line(EMPTY)
    assert "no answer" in drawn(EMPTY)
    assert drawn(EMPTY).count("none yet") == 3


def test_amounts_follow_the_currency() -> None:
    assert amount(ALERT) == "12,345.67 USD"
    assert amount(Alert("1", None, 500, "JPY", 0.5, ())) == "500 JPY"


def test_lines_come_every_other_second() -> None:
    lines: list[str] = []
    now = 0.0
    with LineView(lines.append, lambda: now) as view:
        for step in range(20):
            now = step * LINE_EVERY_S / 4
            view.show(BUSY)
    assert len(lines) == 5


def test_the_live_view_leaves_the_terminal_as_it_was() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    with LiveView(console, "http://x") as view:
        view.show(BUSY)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "http://x" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor is shown again"
