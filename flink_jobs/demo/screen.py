"""The output of the demo: a live view on a terminal, otherwise one line every 2 seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from flink_jobs.cards.converters import DEFAULT_EXPONENT, EXPONENTS
from flink_jobs.demo.board import Alert, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from rich.console import Console, RenderableType

    from flink_jobs.demo.board import ClusterView
    from flink_jobs.demo.measures import Percentiles

LINE_EVERY_S = 2.0
_MEGABYTE = 1e6


class View(Protocol):
    """Shows snapshots during a ``with`` block."""

    def __enter__(self) -> Self:
        """Start the view."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the view."""

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot; called several times a second."""


class LineView:
    """One line every ``LINE_EVERY_S`` seconds."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        """Write lines with ``say``; ``clock`` returns monotonic seconds."""
        self._say = say
        self._clock = clock
        self._last_s: float | None = None

    def __enter__(self) -> Self:
        """Start the view."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the view."""

    def show(self, snapshot: Snapshot) -> None:
        """Write a line if the last line is at least ``LINE_EVERY_S`` seconds old."""
        now = self._clock()
        if self._last_s is None or now - self._last_s >= LINE_EVERY_S:
            self._last_s = now
            self._say(line(snapshot))


class LiveView:
    """A full view that is redrawn in place."""

    def __init__(self, console: Console, flink_ui: str) -> None:
        """Draw on ``console``; ``flink_ui`` is shown in the title."""
        self._title = f"StreamFlow · Flink UI {flink_ui} · Ctrl-C stops"
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        """Start the view."""
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the view; the summary replaces it."""
        self._live.__exit__(kind, error, trace)

    def show(self, snapshot: Snapshot) -> None:
        """Draw a snapshot."""
        self._live.update(render(snapshot, self._title), refresh=True)


def line(snapshot: Snapshot) -> str:
    """Return a snapshot on one line."""
    parts = [
        f"{snapshot.seconds:5.0f} s",
        f"sent {snapshot.sent:,} ({snapshot.sent_rate:,.0f}/s)",
        f"decided {snapshot.decided:,} ({snapshot.decided_rate:,.0f}/s)",
        f"lag {snapshot.lag:,}",
        f"latency: alerts {_pair(snapshot.alert)} ms, decisions {_pair(snapshot.readable)} ms",
        f"alerts {snapshot.alerts:,}" + (f" (last: {_alert(snapshot.latest[-1])})" if snapshot.latest else ""),
        f"dead letters {snapshot.rejected + snapshot.duplicates:,}",
        f"checkpoint {_age(snapshot.cluster)}",
        f"in Postgres {_or_dash(snapshot.cluster.archived)}",
    ]
    return "  ".join(parts)


def render(snapshot: Snapshot, title: str) -> RenderableType:
    """Return a snapshot as a view of about 24 lines."""
    return Group(
        Rule(title, align="left", style="cyan"),
        _flow(snapshot),
        Rule(style="dim"),
        _facts(snapshot),
        Rule("latest alerts", align="left", style="dim"),
        _alerts(snapshot.latest),
        Rule("dead letters", align="left", style="dim"),
        Text(", ".join(f"{reason} {count:,}" for reason, count in snapshot.reasons.items()) or "none yet"),
    )


def _flow(snapshot: Snapshot) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(justify="right", min_width=10)
    grid.add_column(justify="right", min_width=10)
    grid.add_column()
    bar = ProgressBar(total=snapshot.wanted, completed=snapshot.good, width=36)
    grid.add_row("sent", f"{snapshot.sent:,}", f"{snapshot.sent_rate:,.0f}/s", bar)
    rejected = f"{snapshot.rejected:,} rejected, {snapshot.duplicates:,} duplicates"
    grid.add_row("decided", f"{snapshot.decided:,}", f"{snapshot.decided_rate:,.0f}/s", rejected)
    grid.add_row("lag", f"{snapshot.lag:,}", "", "sent, without a committed outcome yet")
    grid.add_row("in Postgres", _or_dash(snapshot.cluster.archived), "", f"{snapshot.seconds:,.0f} s since the start")
    return grid


def _facts(snapshot: Snapshot) -> Table:
    cluster = snapshot.cluster
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column()
    grid.add_row("latency", f"send to readable alert (at once):           {snapshot.alert.text()}")
    grid.add_row("", f"send to readable decision (checkpoint):     {snapshot.readable.text()}")
    grid.add_row("", f"Kafka timestamp to decision (in the job):   {snapshot.decision.text()}")
    style = "green" if cluster.state == "RUNNING" else "red bold"
    state = Text.assemble((cluster.state or "no answer", style))
    if cluster.busy is not None:
        state.append(f", busy {cluster.busy:.0%}")
    if snapshot.degraded:
        state.append(f", {snapshot.degraded:,} decisions without the model", "red")
    grid.add_row("detector", state)
    grid.add_row("checkpoint", _checkpoint(cluster))
    return grid


def _checkpoint(cluster: ClusterView) -> str:
    if cluster.checkpoint_age_s is None:
        return "none yet"
    size = f", {cluster.state_bytes / _MEGABYTE:.1f} MB" if cluster.state_bytes is not None else ""
    took = f" took {cluster.checkpoint_ms} ms" if cluster.checkpoint_ms is not None else ""
    failed = f", {cluster.failed_checkpoints} failed" if cluster.failed_checkpoints else ""
    return f"{_age(cluster)},{took}{size}; {cluster.checkpoints:,} completed{failed}"


def _alerts(latest: tuple[Alert, ...]) -> RenderableType:
    if not latest:
        return Text("none yet")
    grid = Table.grid(padding=(0, 2))
    # rich shortens the columns that may wrap first: reasons and merchant, never score, amount and customer.
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column()
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for alert in reversed(latest):
        grid.add_row(
            Text(f"{alert.score:.2f}", "red bold"), _one_line(", ".join(alert.reasons)), amount(alert), alert.customer,
            _one_line(alert.merchant or "-"),
        )  # fmt: skip
    return grid


def _one_line(text: str) -> Text:
    return Text(text, no_wrap=True, overflow="ellipsis")


def amount(alert: Alert) -> str:
    """Return the amount in the currency's main unit, such as ``12.34 USD``."""
    exponent = EXPONENTS.get(alert.currency, DEFAULT_EXPONENT)
    whole, rest = divmod(alert.amount_minor, 10**exponent)
    return f"{whole:,}" + (f".{rest:0{exponent}}" if exponent else "") + f" {alert.currency}"


def _alert(alert: Alert) -> str:
    return f"{alert.score:.2f} {'+'.join(alert.reasons)}"


def _pair(values: Percentiles) -> str:
    if values.p50_ms is None or values.p99_ms is None:
        return "-"
    return f"p50 {values.p50_ms:,.0f} p99 {values.p99_ms:,.0f}"


def _age(cluster: ClusterView) -> str:
    return "none yet" if cluster.checkpoint_age_s is None else f"{cluster.checkpoint_age_s:.1f} s ago"


def _or_dash(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"
