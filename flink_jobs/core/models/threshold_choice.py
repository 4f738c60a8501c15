"""How the alert threshold of a model was chosen: the rule, and what other thresholds would have given."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from flink_jobs.core.models.faults import ModelError, ModelFault

MAX_ROWS: Final = 50


class ThresholdRule(StrEnum):
    """The rule that chose a threshold."""

    SAME_ALERTS = "same_alerts"
    """As many alerts as the default blend."""
    ALERT_BUDGET = "alert_budget"
    """A number of alerts a day."""
    REVIEW_COST = "review_cost"
    """The lowest cost: reviews, and frauds without an alert; within the alert budget, if there is one."""


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """What a threshold gives on some rows.

    Attributes:
        threshold: alert threshold on the blended score.
        alerts_per_day: alerts on a day, labelled rows or not.
        precision: share of frauds among the labelled alerts; None without one.
        recall: share of the labelled frauds that are alerts.
        missed_per_day: amount of the labelled frauds without an alert, main currency units a day.
        cost_per_day: price of the reviews plus ``missed_per_day``; None without a price.
        is_chosen: whether this threshold was chosen.
    """

    threshold: float
    alerts_per_day: float
    precision: float | None
    recall: float
    missed_per_day: float
    cost_per_day: float | None
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class ThresholdChoice:
    """The choice of a threshold on the validation rows.

    Attributes:
        rule: see ``ThresholdRule``.
        alerts_per_day: alert budget; None without one.
        review_cost: price of a review, main currency units; None without one.
        table: the chosen threshold and others, by falling threshold.
    """

    rule: ThresholdRule
    alerts_per_day: float | None
    review_cost: float | None
    table: tuple[ThresholdRow, ...]


def parse_threshold_choice(document: Any) -> ThresholdChoice | None:  # noqa: ANN401 - decoded JSON
    """Parse ``threshold_choice`` of a manifest; ``None`` for a model without one.

    Raises:
        ModelError: ``BAD_MANIFEST``.
    """
    if document is None:
        return None
    _expect(document, ThresholdChoice)
    table = document["table"]
    if document["rule"] not in set(ThresholdRule) or not isinstance(table, list) or len(table) > MAX_ROWS:
        raise _bad()
    for row in table:
        _expect(row, ThresholdRow)
        if not isinstance(row["is_chosen"], bool) or not all(_is_number(row[name]) for name in row):
            raise _bad()
    if not all(_is_number(document[name]) for name in ("alerts_per_day", "review_cost")):
        raise _bad()
    rows = tuple(ThresholdRow(**row) for row in table)
    return ThresholdChoice(ThresholdRule(document["rule"]), document["alerts_per_day"], document["review_cost"], rows)


def _expect(document: object, kind: type[Any]) -> None:
    if not isinstance(document, dict) or document.keys() != {field.name for field in fields(kind)}:
        raise _bad()


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, int | float)


def _bad() -> ModelError:
    return ModelError(ModelFault.BAD_MANIFEST, "'threshold_choice' lacks a value, or holds one of a wrong type")
