"""Recorded model cards (``ml.model_cards``), and the checks of what a promotion requires beside the gate."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.model_settings import Requirement
from ml.gate import Check

if TYPE_CHECKING:
    from collections.abc import Collection

    from flink_jobs.model_registry.versions import ChangeReason, RecordedCard, RegisteredModel, Registry
    from ml.evaluation.governance import Governance

MAX_CARD_BYTES: Final = 1024 * 1024


def record_card(registry: Registry, version: str, card: str, facts: Governance, why: ChangeReason) -> None:
    """Record a card of a registered version.

    Args:
        registry: the registry.
        version: the version.
        card: the card as Markdown, as ``streamflow evaluate`` wrote it.
        facts: the facts of the governance file.
        why: actor and reason.

    Raises:
        UserError: the version is not registered, or the card is a draft, of another model, or too long.
    """
    item = registry.get(version)
    problem = card_problem(card, item)
    if problem is not None:
        fix = f"`streamflow evaluate --data FILE --model {item.version} --out report` writes the card"
        raise UserError(f"the card is not recorded: {problem}", fix, ErrorCode.USAGE_ERROR)
    stated = {name: value for name, value in asdict(facts).items() if value}
    registry.add_card(version, card, stated, why)


def card_problem(card: str, item: RegisteredModel) -> str | None:
    """Return why a text is no whole card of a version, ``None`` if it is one."""
    size = len(card.encode())
    if size > MAX_CARD_BYTES:
        return f"it has {size:,} bytes, at most {MAX_CARD_BYTES:,}"
    title = card.lstrip().partition("\n")[0].strip()
    if title == f"# Model card (draft): {item.version}":
        return "it is the draft of training, without an evaluation"
    if title != f"# Model card: {item.version}":
        return f"its title is {title[:80]!r}, not '# Model card: {item.version}'"
    if item.digest not in card:
        return f"it is about other arrays than the registered ones, {item.digest[:12]}"
    return None


def requirement_checks(registry: Registry, version: str, required: Collection[Requirement]) -> list[Check]:
    """Return the check of each requirement; none if nothing is required."""
    if not required:
        return []
    found = registry.newest_card(version)
    return [_checked(requirement, version, found) for requirement in Requirement if requirement in required]


def _checked(requirement: Requirement, version: str, found: RecordedCard | None) -> Check:
    name = f"required {requirement.value}"
    if found is None:
        detail = (
            f"no model card of {version} is recorded: record it with "
            f"`streamflow model card {version} --card FILE --governance FILE`"
        )
        return Check(name, passed=False, detail=detail)
    if requirement is Requirement.CARD:
        return Check(name, passed=True, detail=f"recorded {found.recorded_at:%Y-%m-%d} by {found.recorded_by}")
    facts = found.facts
    missing = [f"`{fact}`" for fact in ("approver", "approved_on", "developer") if not facts.get(fact)]
    if missing:
        detail = (
            f"the newest card does not state {', '.join(missing)}: complete the governance file and record it again"
        )
        return Check(name, passed=False, detail=detail)
    if facts["approver"] == facts["developer"]:
        return Check(name, passed=False, detail=f"the approver, {facts['approver']}, is also the developer")
    return Check(name, passed=True, detail=f"{facts['approver']}, on {facts['approved_on']}")
