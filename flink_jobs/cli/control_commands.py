"""`streamflow control`: change the running detector without a restart."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from flink_jobs.cli.actor import By, Why, actor
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.times import shown
from flink_jobs.core.rules import RULE_BY_ID
from flink_jobs.errors import UserError
from flink_jobs.kafka.control_client import (
    ControlState,
    build_message,
    encode_checked,
    read_control_state,
    send_and_wait,
)
from flink_jobs.settings import load_settings

HELP = "Change rules, thresholds and blacklists of the running detector. Every change is checked, numbered and audited."
app = typer.Typer(no_args_is_help=True, add_completion=False, help=HELP)
blacklist_app = typer.Typer(no_args_is_help=True, help="Flag every transaction of a merchant, customer or country.")
app.add_typer(blacklist_app, name="blacklist")

NOT_APPLIED = 1

RuleId = StrEnum("RuleId", {name: name for name in RULE_BY_ID})  # type: ignore[misc]  # names are known at run time


class Kind(StrEnum):
    """What can be on the blacklist."""

    MERCHANT = "merchant"
    CUSTOMER = "customer"
    COUNTRY = "country"


Expect = Annotated[
    int | None,
    typer.Option("--expect-revision", min=0, help="apply only if this revision is in force"),
]
Wait = Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="wait so long for the outcome; 0: only send")]
WAIT_S = 60.0
Ratio = Annotated[float, typer.Argument(min=0.0, max=1.0)]
Values = Annotated[list[str], typer.Argument(help="names or codes, as in the transactions")]


@app.command()
def show(*, output: OutputOption = Output.PLAIN) -> None:
    """Show the configuration in force, what changed it, and what has no outcome yet."""
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
    reason: Why,
    by: By = None,
    expect: Expect = None,
    wait: Wait = WAIT_S,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Set the model's weight: score = alpha * model + (1 - alpha) * rules."""
    _send({"alpha": value}, reason, by, expect, wait, output)


@app.command()
def set_threshold(
    value: Ratio,
    reason: Why,
    by: By = None,
    expect: Expect = None,
    wait: Wait = WAIT_S,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Set the score from which on a transaction is an alert."""
    _send({"alert_threshold": value}, reason, by, expect, wait, output)


@app.command()
def rule(
    rule_id: Annotated[RuleId, typer.Argument(metavar="RULE", help=", ".join(RULE_BY_ID))],
    reason: Why,
    weight: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="what it adds to the rule score")] = None,
    threshold: Annotated[float | None, typer.Option(help="fires at or above it, in the unit of its feature")] = None,
    by: By = None,
    expect: Expect = None,
    wait: Wait = WAIT_S,
    *,
    enabled: Annotated[bool | None, typer.Option("--on/--off", help="switch it on or off")] = None,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Change one rule: its weight, its threshold, or whether it is on."""
    wanted = {"enabled": enabled, "weight": weight, "threshold": threshold}
    change = {name: value for name, value in wanted.items() if value is not None}
    if not change:
        raise UserError(f"nothing to change in {rule_id}", "give --weight, --threshold, --on or --off")
    _send({"rules": {str(rule_id): change}}, reason, by, expect, wait, output)


@blacklist_app.command("add")
def blacklist_add(
    kind: Kind, values: Values, reason: Why, by: By = None, expect: Expect = None, wait: Wait = WAIT_S,
    *, output: OutputOption = Output.PLAIN,
) -> None:  # fmt: skip
    """Put names on the blacklist."""
    _send({"blacklist": {kind.value: {"add": values}}}, reason, by, expect, wait, output)


@blacklist_app.command("remove")
def blacklist_remove(
    kind: Kind, values: Values, reason: Why, by: By = None, expect: Expect = None, wait: Wait = WAIT_S,
    *, output: OutputOption = Output.PLAIN,
) -> None:  # fmt: skip
    """Take names off the blacklist."""
    _send({"blacklist": {kind.value: {"remove": values}}}, reason, by, expect, wait, output)


@app.command()
def model(
    version: Annotated[str, typer.Argument(help="folder name of the model version")],
    reason: Why, by: By = None, expect: Expect = None, wait: Wait = WAIT_S,
    *, output: OutputOption = Output.PLAIN,
) -> None:  # fmt: skip
    """Score with another model version. The detector must find it in its model folder."""
    _send({"model_version": version}, reason, by, expect, wait, output)


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="JSON: a whole control message, or only its `changes` and `reason`")],
    wait: Wait = WAIT_S,
    by: By = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Send a control message from a file, several changes at once; id, time and issuer are filled in if absent."""
    try:
        document = orjson.loads(file.read_bytes())
    except OSError as cause:
        raise UserError(f"{file} cannot be read ({cause.strerror})", "check the path") from None
    except orjson.JSONDecodeError as cause:
        raise UserError(f"{file} is not JSON ({cause})", "mend the syntax") from None
    if not isinstance(document, dict):
        raise UserError(f"{file} is not a JSON object", 'write {"reason": "...", "changes": {...}}')
    _deliver({**_message({}, "", by, None), **document}, wait, output)


def _send(
    changes: dict[str, Any], reason: str, by: str | None, expect: int | None, wait: float, output: Output
) -> None:
    _deliver(_message(changes, reason, by, expect), wait, output)


def _message(changes: dict[str, Any], reason: str, by: str | None, expect: int | None) -> dict[str, Any]:
    return build_message(
        changes,
        issued_by=actor(by),
        reason=reason,
        expected_revision=expect,
        now_ms=int(time.time() * 1_000),
    )


def _deliver(message: dict[str, Any], wait: float, output: Output) -> None:
    payload = encode_checked(message)
    settings = load_settings()
    control_id = message["control_id"]
    audit = send_and_wait(settings.broker(), settings.topic_prefix, payload, control_id, wait)
    value = {"control_id": control_id, "message": message, "audit": audit}
    emit(output, value, lambda: out.print(_outcome(control_id, audit, wait), markup=False, soft_wrap=True))
    if wait and audit is None:
        say(f"No outcome within {wait:g} s. Is the detector running? See `streamflow status`.")
        raise typer.Exit(NOT_APPLIED)
    if audit is not None and audit["outcome"] == "rejected":
        raise typer.Exit(NOT_APPLIED)


def _outcome(control_id: str, audit: dict[str, Any] | None, wait: float) -> str:
    if audit is None:
        return f"{control_id} is sent" + ("" if wait else "; `streamflow control show` tells its outcome")
    if audit["outcome"] == "rejected":
        return f"{control_id} was rejected: {audit['detail']}"
    return f"{control_id}: {audit['outcome']}, revision {audit['revision']} is in force"


def _print_state(state: ControlState) -> None:
    config = state.config
    model_version = config.model_version or "the one the job was started with"
    out.print(
        f"revision {config.revision}: alpha {config.alpha:g}, alert threshold {config.alert_threshold:g}, "
        f"model {model_version}",
        markup=False,
    )
    if config.shadow_model is not None:
        out.print(f"shadow {config.shadow_model.version}: asked beside it, recorded only", markup=False)
    if config.experiment is not None:
        trial = config.experiment
        out.print(
            f"experiment {trial.id}: {trial.version} decides for {trial.share:.1%} of the customers", markup=False
        )
    rules = [
        [name, "on" if setting.enabled else "off", setting.weight, setting.threshold]
        for name, setting in config.rules.items()
    ]
    table(["rule", "", "weight", "fires at"], rows=rules)
    for kind in Kind:
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
