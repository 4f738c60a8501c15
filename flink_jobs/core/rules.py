"""The business rules: one table, and the evaluator that applies it.

A rule fires when its feature is at or above its threshold; an absent feature fires no rule. The rule score is the sum
of the weights of the rules that fired, capped at 1. Control messages change weights, thresholds and the on/off switch
on the running job (see ``core.control``); the table holds the values with which a job starts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.features.vector import FeatureVector
from flink_jobs.core.reasons import ReasonCode

RULESET_VERSION: Final = "2"
"""Version of the table below, written into every decision; change it with the table."""


class Rule(NamedTuple):
    """One business rule: fires when ``feature >= threshold``."""

    id: str
    code: ReasonCode
    feature: str
    threshold: float
    """In the unit of the feature."""
    weight: float
    """Amount added to the rule score when the rule fires, 0 to 1."""
    rationale: str


RULES: Final = (
    Rule(
        "high_amount", ReasonCode.HIGH_AMOUNT, "amount_zscore", 3.0, 0.50,
        "An amount three standard deviations above the customer's own mean is rare in genuine use.",
    ),
    Rule(
        "velocity", ReasonCode.HIGH_VELOCITY, "velocity_count", 5.0, 0.35,
        "Fraudsters test and drain stolen cards in bursts before the cards are blocked.",
    ),
    Rule(
        "unusual_time", ReasonCode.UNUSUAL_TIME, "time_deviation", 0.95, 0.10,
        "Less than a twentieth of the customer's transactions were made around this hour.",
    ),
    Rule(
        "impossible_travel", ReasonCode.IMPOSSIBLE_TRAVEL, "geo_speed_kmh", 900.0, 0.35,
        "A cardholder cannot travel faster than an airliner.",
    ),
    Rule(
        "blacklist", ReasonCode.BLACKLISTED, "is_blacklisted", 1.0, 1.00,
        "An analyst listed the customer, merchant or country: an alert whatever the model's score.",
    ),
)  # fmt: skip
"""The rules a job starts with."""

RULE_BY_ID: Final = {rule.id: rule for rule in RULES}


@dataclass(frozen=True, slots=True)
class RuleSetting:
    """The settings of a rule that a control message can change."""

    enabled: bool
    weight: float
    threshold: float


DEFAULT_RULE_SETTINGS: Final[Mapping[str, RuleSetting]] = {
    rule.id: RuleSetting(enabled=True, weight=rule.weight, threshold=rule.threshold) for rule in RULES
}


class RuleHit(NamedTuple):
    """A rule that fired."""

    code: ReasonCode
    weight: float


class RuleVerdict(NamedTuple):
    """The rule score of one transaction, and the rules behind it."""

    score: float
    """Sum of the fired weights, capped at 1."""
    hits: tuple[RuleHit, ...]


_NOTHING_FIRED: Final = RuleVerdict(0.0, ())


class FraudRuleEvaluator:
    """Evaluates the rules under given settings, without state or side effects.

    >>> evaluator = FraudRuleEvaluator()
    >>> evaluator.evaluate(FeatureVector(4.2, 1.0, None, 1200.0, 0.0, 9.0))
    ... # doctest: +NORMALIZE_WHITESPACE
    RuleVerdict(score=0.85, hits=(RuleHit(code=<ReasonCode.HIGH_AMOUNT: 'HIGH_AMOUNT'>, weight=0.5),
    RuleHit(code=<ReasonCode.IMPOSSIBLE_TRAVEL: 'IMPOSSIBLE_TRAVEL'>, weight=0.35)))
    """

    def __init__(self, settings: Mapping[str, RuleSetting] = DEFAULT_RULE_SETTINGS) -> None:
        """Compile the table under some settings; rules that are off or weigh nothing cost nothing."""
        self._active = tuple(
            (FEATURE_NAMES.index(rule.feature), setting.threshold, RuleHit(rule.code, setting.weight))
            for rule in RULES
            if (setting := settings[rule.id]).enabled and setting.weight > 0.0
        )

    def evaluate(self, features: FeatureVector) -> RuleVerdict:
        """Return the score and the rules that fired, in table order."""
        hits = [
            hit
            for index, threshold, hit in self._active
            if (value := features[index]) is not None and value >= threshold
        ]
        if not hits:
            return _NOTHING_FIRED
        return RuleVerdict(min(1.0, sum(hit.weight for hit in hits)), tuple(hits))
