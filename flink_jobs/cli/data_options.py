"""Options that choose the data of ``train``, ``evaluate`` and ``backtest``: a card file, or recorded decisions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flink_jobs.settings import REPO_ROOT

DEFAULT_MODELS = REPO_ROOT / "models"

CardFile = Annotated[
    Path | None, typer.Option("--data", help="card file: .csv, .jsonl (each also .gz) or .parquet, oldest row first")
]
MappingFile = Annotated[
    Path | None,
    typer.Option("--mapping", help="column mapping or preset:NAME; default: <data>.mapping.yaml in the same folder"),
]
SkipBadRows = Annotated[
    bool, typer.Option("--skip-bad-rows", help="skip and count rows that the mapping cannot convert")
]
FromDecisions = Annotated[
    bool,
    typer.Option("--from-decisions", help="use recorded decisions: features as served, labels from Postgres"),
]
DecisionsSince = Annotated[
    str | None,
    typer.Option("--since", help="with --from-decisions: first event time, 30d (days ago) or ISO 8601 (UTC)"),
]
DecisionsUntil = Annotated[
    str | None, typer.Option("--until", help="with --from-decisions: event time at which the data ends (excluded)")
]
LabelsUntil = Annotated[
    str | None, typer.Option(help="with --from-decisions: use only labels given before this time; default: all")
]
Processes = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        envvar="STREAMFLOW_REPLAY_PROCESSES",
        help="with --data: processes that compute the features; default: one per core, as far as memory allows",
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        envvar="STREAMFLOW_FEATURE_CACHE",
        help="folder that keeps the features of card files and the histories of --risk: each is replayed once",
    ),
]
ModelFolder = Annotated[
    Path, typer.Option("--models", envvar="STREAMFLOW_MODEL_DIR", help="folder that holds the model versions")
]
