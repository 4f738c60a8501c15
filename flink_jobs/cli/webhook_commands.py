"""``streamflow api webhooks``: receivers of signed messages about cases."""

from __future__ import annotations

from typing import Annotated

import typer

from flink_jobs.cli.actor import ByOption, actor
from flink_jobs.cli.output import Output, OutputOption, emit, say, table
from flink_jobs.settings import load_settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Receivers of signed messages about cases.")
NameArgument = Annotated[str, typer.Argument(help="name of the receiver")]


@app.command("add")
def add(
    name: NameArgument,
    url: Annotated[str, typer.Argument(help="address for POST requests")],
    secret: Annotated[
        str, typer.Option(help="name of the secret; the API reads STREAMFLOW_WEBHOOK_SECRET_<NAME in capitals>")
    ],
    event: Annotated[
        list[str], typer.Option(help="event to send, may be repeated: opened, alerts_joined, claimed, verdict, ...")
    ],
    by: ByOption = None,
    *,
    with_ids: Annotated[
        bool,
        typer.Option("--with-ids", help="list the case's 20 newest alerts with terminal, device, card and IP address"),
    ] = False,
) -> None:
    """Add a receiver, or replace the one with this name.

    Example: streamflow api webhooks add desk https://desk.example.org/hook --secret desk --event opened --event verdict
    """
    from api.cases.webhook_admin import add_webhook

    add_webhook(load_settings().postgres_dsn, name, url, secret, event, actor(by), has_ids=with_ids)
    say(f"Webhook {name} is added. Set STREAMFLOW_WEBHOOK_SECRET_{secret.upper()} for the API.")


@app.command("list")
def list_all(*, output: OutputOption = Output.PLAIN) -> None:
    """List all receivers."""
    from api.cases.webhook_admin import list_webhooks

    rows = list_webhooks(load_settings().postgres_dsn)
    shown = [
        [row["webhook_id"], row["url"], " ".join(row["events"]), "yes" if row["has_ids"] else "no", row["disabled_at"]]
        for row in rows
    ]
    emit(output, rows, lambda: table(["name", "url", "events", "with ids", "disabled at"], shown))


@app.command("disable")
def disable(name: NameArgument, by: ByOption = None) -> None:
    """Send no new events to a receiver."""
    from api.cases.webhook_admin import disable_webhook

    disable_webhook(load_settings().postgres_dsn, name, actor(by))
    say(f"Webhook {name} is disabled.")


@app.command("dead")
def dead(*, output: OutputOption = Output.PLAIN) -> None:
    """List messages that no receiver accepted in ten attempts."""
    from api.cases.webhook_admin import dead_messages

    rows = dead_messages(load_settings().postgres_dsn)
    names = ["outbox_id", "webhook_id", "case_id", "event", "alerts", "last_error", "dead_at"]
    shown = [[row[name] for name in names] for row in rows]
    emit(output, rows, lambda: table([name.replace("_", " ") for name in names], shown))


@app.command("retry")
def retry(
    name: Annotated[str | None, typer.Argument(help="name of the receiver; default: all")] = None,
) -> None:
    """Send dead messages again; to receivers with ids, with those of the stored alerts."""
    from api.cases.webhook_admin import retry_dead

    retried = retry_dead(load_settings().postgres_dsn, name)
    say(f"{retried.messages} messages will be sent again.")
    if retried.alerts_without_ids:
        say(f"{retried.alerts_without_ids} alerts in them have no ids any more: retention has deleted the alerts.")
