"""The draft of a model card: what the manifest of a model says, without an evaluation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from flink_jobs.core.models.own_use import range_of
from flink_jobs.reports.pages import render
from ml.evaluation.governance import Governance
from ml.evaluation.report.words import day

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.core.models.manifest import ModelManifest

CARD_NAME: Final = "model_card.md"
"""File beside the manifest; the job does not read it."""


def write_card_draft(directory: Path, manifest: ModelManifest) -> Path | None:
    """Write the draft beside the manifest, unless there is a card.

    Args:
        directory: the directory of the artifact.
        manifest: its manifest.

    Returns:
        The path of the draft; ``None`` if a card exists, or if the directory cannot be written to.
    """
    path = directory / CARD_NAME
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(card_draft(manifest))
    except OSError:
        return None
    return path


def card_draft(manifest: ModelManifest) -> str:
    """Return the draft as Markdown."""
    training, parameters = manifest.training_data, manifest.parameters
    since_ms = parameters.get("train_since_ms")
    return render(
        "model_card_draft.md.j2",
        manifest=manifest,
        training=training,
        training_span=f"{day(training.first_event_time_ms)} to {day(training.last_event_time_ms)}",
        since=datetime.fromtimestamp(since_ms / 1000, UTC).isoformat() if isinstance(since_ms, int) else None,
        excluded=parameters.get("excluded_customers"),
        excluded_sha256=parameters.get("excluded_sha256"),
        excluded_cards=parameters.get("excluded_cards"),
        excluded_cards_sha256=parameters.get("excluded_cards_sha256"),
        problems=Governance().problems(),
        range_of=range_of,
    )
