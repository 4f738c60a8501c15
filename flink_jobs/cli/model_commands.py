"""``streamflow model``: registers, promotes, rolls back, archives and lists model versions."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli.actor import ByOption, ReasonOption, change_reason, without_card_number
from flink_jobs.cli.blend_texts import own_blend_text
from flink_jobs.cli.card_command import card
from flink_jobs.cli.import_command import import_model
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.cli.promote_command import WAIT_S, Version, Wait, promote
from flink_jobs.errors import UserError
from flink_jobs.postgres_settings import load_postgres_settings
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from datetime import datetime

    from flink_jobs.core.models.manifest_document import BlendDocument, ManifestDocument
    from flink_jobs.model_registry.versions import ModelEvent

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Model versions: register, promote through the gate, roll back, archive, list.",
)
app.command("import")(import_model)
SERVE_EVERY_S, SERVE_PAUSE_S = 2.0, 10.0


@app.command()
def register(
    model: Annotated[str, typer.Argument(help="version in the model folder, or directory of an artifact")],
    reason: Annotated[
        str, typer.Option("--reason", "-r", help="reason, for the history", callback=without_card_number)
    ] = "trained",
    by: ByOption = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Check an artifact, publish it to the artifact store and register it as a candidate."""
    from flink_jobs.model_registry.promotion import register_model

    settings = load_postgres_settings()
    directory = Path(model) if Path(model).is_dir() else settings.model_dir / model
    registered, is_new = register_model(settings, directory, change_reason(by, reason))
    _draft_card(directory)
    value = {"version": registered.version, "digest": registered.digest, "artifact_uri": registered.artifact_uri}
    state = "is registered as a candidate" if is_new else f"is already registered; its stage is {registered.stage}"
    emit(
        output, {**value, "new": is_new, "stage": registered.stage}, lambda: out.print(f"{registered.version} {state}")
    )


@app.command("list")
def list_models(*, output: OutputOption = Output.PLAIN) -> None:
    """List the registered versions, newest first."""
    from flink_jobs.model_registry.versions import open_registry

    with open_registry(load_postgres_settings().postgres_dsn) as registry:
        found = registry.all()
    rows = [
        [
            item.version, item.stage, item.kind, _moment(item.created_at), item.digest[:12],
            *_own_blend(item.manifest.get("blend")), _metrics(item.metrics),
        ]
        for item in found
    ]  # fmt: skip
    value = [
        {key: part for key, part in asdict(item).items() if key != "manifest"} | {"blend": item.manifest.get("blend")}
        for item in found
    ]
    columns = ["name", "stage", "kind", "trained", "digest", "alpha", "threshold", "measured"]
    emit(output, value, lambda: table(columns, rows))


@app.command()
def show(version: Version, *, output: OutputOption = Output.PLAIN) -> None:
    """Show one version: stage, kind, digest, artifact, metrics and history."""
    from flink_jobs.model_registry.versions import open_registry

    with open_registry(load_postgres_settings().postgres_dsn) as registry:
        item, events = registry.get(version), registry.history(version)

    def plain() -> None:
        out.print(f"{item.version}: {item.stage}, {item.kind}, digest {item.digest}", soft_wrap=True)
        out.print(f"artifact {item.artifact_uri}", soft_wrap=True)
        out.print(f"trained {_moment(item.created_at)} on {item.manifest['training_data']['source']}", soft_wrap=True)
        out.print(own_blend_text(item.manifest.get("blend")), soft_wrap=True)
        table(["metric", "value"], [[name, f"{value:g}"] for name, value in item.metrics.items()])
        _print_own_features(item.manifest)
        _print_events(events)

    emit(output, {**asdict(item), "history": [asdict(event) for event in events]}, plain)


@app.command()
def history(
    version: Annotated[str | None, typer.Argument(help="one version; default: all")] = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """List the changes of model versions: time, version, change, stage, user and reason."""
    from flink_jobs.model_registry.versions import open_registry

    with open_registry(load_postgres_settings().postgres_dsn) as registry:
        events = registry.history(version)
    emit(output, [asdict(event) for event in events], lambda: _print_events(events))


app.command()(promote)


@app.command()
def rollback(
    reason: ReasonOption, by: ByOption = None, wait: Wait = WAIT_S, *, output: OutputOption = Output.PLAIN
) -> None:
    """Make the previous champion the champion again."""
    from flink_jobs.model_registry.promotion import roll_back

    before, after, control_id = roll_back(load_settings(), change_reason(by, reason), _now_ms(), wait)
    value = {"from": before, "to": after, "control_id": control_id}
    emit(output, value, lambda: out.print(f"{after} is champion again; {before} is archived ({control_id})"))


@app.command("carry-out")
def carry_out(
    *,
    serve: Annotated[bool, typer.Option("--serve", help="do not end; look for requests every two seconds")] = False,
) -> None:
    """Run the gate of promotions that people request in the console, and carry out approved requests."""
    from api.model_requests.carrying import carry_out_next

    settings = load_settings()
    while True:
        try:
            if carry_out_next(settings, say):
                continue
        except UserError as error:
            if not serve:
                raise
            say(f"{error.what}: {error.fix}")
            time.sleep(SERVE_PAUSE_S)
        if not serve:
            return
        time.sleep(SERVE_EVERY_S)


app.command("card")(card)


@app.command()
def archive(version: Version, reason: ReasonOption, by: ByOption = None, wait: Wait = WAIT_S) -> None:
    """Archive a version; if it is the shadow, the job stops scoring with it."""
    from flink_jobs.model_registry.promotion import archive_model

    archive_model(load_settings(), version, change_reason(by, reason), _now_ms(), wait)
    say(f"{version} is archived.")


def _draft_card(directory: Path) -> None:
    """Write the draft of a model card beside the manifest, unless there is one."""
    from flink_jobs.core.models.artifact import MAX_MANIFEST_BYTES, read_bounded
    from flink_jobs.core.models.faults import ModelError
    from flink_jobs.core.models.manifest import MANIFEST_FILE, parse_manifest
    from ml.evaluation.report.card_draft import write_card_draft

    try:
        manifest = parse_manifest(read_bounded(directory / MANIFEST_FILE, MAX_MANIFEST_BYTES))
    except ModelError as error:  # the version is registered; another process has removed its folder since
        say(f"There is no draft of its model card ({error.detail}).")
        return
    if (path := write_card_draft(directory, manifest)) is not None:
        say(f"{path} is the draft of its model card.")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _moment(value: datetime) -> str:
    return value.strftime("%Y-%m-%d %H:%M")


def _own_blend(blend: BlendDocument | None) -> list[str]:
    """Return the own alpha and threshold of a version, for the list; a dash: the configuration's values apply."""
    return ["-", "-"] if blend is None else [f"{blend['alpha']:g}", f"{blend['threshold']:.3f}"]


def _print_own_features(manifest: ManifestDocument) -> None:
    from flink_jobs.core.models.own_use import parse_used, range_of

    rows = [
        [one.name, one.unit, range_of(one.low, one.high), one.meaning, module.label]
        for module in parse_used(manifest.get("own_features")) or ()
        for one in module.features
    ]
    if rows:
        table(["own feature", "unit", "range", "meaning", "module and version"], rows)


def _metrics(metrics: dict[str, float]) -> str:
    shown = ("roc_auc", "average_precision")
    return ", ".join(f"{name.replace('_', ' ')} {metrics[name]:.3f}" for name in shown if name in metrics)


def _print_events(events: list[ModelEvent]) -> None:
    rows = [
        [
            _moment(event.happened_at),
            event.version,
            event.event.replace("_", " "),
            f"{event.from_stage or ''} -> {event.to_stage}" if event.to_stage else None,
            event.actor,
            event.reason,
            "; ".join(event.details.get("refusals", ())) or None,
        ]
        for event in events
    ]
    table(["time", "name", "change", "stage", "by", "reason", "refused because"], rows)
