"""``streamflow backtest``: compares the alerts of another rule set or model on past transactions."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flink_jobs.cli import data_options
from flink_jobs.cli.data_source import check_one_source, period_of, use_file
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.own_features import own_values_if_set
from flink_jobs.cli.progress import counted
from flink_jobs.cli.times import shown
from flink_jobs.core.features.table import FEATURE_NAMES
from flink_jobs.core.models.faults import ModelError, ModelFault
from flink_jobs.core.models.model import load_model, model_directory
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flink_jobs.cards.card_files import SourceEvent
    from flink_jobs.cli.row_reports import RejectedRows
    from flink_jobs.core.models.lineup import Model
    from flink_jobs.core.own_features.values import OwnValues
    from ml.backtest.backtest import Setup
    from ml.backtest.comparison import AlertCount, Comparison, Example
    from ml.backtest.rule_set import RuleSetChanges

NO_MODEL = "none"
EXAMPLE_COLUMNS = ("transaction", "customer", "time", "score before", "score after", "reasons", "label")

Rules = Annotated[
    Path | None,
    typer.Option(help="rule set to test, YAML: alpha, alert_threshold, rules, blacklist (see `control send`)"),
]
Version = Annotated[str | None, typer.Option(help="model version to test")]
AgainstRules = Annotated[
    Path | None, typer.Option(help="with --data: rule set to compare with; default: the rules that a job starts with")
]
AgainstModel = Annotated[
    str | None, typer.Option(help="with --data: model version to compare with, or `none`; default: `current`")
]


def backtest(
    data: data_options.CardFile = None,
    mapping: data_options.MappingFile = None,
    since: data_options.DecisionsSince = None,
    until: data_options.DecisionsUntil = None,
    rules: Rules = None,
    model: Version = None,
    against_rules: AgainstRules = None,
    against_model: AgainstModel = None,
    models: data_options.ModelFolder = data_options.DEFAULT_MODELS,
    *,
    from_decisions: data_options.FromDecisions = False,
    skip_bad_rows: data_options.SkipBadRows = False,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Show which alerts another rule set or another model would have raised, compared with the present ones.

    With --from-decisions the comparison is with the recorded decisions: each one is scored again under the
    configuration in force at that time, with your changes on top. Without changes every score equals the recorded one.

    With --data both sides score a card file under the configuration that a job starts with: give --rules or --model.

    For example:

      streamflow backtest --from-decisions --since 7d --rules stricter.yaml

      streamflow backtest --data tests/data/card_transactions.csv.gz --rules stricter.yaml
    """
    check_one_source(data, from_decisions=from_decisions)
    started, own = time.monotonic(), own_values_if_set()
    if data is None:
        if mapping or skip_bad_rows or against_rules or against_model:
            fix = "leave out --mapping, --skip-bad-rows, --against-rules and --against-model"
            raise UserError("--from-decisions compares with the recorded decisions", fix, ErrorCode.USAGE_ERROR)
        plan = _plan(rules, None if model is None else _model(models, model, own))
        comparison = _recorded(plan, since, until, own)
        sides = ("as recorded", "backtest")
    else:
        if since or until:
            what = "--since and --until choose recorded decisions"
            raise UserError(what, "leave them out with --data", ErrorCode.USAGE_ERROR)
        other = _other_model(models, against_model, own)
        before = _plan(against_rules, other)
        after = _plan(rules, other if model is None else _model(models, model, own))
        comparison = _file(data, mapping, before, after, own, skip_bad_rows=skip_bad_rows)
        sides = ("before", "after")
    if not comparison.decisions:
        fix = "choose another period, or start the archive job, which records decisions"
        raise UserError("there is no transaction in this period", fix)
    seconds = time.monotonic() - started
    emit(output, _document(comparison, seconds), lambda: _print(comparison, sides))


def _plan(rules: Path | None, model: Model | None) -> Setup:
    from ml.backtest.backtest import Setup

    return Setup(None if rules is None else _settings(rules), model)


def _settings(path: Path) -> RuleSetChanges:
    from ml.backtest.rule_set import read_rule_set

    return read_rule_set(path)


def _model(models: Path, version: str | None, own: OwnValues | None) -> Model:
    try:
        return load_model(model_directory(models, version), FEATURE_NAMES, own=own)
    except ModelError as error:
        raise UserError(f"the model cannot be used ({error.detail})", "choose another version or --models") from error


def _other_model(models: Path, version: str | None, own: OwnValues | None) -> Model | None:
    """Return the model that a job would start with, None if the folder has none: the rules alone then decide."""
    if version == NO_MODEL:
        return None
    try:
        model_directory(models, version)
    except ModelError as error:
        if version is None and error.reason is ModelFault.MISSING:
            say(f"{models} has no current model: the rules alone decide.")
            return None
    return _model(models, version, own)


def _recorded(plan: Setup, since: str | None, until: str | None, own: OwnValues | None) -> Comparison:
    from ml.backtest.backtest import backtest_decisions
    from ml.history.configurations import read_configurations
    from ml.history.connection import warehouse
    from ml.history.decisions import measure_period, read_decisions

    period = period_of(since, until)
    with warehouse(load_settings().postgres_dsn) as connection:
        extent = measure_period(connection, period)
        decisions = counted(read_decisions(connection, period), "decisions scored again", extent.decisions)
        return backtest_decisions(decisions, read_configurations(connection), plan, own)


def _file(
    data: Path, mapping: Path | None, before: Setup, after: Setup, own: OwnValues | None, *, skip_bad_rows: bool
) -> Comparison:
    from ml.backtest.backtest import backtest_events
    from ml.dataset import Feed

    now_ms = time.time_ns() // 1_000_000

    def compare(events: Iterable[SourceEvent], rejected: RejectedRows) -> Comparison:
        return backtest_events(Feed(events, now_ms, rejected.add), before, after, own)

    return use_file(data, mapping, compare, skip_bad_rows=skip_bad_rows)


def _document(comparison: Comparison, seconds: float) -> dict[str, Any]:
    counts = {name: _count(getattr(comparison, name)) for name in ("before", "after", "kept", "gained", "lost")}
    rules = {
        code: {
            "before": _count(comparison.rules_before.get(code)),
            "after": _count(comparison.rules_after.get(code)),
        }
        for code in sorted({*comparison.rules_before, *comparison.rules_after})
    }
    return {
        "decisions": comparison.decisions,
        "labelled": comparison.labelled,
        "frauds": comparison.frauds,
        "changed_scores": comparison.changed_scores,
        "largest_change": comparison.largest_change,
        "degraded": dict(comparison.degraded),
        "alerts": counts,
        "rules": rules,
        "examples": {
            "gained": [_example(one) for one in comparison.gained_examples()],
            "lost": [_example(one) for one in comparison.lost_examples()],
        },
        "seconds": seconds,
    }


def _count(count: AlertCount | None) -> dict[str, Any]:
    if count is None:
        return {"alerts": 0, "fraud": 0, "genuine": 0, "precision": None}
    return {**asdict(count), "precision": count.precision}


def _example(one: Example) -> dict[str, Any]:
    return {
        "customer_id": one.transaction.customer_id,
        "transaction_id": one.transaction.transaction_id,
        "event_time": shown(one.transaction.event_time_ms),
        "is_fraud": one.is_fraud,
        "before": one.before._asdict(),
        "after": one.after._asdict(),
    }


def _print(comparison: Comparison, sides: tuple[str, str]) -> None:
    compared = comparison
    out.print(
        f"{compared.decisions:,} transactions, {compared.labelled:,} labelled, {compared.frauds:,} of them fraud; "
        f"{compared.changed_scores:,} scores changed, the largest change is {compared.largest_change:.3g}",
        soft_wrap=True,
    )
    named = ((sides[0], compared.before), (sides[1], compared.after), ("kept", compared.kept),
             ("gained", compared.gained), ("lost", compared.lost))  # fmt: skip
    columns = ("alerts", "fraud", "genuine", "precision")
    table(["", *columns], [[name, *_cells(count)] for name, count in named])
    rows = [
        [code, *_cells(compared.rules_before.get(code)), *_cells(compared.rules_after.get(code))]
        for code in sorted({*compared.rules_before, *compared.rules_after})
    ]
    if rows:
        header = ["alerts with this reason", *(f"{name} {side}" for side in sides for name in columns)]
        table(header, rows)
    for name, examples in (("gained", compared.gained_examples()), ("lost", compared.lost_examples())):
        if examples:
            cells = [_example_cells(one) for one in examples]
            table(EXAMPLE_COLUMNS, cells, f"Alerts {name}, the largest changes")


def _cells(count: AlertCount | None) -> list[str]:
    if count is None:
        return ["0", "0", "0", ""]
    precision = "" if count.precision is None else f"{count.precision:.1%}"
    return [f"{count.alerts:,}", f"{count.fraud:,}", f"{count.genuine:,}", precision]


def _example_cells(one: Example) -> list[str]:
    reasons = one.after.reasons if one.after.is_alert else one.before.reasons
    label = "" if one.is_fraud is None else "fraud" if one.is_fraud else "genuine"
    transaction = one.transaction
    return [
        transaction.transaction_id, transaction.customer_id, shown(transaction.event_time_ms) or "",
        f"{one.before.score:.3f}", f"{one.after.score:.3f}", "+".join(reasons), label,
    ]  # fmt: skip
