"""Facts about a model that no program can measure: who owns, validates and approves it, and where its data is from.

They are in a YAML file that people write. A fact that the file lacks is printed as not stated.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import date
from typing import TYPE_CHECKING, Final

from flink_jobs.contracts.document import read_document

if TYPE_CHECKING:
    from pathlib import Path

    from flink_jobs.contracts.document import Section


@dataclass(frozen=True, slots=True)
class Governance:
    """Facts for the model card.

    Attributes:
        owner: person or team that answers for the model.
        developer: who trained it.
        validator: who checked it and did not develop it.
        approver: who approved its use.
        approved_on: day of the approval.
        next_review: day of the next review.
        synthetic_data: which data is synthetic, or `none`.
        data_quality: what is known about missing, wrong or late values and labels.
        alternatives: models and methods that were considered beside the contenders of the evaluation.
        limitations: cases in which the model must not be used or is known to be wrong.
        overrides: who may override a decision, and how overrides are reviewed.
    """

    owner: str | None = None
    developer: str | None = None
    validator: str | None = None
    approver: str | None = None
    approved_on: str | None = None
    next_review: str | None = None
    synthetic_data: str | None = None
    data_quality: str | None = None
    alternatives: tuple[str, ...] = ()
    limitations: tuple[str, ...] = ()
    overrides: str | None = None

    def problems(self) -> tuple[str, ...]:
        """Return what is missing or wrong: facts that are not stated, and a person who checks their own work."""
        missing = [f"`{name}` is not stated" for name in _TEXTS if getattr(self, name) is None]
        if self.validator is not None and self.validator in {self.developer, self.owner}:
            missing.append("the validator is also the developer or the owner")
        if self.approver is not None and self.approver == self.developer:
            missing.append("the approver is also the developer")
        return tuple(missing)


_LISTS: Final = ("alternatives", "limitations")
_TEXTS: Final = tuple(field.name for field in fields(Governance) if field.name not in _LISTS)


def _text(document: Section, name: str) -> str | None:
    """Return a fact, ``None`` where it is not stated. YAML reads a day without quotation marks as a date."""
    if not document.has(name):
        return None
    value = document.raw(name)
    return value.isoformat() if isinstance(value, date) else document.text(name)


def read_governance(path: Path) -> Governance:
    """Read the file.

    Raises:
        DocumentError: the file cannot be read, or has an unknown key or a value of a wrong type.
    """
    document = read_document(path)
    texts = {name: _text(document, name) for name in _TEXTS}
    lists = {name: document.strings(name) for name in _LISTS}
    document.close()
    return Governance(**texts, **lists)  # type: ignore[arg-type]
