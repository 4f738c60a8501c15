"""Writes an evaluation as one folder: JSON, page and model cards."""

from __future__ import annotations

from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flink_jobs.errors import UserError
from ml.evaluation.report.evaluation_page import evaluation_page
from ml.evaluation.report.model_card import model_card
from ml.whole_files import write_whole

if TYPE_CHECKING:
    from ml.evaluation.document import EvaluationDocument

JSON_FILE: Final = "evaluation.json"
PAGE_FILE: Final = "evaluation.html"
CARD_FILE: Final = "model_card.{version}.md"


def write_evaluation(document: EvaluationDocument, folder: Path) -> list[Path]:
    """Write all files and return their paths; the name of a model card holds the model version.

    Another process sees each file completely or not at all.

    Raises:
        UserError: the folder is not writable.
    """
    contents = {JSON_FILE: document.to_json(), PAGE_FILE: evaluation_page(document).encode()}
    for contender, manifest in document.models.items():
        contents.setdefault(CARD_FILE.format(version=manifest.version), model_card(document, contender).encode())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_whole(folder / name, methodcaller("write_bytes", content), replaces=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder} ({error.strerror})", "choose another folder with --out") from None
    return [folder / name for name in contents]
