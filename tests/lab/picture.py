"""Draws the picture of the README from a real run of the demo: ``make picture`` writes ``docs/demo.svg``.

The demo runs as it does for a user. The picture shows the live view as it was when four fifths of the transactions had
an outcome.
"""

import io
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.terminal_theme import MONOKAI

from flink_jobs.demo.board import Snapshot
from flink_jobs.demo.demonstration import Audience, run_demo
from flink_jobs.demo.plan import EVENTS, FAULTS, DemoPlan
from flink_jobs.demo.screen import render
from flink_jobs.demo.summary import Summary
from flink_jobs.kafka.pacing import Pace
from flink_jobs.settings import REPO_ROOT
from flink_jobs.traffic.sender_metrics import TrafficMetrics

PICTURE: Final = REPO_ROOT / "docs" / "demo.svg"
COLUMNS: Final = 104
SHOWN_AT: Final = 0.8
RATE: Final = 400.0
"""Records per second; a rate that two cores hold from the first second on."""
# The template of rich without its web fonts: the picture opens without a network.
_TEMPLATE: Final = """<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
  <style>
    .{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px;
      line-height: {line_height}px; font-variant-east-asian: full-width; }}
    .{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: system-ui, sans-serif; }}
    {styles}
  </style>
  <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
    </clipPath>
    {lines}
  </defs>
  {chrome}
  <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">{matrix}</g>
  </g>
</svg>
"""


class KeptView:
    """Keeps the snapshot that the picture shows."""

    def __init__(self) -> None:
        """Begin without a snapshot."""
        self.kept: Snapshot | None = None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""

    def show(self, snapshot: Snapshot) -> None:
        """Keep the last snapshot before ``SHOWN_AT`` of the transactions have a decision."""
        if self.kept is None or snapshot.decided <= SHOWN_AT * snapshot.wanted:
            self.kept = snapshot


def draw(snapshot: Snapshot) -> str:
    """Return the live view of a snapshot as an SVG document."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(render(snapshot, "StreamFlow · Flink UI http://127.0.0.1:8081 · Ctrl-C stops"))
    return console.export_svg(title="make demo", theme=MONOKAI, code_format=_TEMPLATE, unique_id="demo")


def main(target: Path = PICTURE) -> int:
    """Run the demo, write the picture, and return the demo's exit code."""
    view = KeptView()
    plan = DemoPlan(events=EVENTS, pace=Pace(rate=RATE), faults=FAULTS, keep=False, secure=None, stay=False)

    def say(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    def report(summary: Summary, stack_runs: bool) -> None:  # noqa: FBT001 - the signature is the demo's
        del stack_runs
        say("\n".join(summary.lines()))

    summary = run_demo(plan, Audience(say, lambda _: view, report, TrafficMetrics()))
    if view.kept is None:
        say("the demo showed no snapshot: no picture")
        return 1
    target.write_text("\n".join(line.rstrip() for line in draw(view.kept).splitlines()) + "\n", encoding="utf-8")
    say(f"wrote {target}")
    return summary.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
