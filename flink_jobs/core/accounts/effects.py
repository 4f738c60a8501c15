"""What the actions on an account change in a decision.

The score and the alert of a transaction follow from its features alone, with two exceptions: a suppressed rule does not
fire, and an allow keeps the decision from being an alert. A block or a watch changes no score: it adds a reason code,
from which a payment system derives its action (decline, or review at least).
"""

from typing import Final

from flink_jobs.core.accounts.document import ActionScope, AppliedActionDocument
from flink_jobs.core.accounts.standing import Entry, Kind, Standing, fingerprint
from flink_jobs.core.documents import DecisionDocument
from flink_jobs.core.reasons import ReasonCode
from flink_jobs.core.rules import RULES, RuleHit, RuleVerdict

DECISION_WITH_ACTIONS: Final = 3
"""Schema version of a decision to which an action applied; all others are written as before, in version 2."""
CODES: Final = {
    Kind.BLOCK: ReasonCode.ACCOUNT_BLOCKED,
    Kind.ALLOW: ReasonCode.ACCOUNT_ALLOWED,
    Kind.WATCH: ReasonCode.ACCOUNT_WATCHED,
}
"""The reason code of each action that leads a decision."""
_RULES: Final = {fingerprint(rule.id): rule for rule in RULES}


def without_suppressed(verdict: RuleVerdict, standing: Standing) -> tuple[RuleVerdict, tuple[Entry, ...]]:
    """Return the verdict without the suppressed rules, and the suppressions that removed a rule that fired."""
    codes = {_RULES[entry.rule].code: entry for entry in reversed(standing.suppressed) if entry.rule in _RULES}
    removed = [hit.code for hit in verdict.hits if hit.code in codes]
    if not removed:
        return verdict, ()
    hits: tuple[RuleHit, ...] = tuple(hit for hit in verdict.hits if hit.code not in codes)
    score = min(1.0, sum(hit.weight for hit in hits))
    return RuleVerdict(float(score), hits), tuple(codes[code] for code in removed)


def add_actions(decision: DecisionDocument, standing: Standing, suppressed: tuple[Entry, ...]) -> None:
    """Write into a decision which actions applied to it, and what they change; without any, leave it as it is."""
    leading = standing.leading
    applied = suppressed if leading is None else (leading, *suppressed)
    if not applied:
        return
    if "terminal" not in decision:
        decision["schema_version"] = DECISION_WITH_ACTIONS
    decision["actions"] = [_applied(entry, standing.card) for entry in applied]
    if leading is not None:
        decision["reasons"].append({"code": CODES[leading.kind], "contribution": 0.0})
        if leading.kind is Kind.ALLOW:
            decision["is_alert"] = False


def _applied(entry: Entry, card: int) -> AppliedActionDocument:
    scope = ActionScope.CUSTOMER
    if entry.subject:
        scope = ActionScope.CARD if entry.subject == card else ActionScope.MERCHANT
    return {
        "action_id": entry.action_id,
        "action": entry.kind.action,
        "scope": scope,
        "rule": _RULES[entry.rule].id if entry.rule else None,
        "expires_at_ms": entry.expires_at_ms,
    }
