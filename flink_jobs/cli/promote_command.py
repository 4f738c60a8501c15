"""``streamflow model promote``: checks a version with the gate, loads it into the running job and records it."""

from __future__ import annotations

import time
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli import data_options
from flink_jobs.cli.actor import ByOption, ReasonOption, change_reason
from flink_jobs.cli.data_source import DataChoice, read_data
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.risk_options import add_histories
from flink_jobs.core.features.entity_risk import DEFAULT_DELAY_DAYS
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from flink_jobs.core.control.config import DetectionConfig
    from flink_jobs.core.features.entity_risk import Entity
    from flink_jobs.core.own_features.values import OwnValues
    from flink_jobs.model_registry.promotion import CardRows
    from ml.dataset import Dataset
    from ml.gate import Check

REFUSED = 1
WAIT_S = 60.0
Wait = Annotated[float, typer.Option(min=1.0, metavar="SECONDS", help="longest wait for the answer of the running job")]
Version = Annotated[str, typer.Argument(help="name of the model version")]
GateCards = Annotated[
    Path | None,
    typer.Option(
        "--data", help="labelled card file on which the gate compares candidate and champion (formats: see `replay`)"
    ),
]
GateMapping = Annotated[Path | None, typer.Option("--mapping", help="column mapping of the file (see `replay`)")]
GateDays = Annotated[
    int | None,
    typer.Option("--from-decisions", metavar="DAYS", min=1, help="without --data: compare on recorded decisions"),
]
Tolerance = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="gate: largest permitted shortfall of a metric below the champion's")
]
MaxScore = Annotated[float, typer.Option(min=1.0, help="gate: largest median time per score, in microseconds")]


class Target(StrEnum):
    """The stage to which a version is promoted."""

    SHADOW = "shadow"
    CHAMPION = "champion"


def promote(
    version: Version,
    reason: ReasonOption,
    to: Annotated[
        Target, typer.Option("--to", help="champion: its scores decide; shadow: its scores are only recorded")
    ],
    data: GateCards = None,
    mapping: GateMapping = None,
    days: GateDays = None,
    tolerance: Tolerance = 0.005,
    max_score_us: MaxScore = 500.0,
    by: ByOption = None,
    wait: Wait = WAIT_S,
    processes: data_options.Processes = None,
    cache: data_options.CacheFolder = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="promote although the gate refuses (not a requirement); is recorded")
    ] = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Promote a version: check it with the gate, load it into the running job, then record it in the registry.

    Exit code 1: the gate refuses the version.
    """
    from flink_jobs.model_registry.promotion import PromotionRequest, promote_model
    from flink_jobs.model_registry.stages import ModelStage
    from ml.gate import GateBounds

    settings = load_settings()
    bounds = GateBounds(tolerance=tolerance, max_score_us=max_score_us)
    cards = None if data is None else card_rows(data, mapping, processes, cache)
    asked = PromotionRequest(version, ModelStage(to.value), change_reason(by, reason), bounds, cards, wait, force, days)
    done = promote_model(settings, asked, time.time_ns() // 1_000_000, say)
    value = {"version": version, "stage": to.value, "promoted": done.promoted, "forced": done.forced,
             "checks": [asdict(check) for check in done.checks], "control_id": done.control_id}  # fmt: skip

    def plain() -> None:
        _print_checks(done.checks)
        if done.promoted:
            out.print(f"{version} is {to.value}; the running job confirmed it ({done.control_id})", soft_wrap=True)
        else:
            out.print(f"The gate refuses {version}: {'; '.join(done.refusals)}", soft_wrap=True)

    emit(output, value, plain)
    if not done.promoted:
        raise typer.Exit(REFUSED)


def card_rows(data: Path, mapping: Path | None, processes: int | None, cache: Path | None) -> CardRows:
    """Return a function that reads a card file for the gate, as ``train`` and ``evaluate`` read it.

    Args:
        data: the card file.
        mapping: its column mapping; None: the file beside it.
        processes: processes of the replay; None: see the option ``--processes``.
        cache: folder that keeps features and histories; None: they are replayed.
    """
    choice = DataChoice(
        data, mapping, skip_bad_rows=False, from_decisions=False, since=None, until=None, labels_until=None,
        processes=processes, cache=cache,
    )  # fmt: skip

    def read(config: DetectionConfig, own: OwnValues | None, entities: tuple[Entity, ...]) -> Dataset:
        return add_histories(read_data(choice, config, own).dataset, entities, DEFAULT_DELAY_DAYS, cache)

    return read


def _print_checks(checks: list[Check]) -> None:
    table(
        ["check", "result", "found"],
        [[check.name, "ok" if check.passed else "REFUSED", check.detail] for check in checks],
    )
