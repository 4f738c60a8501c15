"""Every dead-letter reason has one explicit policy, whatever the order of the enum."""

from __future__ import annotations

import ast
import inspect
import sys
from enum import StrEnum
from types import ModuleType

import pytest

from flink_jobs.core import reasons
from flink_jobs.core.dead_letters import policies
from flink_jobs.core.dead_letters.policies import REDRIVE_POLICIES, RedriveMethod
from flink_jobs.core.reasons import DeadLetterReason


def test_every_reason_has_exactly_one_entry() -> None:
    (table,) = [
        node.value
        for node in ast.parse(inspect.getsource(policies)).body
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "REDRIVE_POLICIES"
    ]
    assert isinstance(table, ast.Dict)
    entries = [ast.unparse(key) if key is not None else "**" for key in table.keys]
    assert sorted(entries) == sorted(f"Reason.{reason.name}" for reason in DeadLetterReason)
    assert set(REDRIVE_POLICIES) == set(DeadLetterReason)
    assert all(policy.why for policy in REDRIVE_POLICIES.values())


def test_the_order_of_the_reasons_changes_no_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    backwards = ModuleType(reasons.__name__)
    vars(backwards).update(vars(reasons))
    members = [(reason.name, reason.value) for reason in reversed(DeadLetterReason)]
    vars(backwards)["DeadLetterReason"] = StrEnum("DeadLetterReason", members)
    monkeypatch.setitem(sys.modules, reasons.__name__, backwards)
    namespace = {"__name__": "policies_of_reordered_reasons"}
    exec(compile(inspect.getsource(policies), "policies.py", "exec"), namespace)  # noqa: S102 - our own source
    assert {str(reason): (str(method), why) for reason, (method, why) in namespace["REDRIVE_POLICIES"].items()} == {  # type: ignore[attr-defined]
        str(reason): (str(method), why) for reason, (method, why) in REDRIVE_POLICIES.items()
    }


def test_transactions_that_were_scored_are_never_redriven() -> None:
    never = {reason for reason, policy in REDRIVE_POLICIES.items() if policy.method is RedriveMethod.NEVER}
    assert never == {
        DeadLetterReason.DUPLICATE_TRANSACTION,
        DeadLetterReason.STATE_CORRUPT,
        DeadLetterReason.CONTROL_INVALID,
        DeadLetterReason.CONTROL_REVISION_CONFLICT,
        DeadLetterReason.MODEL_UNAVAILABLE,
        DeadLetterReason.MODEL_CUT_OFF,
        DeadLetterReason.EXPERIMENT_STOPPED,
        DeadLetterReason.ACTION_INVALID,
    }
