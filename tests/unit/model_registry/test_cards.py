"""Model cards and the requirements of a promotion, without a database."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flink_jobs.errors import UserError
from flink_jobs.model_registry.cards import MAX_CARD_BYTES, card_problem, record_card, requirement_checks
from flink_jobs.model_registry.versions import ChangeReason, RecordedCard, Registry
from flink_jobs.model_settings import Requirement
from ml.evaluation.governance import Governance

ITEM = cast("Any", SimpleNamespace(version="v1", digest="a" * 64))
WHOLE = f"# Model card: v1\n\narrays SHA-256 `{'a' * 64}`\n"
COMPLETE = {"developer": "Ada", "approver": "Eve", "approved_on": "2026-11-27"}


class Cards:
    """A registry with one version, that keeps cards in a list."""

    def __init__(self) -> None:
        self.kept: list[RecordedCard] = []

    def get(self, version: str) -> Any:  # noqa: ANN401
        assert version == "v1"
        return ITEM

    def add_card(self, version: str, card: str, facts: dict[str, Any], why: ChangeReason) -> None:
        self.kept.append(RecordedCard(version, card, facts, why.actor, why.reason, datetime(2026, 1, 2, tzinfo=UTC)))

    def newest_card(self, _version: str) -> RecordedCard | None:
        return self.kept[-1] if self.kept else None


def failed(cards: Cards, *required: Requirement) -> dict[str, str]:
    checks = requirement_checks(cast("Registry", cards), "v1", required)
    assert len(checks) == len(required)
    return {check.name: check.detail for check in checks if not check.passed}


def record(cards: Cards, **facts: str) -> None:
    record_card(cast("Registry", cards), "v1", WHOLE, Governance(**facts), ChangeReason("val", "card"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("card", "problem"),
    [
        (WHOLE, None),
        (WHOLE.replace("card:", "card (draft):"), "the draft"),
        (WHOLE.replace("v1", "v10"), "its title"),
        (WHOLE.replace("a" * 64, "b" * 64), "other arrays"),
        ("", "its title"),
        (WHOLE + "ü" * (MAX_CARD_BYTES // 2), "at most"),
    ],
)
def test_only_a_whole_card_of_exactly_this_model_is_taken(card: str, problem: str | None) -> None:
    found = card_problem(card, ITEM)
    assert (found is None) == (problem is None)
    assert (problem or "") in (found or "")


def test_a_refused_card_is_not_kept() -> None:
    cards = Cards()
    with pytest.raises(UserError, match="the card is not recorded: its title"):
        record_card(cast("Registry", cards), "v1", "text", Governance(), ChangeReason("val", "card"))
    assert cards.kept == []


def test_nothing_is_required_by_default() -> None:
    assert failed(Cards()) == {}


def test_without_a_card_each_requirement_says_how_to_record_one() -> None:
    found = failed(Cards(), Requirement.CARD, Requirement.APPROVER)
    assert set(found) == {"required card", "required approver"}
    assert all("`streamflow model card v1 --card FILE --governance FILE`" in detail for detail in found.values())


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_the_approver_needs_each_of_its_facts(name: str) -> None:
    cards = Cards()
    record(cards, **{key: value for key, value in COMPLETE.items() if key != name})
    found = failed(cards, Requirement.CARD, Requirement.APPROVER)
    assert list(found) == ["required approver"]
    assert f"does not state `{name}`:" in found["required approver"]


def test_the_newest_card_counts_and_a_developer_does_not_approve() -> None:
    cards = Cards()
    record(cards, **COMPLETE)
    assert failed(cards, *Requirement) == {}
    record(cards, **COMPLETE | {"approver": "Ada"})
    assert failed(cards, *Requirement) == {"required approver": "the approver, Ada, is also the developer"}
