"""The draft of a model card: what training knows, without an evaluation."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from flink_jobs.core.models.own_use import range_of
from flink_jobs.reports.pages import render
from ml.evaluation.governance import Governance
from ml.evaluation.report.words import STRESS_COLUMNS, day, stress_facts, stress_gaps, stress_rows
from ml.whole_files import write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.core.models.manifest import ModelManifest
    from ml.stress.result import StressTest

CARD_NAME: Final = "model_card.md"
"""File beside the manifest; the job does not read it."""


def write_card_draft(directory: Path, manifest: ModelManifest, stress: StressTest | None = None) -> Path | None:
    """Write the draft beside the manifest, unless there is a card.

    Args:
        directory: the directory of the artifact.
        manifest: its manifest.
        stress: its stress scenarios; None where they are not known.

    Returns:
        The path of the draft; ``None`` if a card exists, or if the directory cannot be written to.
    """
    path = directory / CARD_NAME
    content = card_draft(manifest, stress).encode()
    try:
        write_whole(path, lambda unfinished: unfinished.write_bytes(content), replaces=False)
    except OSError:
        return None
    return path


def card_draft(manifest: ModelManifest, stress: StressTest | None = None) -> str:
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
        stress_columns=STRESS_COLUMNS,
        stress_facts=None if stress is None else stress_facts(stress),
        stress_rows=[] if stress is None else stress_rows(stress),
        stress_gaps=[] if stress is None else stress_gaps(stress),
    )
