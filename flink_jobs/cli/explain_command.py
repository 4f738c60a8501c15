"""``streamflow explain``: explains one decision."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli.output import Output, OutputOption, emit, out, table
from flink_jobs.cli.times import moment_ms, shown
from flink_jobs.core.currencies import major_amount
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.core.own_features.values import OwnValues
    from flink_jobs.explain.explanation import Explanation, FeatureShare
    from flink_jobs.settings import Settings


def explain(
    transaction: Annotated[str, typer.Argument(help="transaction id")],
    customer: Annotated[
        str | None, typer.Option(help="customer id; required if two customers have this transaction id")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(help="event time, ISO 8601 (UTC); required if the customer has this transaction id twice"),
    ] = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Explain the decision on a transaction: the rules that fired with their values, and the share of each feature."""
    from flink_jobs.explain.explanation import explain as explained
    from flink_jobs.explain.recorded import Asked, find_recorded

    settings = load_settings()
    where = settings.postgres_dsn, settings.broker(), settings.topic_prefix
    at_ms = None if at is None else moment_ms(at, "--at", time.time_ns() // 1_000_000)
    recorded = find_recorded(*where, Asked(transaction, customer, at_ms))
    decision = recorded.decision
    model, problem, own = None, "", settings.own_values()
    if recorded.contributions is None and decision["model_version"] is not None:
        model, problem = _load(settings, decision["model_version"], own)
    found = explained(decision, recorded.contributions, recorded.config, model, problem, own)
    emit(output, {**asdict(found), "found_in": recorded.found_in}, lambda: _print(found, recorded.found_in))


def _load(settings: Settings, version: str, own: OwnValues | None) -> tuple[Model | None, str]:
    from flink_jobs.artifacts.finder import find_model, histories_of
    from flink_jobs.core.models.model import ModelError

    try:
        histories = histories_of(settings.entities)
        return find_model(str(settings.model_dir), settings.artifact_store, version, None, histories, own), ""
    except ModelError as error:
        return None, f"{version} cannot score the transaction again ({error.detail})"


def _print(found: Explanation, found_in: str) -> None:
    decision = found.decision
    verdict = "ALERT" if decision["is_alert"] else "no alert"
    out.print(
        f"{decision['transaction_id']} of {decision['customer_id']}: {verdict}, score {decision['score']:.3f} "
        f"(alert threshold {decision['threshold']:g})",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    amount = major_amount(decision["amount_minor"], decision["currency"])
    details = (decision["merchant"], decision["category"], decision["channel"], decision["country"])
    place = ", ".join(detail for detail in details if detail)
    where = f"at {place} " if place else ""
    out.print(
        f"{amount:,.2f} {decision['currency']} {where}on {shown(decision['event_time_ms'])}",
        markup=False,
        soft_wrap=True,
    )
    ids = [f"{name} {decision[name]}" for name in ("terminal", "device", "card", "ip") if decision.get(name)]
    if ids:
        out.print(", ".join(ids), markup=False, soft_wrap=True)
    if decision["ml_score"] is None:
        out.print(f"score = rules {decision['rule_score']:.3f}; without a model score (degraded)")
    else:
        alpha = decision["alpha"]
        out.print(
            f"score = {alpha:g} x model {decision['ml_score']:.3f} + {1 - alpha:g} x rules {decision['rule_score']:.3f}"
        )
    _print_rules(found)
    _print_model(found)
    shadow = decision.get("shadow")
    if shadow:
        would = "would have alerted" if shadow["is_alert"] else "would not have alerted"
        out.print(
            f"shadow {shadow['model_version']}: model {shadow['ml_score']:.3f}, score {shadow['score']:.3f}, {would}"
        )
    out.print(
        f"rule set {decision['ruleset_version']}, configuration revision {decision['config_revision']}, "
        f"model {decision['model_version'] or 'none'} ({decision.get('variant') or 'champion'}), "
        f"decided {shown(decision['processing_time_ms'])}, read from {found_in}",
        markup=False, soft_wrap=True,
    )  # fmt: skip


def _print_rules(found: Explanation) -> None:
    if not found.rules:
        out.print("\nno rule fired")
        return
    rows = [
        [rule.code, f"{rule.feature} {_number(rule.value)} >= {rule.threshold:g} {rule.unit}", f"{rule.weight:g}",
         f"+{rule.adds:.3f}"]
        for rule in found.rules
    ]  # fmt: skip
    out.print()
    table(["rule fired", "because", "weight", "adds to the score"], rows)


def _print_model(found: Explanation) -> None:
    out.print()
    if found.base is None:
        out.print(f"the model: {found.why_no_shares}", markup=False, soft_wrap=True)
        return
    decision = found.decision
    out.print(
        f"the model {decision['model_version']} starts at {found.base:.3f} and ends at {decision['ml_score']:.3f}:"
    )
    rows = [
        [item.feature, _value(item), item.unit, f"{item.adds:+.3f}", item.meaning]
        for item in found.shares
    ]  # fmt: skip
    table(["feature", "value", "unit", "adds", "meaning"], rows)
    out.print()


def _value(item: FeatureShare) -> str | None:
    if item.absent is not None:
        return f"none ({item.absent.replace('_', ' ')})"
    return None if item.value is None else _number(item.value)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"  # noqa: PLR2004
