"""``streamflow own-features``: shows and checks the own features of an installation."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.cli.own_features import own_feature_settings
from flink_jobs.core.models.own_use import range_of
from flink_jobs.core.own_features.check import CheckedFeature, check_features
from flink_jobs.core.own_features.loading import load_features
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.own_feature_settings import own_sources

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Own features: show and check the modules of STREAMFLOW_FEATURES."
)
FAILED = 1
Modules = Annotated[
    str | None, typer.Argument(metavar="MODULES", help="modules, separated by commas; default: STREAMFLOW_FEATURES")
]
Folder = Annotated[
    Path | None, typer.Option("--dir", help="folder of the modules; default: STREAMFLOW_FEATURES_DIR, or Python's path")
]


@app.command()
def show(modules: Modules = None, folder: Folder = None, *, output: OutputOption = Output.PLAIN) -> None:
    """List the own features with unit, range and meaning, and the version of each module."""
    own = load_features(own_sources(*_chosen(modules, folder)))
    value = [
        {"module": module.name, "sha256": module.sha256, "features": [item.spec._asdict() for item in module.features]}
        for module in own.modules
    ]

    def plain() -> None:
        for module in own.modules:
            out.print(f"{module.name}, version {module.sha256}", markup=False, soft_wrap=True)
            rows = [
                [spec.name, spec.unit, range_of(spec.low, spec.high), f"{spec.neutral:g}", spec.without_history,
                 spec.meaning]
                for spec in (item.spec for item in module.features)
            ]  # fmt: skip
            table(["feature", "unit", "range", "when absent", "absent", "meaning"], rows)

    emit(output, value, plain)


@app.command()
def check(modules: Modules = None, folder: Folder = None, *, output: OutputOption = Output.PLAIN) -> None:
    """Call every own feature for 150 made-up customers, new ones and extremes included.

    A feature passes if it raises nothing, stays in its range, gives the same answers in another order and a fresh copy
    of its module, and is fast enough. Exit code 1: a feature does not pass.

    Example: streamflow own-features check my_bank.features --dir .
    """
    checked = check_features(own_sources(*_chosen(modules, folder)), time.perf_counter_ns)
    emit(output, [asdict(item) for item in checked], lambda: _print(checked))
    if any(item.problems for item in checked):
        raise typer.Exit(FAILED)


def _chosen(modules: str | None, folder: Path | None) -> tuple[str, Path | None]:
    settings = own_feature_settings()
    chosen = modules or settings.features
    if chosen is None:
        what = "no module is named"
        raise UserError(what, "give MODULES, or set STREAMFLOW_FEATURES", ErrorCode.USAGE_ERROR)
    return chosen, folder or settings.features_dir


def _print(checked: list[CheckedFeature]) -> None:
    rows = [
        [item.name, "FAILED" if item.problems else "ok", f"{item.calls:,}", f"{item.absent:.0%}",
         "" if item.low is None else f"{item.low:g} to {item.high:g}", f"{item.median_us:.1f}"]
        for item in checked
    ]  # fmt: skip
    table(["feature", "result", "calls", "absent", "values", "us per call"], rows)
    for item in checked:
        for problem in item.problems:
            out.print(f"{item.name}: {problem}", markup=False, soft_wrap=True)
