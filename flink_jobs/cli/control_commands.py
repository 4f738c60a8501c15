"""``streamflow control``: changes the configuration of the running detector without a restart."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import orjson
import typer

from flink_jobs.cli.actor import ByOption, ReasonOption, actor
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.times import shown
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.documents import (
    AuditDocument,
    BlacklistChange,
    BlacklistChanges,
    ControlChanges,
    ControlDocument,
    ControlOutcome,
    RuleChange,
)
from flink_jobs.core.rules import RULE_BY_ID
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.kafka.control_client import (
    ControlState,
    build_message,
    encode_checked,
    read_control_state,
    send_and_wait,
)
from flink_jobs.settings import load_settings

HELP = "Change rules, thresholds and blacklists of the running detector. Every change is checked and audited."
app = typer.Typer(no_args_is_help=True, add_completion=False, help=HELP)
blacklist_app = typer.Typer(
    no_args_is_help=True,
    help="Edit the blacklist; a rule fires for every transaction of a blacklisted merchant, customer or country.",
)
app.add_typer(blacklist_app, name="blacklist")

NOT_APPLIED = 1

RuleId = StrEnum("RuleId", {name: name for name in RULE_BY_ID})  # type: ignore[misc]  # names are known at run time


class BlacklistKind(StrEnum):
    """The kinds of blacklist entries."""

    MERCHANT = "merchant"
    CUSTOMER = "customer"
    COUNTRY = "country"


Expect = Annotated[
    int | None,
    typer.Option("--expect-revision", min=0, help="apply the change only if this revision is in force"),
]
Wait = Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="longest wait for the outcome; 0: do not wait")]
WAIT_S = 60.0
Ratio = Annotated[float, typer.Argument(min=0.0, max=1.0, help="the new value, 0 to 1")]
KindArgument = Annotated[BlacklistKind, typer.Argument(help="kind of the entries")]
Values = Annotated[
    list[str], typer.Argument(help="customer ids, merchant names (case does not matter) or two-letter country codes")
]


@app.command()
def show(*, output: OutputOption = Output.PLAIN) -> None:
    """Show the configuration in force, its changes, and the control messages without an outcome."""
    settings = load_settings()
    state = read_control_state(settings.broker(), settings.topic_prefix)
    value = {
        "config": orjson.loads(state.config.to_json()),
        "history": list(state.history),
        "pending": list(state.pending),
    }
    emit(output, value, lambda: _print_state(state))


@app.command()
def set_alpha(
    value: Ratio,
    reason: ReasonOption,
    by: ByOption = None,
    expect: Expect = None,
    wait: Wait = WAIT_S,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Set the weight of every model, also of one with its own: score = alpha * model + (1 - alpha) * rules."""
    _send({"alpha": value}, reason, by, expect, wait, output)


@app.command()
def set_threshold(
    value: Ratio,
    reason: ReasonOption,
    by: ByOption = None,
    expect: Expect = None,
    wait: Wait = WAIT_S,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Set the alert threshold for every model: a transaction with this score or a higher one is an alert."""
    _send({"alert_threshold": value}, reason, by, expect, wait, output)


@app.command()
def use_own_blend(
    reason: ReasonOption, by: ByOption = None, expect: Expect = None, wait: Wait = WAIT_S,
    *, output: OutputOption = Output.PLAIN,
) -> None:  # fmt: skip
    """Undo set-alpha and set-threshold: each model scores with its own alpha and threshold, or the defaults."""
    _send({"alpha": None, "alert_threshold": None}, reason, by, expect, wait, output)


@app.command()
def rule(
    rule_id: Annotated[RuleId, typer.Argument(metavar="RULE", help=", ".join(RULE_BY_ID))],
    reason: ReasonOption,
    weight: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="weight of the rule in the rule score")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="value at which the rule fires, in the unit of its feature")
    ] = None,
    by: ByOption = None,
    expect: Expect = None,
    wait: Wait = WAIT_S,
    *,
    enabled: Annotated[bool | None, typer.Option("--on/--off", help="switch the rule on or off")] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Change one rule: its weight, its threshold, or whether it is on."""
    change = RuleChange()
    if enabled is not None:
        change["enabled"] = enabled
    if weight is not None:
        change["weight"] = weight
    if threshold is not None:
        change["threshold"] = threshold
    if not change:
        fix = "give --weight, --threshold, --on or --off"
        raise UserError(f"no change of {rule_id} is given", fix, ErrorCode.USAGE_ERROR)
    _send({"rules": {str(rule_id): change}}, reason, by, expect, wait, output)


@blacklist_app.command("add")
def blacklist_add(
    kind: KindArgument, values: Values, reason: ReasonOption, by: ByOption = None, expect: Expect = None,
    wait: Wait = WAIT_S, *, output: OutputOption = Output.PLAIN,
) -> None:  # fmt: skip
    """Add entries to the blacklist."""
    _send({"blacklist": _blacklist(kind, {"add": values})}, reason, by, expect, wait, output)


@blacklist_app.command("remove")
def blacklist_remove(
    kind: KindArgument, values: Values, reason: ReasonOption, by: ByOption = None, expect: Expect = None,
    wait: Wait = WAIT_S, *, output: OutputOption = Output.PLAIN,
) -> None:  # fmt: skip
    """Remove entries from the blacklist."""
    _send({"blacklist": _blacklist(kind, {"remove": values})}, reason, by, expect, wait, output)


@app.command()
def model(
    version: Annotated[str, typer.Argument(help="folder name of the model version")],
    reason: ReasonOption, by: ByOption = None, expect: Expect = None, wait: Wait = WAIT_S,
    *, output: OutputOption = Output.PLAIN,
) -> None:  # fmt: skip
    """Score with another model version, which the detector must find in its model folder."""
    _send({"model_version": version}, reason, by, expect, wait, output)


@app.command()
def send(
    file: Annotated[
        Path, typer.Argument(help="JSON file: a complete control message, or only its `changes` and `reason`")
    ],
    wait: Wait = WAIT_S,
    by: ByOption = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Send a control message from a file, with any number of changes; missing id, time and issuer are added."""
    try:
        document = orjson.loads(file.read_bytes())
    except OSError as cause:
        raise UserError(f"{file} cannot be read ({cause.strerror})", "check the path") from None
    except orjson.JSONDecodeError as cause:
        raise UserError(f"{file} is not JSON ({cause})", "fix the syntax") from None
    if not isinstance(document, dict):
        raise UserError(f"{file} is not a JSON object", 'write {"reason": "...", "changes": {...}}')
    changes = cast("ControlChanges", document["changes"] if isinstance(document.get("changes"), dict) else {})
    _deliver({**_message(changes, "", by, None), **document}, wait, output)


def _blacklist(kind: BlacklistKind, change: BlacklistChange) -> BlacklistChanges:
    match kind:
        case BlacklistKind.MERCHANT:
            return {"merchant": change}
        case BlacklistKind.CUSTOMER:
            return {"customer": change}
        case BlacklistKind.COUNTRY:
            return {"country": change}


def _send(
    changes: ControlChanges, reason: str, by: str | None, expect: int | None, wait: float, output: Output
) -> None:
    _deliver(_message(changes, reason, by, expect), wait, output)


def _message(changes: ControlChanges, reason: str, by: str | None, expect: int | None) -> ControlDocument:
    return build_message(
        changes,
        issued_by=actor(by),
        reason=reason,
        expected_revision=expect,
        now_ms=int(time.time() * 1_000),
    )


def _deliver(message: Mapping[str, Any], wait: float, output: Output) -> None:
    payload = encode_checked(message)
    settings = load_settings()
    control_id = message["control_id"]
    audit = send_and_wait(settings.broker(), settings.topic_prefix, payload, control_id, wait)
    value = {"control_id": control_id, "message": message, "audit": audit}
    emit(output, value, lambda: out.print(_outcome(control_id, audit, wait), markup=False, soft_wrap=True))
    if wait and audit is None:
        say(f"No outcome within {wait:g} s. Is the detector running? See `streamflow status`.")
        raise typer.Exit(NOT_APPLIED)
    if audit is not None and audit["outcome"] == ControlOutcome.REJECTED:
        raise typer.Exit(NOT_APPLIED)


def _outcome(control_id: str, audit: AuditDocument | None, wait: float) -> str:
    if audit is None:
        return f"{control_id} is sent" + ("" if wait else "; `streamflow control show` shows its outcome")
    if audit["outcome"] == ControlOutcome.REJECTED:
        return f"{control_id} was rejected: {audit['detail']}"
    remark = f". Note: {audit['detail']}" if audit["detail"] else ""
    return f"{control_id}: {audit['outcome']}, revision {audit['revision']} is in force{remark}"


def _precedence(config: DetectionConfig) -> str:
    """Return which alpha and threshold apply to a model that has its own."""
    if config.alpha_is_set:
        return "alpha was set by a control message: it applies to every model, and no model's own blend applies"
    if config.threshold_is_set:
        return "alert threshold was set by a control message: it applies to every model; a model's own alpha applies"
    return "both are defaults: a model with its own alpha and threshold uses those (`streamflow model list`)"


def _print_state(state: ControlState) -> None:
    config = state.config
    model_version = config.model_version or "as at the start of the job"
    out.print(
        f"revision {config.revision}: alpha {config.alpha:g}, alert threshold {config.alert_threshold:g}, "
        f"model {model_version}",
        markup=False,
    )
    out.print(_precedence(config), markup=False)
    if config.shadow_model is not None:
        out.print(
            f"shadow {config.shadow_model.version}: scores every transaction; its scores are only recorded",
            markup=False,
        )
    if config.experiment is not None:
        experiment = config.experiment
        share = f"{experiment.share:.1%} of the customers"
        out.print(f"experiment {experiment.id}: {experiment.version} scores {share}", markup=False)
    rules = [
        [name, "on" if setting.enabled else "off", setting.weight, setting.threshold]
        for name, setting in config.rules.items()
    ]
    table(["rule", "state", "weight", "fires at"], rows=rules)
    for kind in BlacklistKind:
        names = sorted(getattr(config.blacklist, kind.value))
        if names:
            out.print(f"blacklisted {kind.value}: {', '.join(names)}", markup=False, soft_wrap=True)
    if state.history:
        rows = [
            [shown(e["applied_at_ms"]), e["outcome"], e["revision"], e["issued_by"], e["reason"], e["detail"]]
            for e in state.history
        ]
        table(["time", "outcome", "revision", "by", "reason", "detail"], rows)
    if state.pending:
        out.print(f"no outcome yet: {', '.join(state.pending)}", markup=False, soft_wrap=True)
