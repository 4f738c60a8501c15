"""``streamflow api``: the HTTP service and its keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli import webhook_commands
from flink_jobs.cli.actor import ByOption, actor
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from api.keys import Scope

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The HTTP service and its keys.")
keys = typer.Typer(no_args_is_help=True, add_completion=False, help="Keys with which programs call the API.")
app.add_typer(keys, name="keys")
app.add_typer(webhook_commands.app, name="webhooks")
DEFAULT_SCOPES = ["transactions:write", "decisions:read", "score"]


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="address; default: STREAMFLOW_API_HOST, 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="port; default: STREAMFLOW_API_PORT, 8088")] = None,
) -> None:
    """Serve the API in this terminal until Ctrl-C. `streamflow up --api` runs it in the background.

    Example: streamflow api serve --port 8088
    """
    from api.server import serve as run

    run(host, port)


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="who uses the key, such as payment-gateway")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="what the key may do, may be repeated; default: the first three of the list below"),
    ] = None,
    team: Annotated[
        list[str] | None, typer.Option(help="a team whose cases the key sees, may be repeated; default: every team")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="validity; default: no end")] = None,
    rate: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="requests per second; default: STREAMFLOW_API_RATE_PER_S")
    ] = None,
    by: ByOption = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Make an API key and print it once; the database holds only its hash.

    Scopes: transactions:write, decisions:read, score, cases:read, cases:write.

    Example: streamflow api keys create payment-gateway --scope transactions:write --days 90
    """
    from api.keys import create_key, prefix_of

    scopes = [_scope(text) for text in scope or DEFAULT_SCOPES]
    key = create_key(
        load_settings().postgres_dsn, name, scopes, created_by=actor(by), days=days, rate_per_s=rate, teams=team
    )
    say(f"Key {prefix_of(key)} for {name}. Store it now: it is not shown again.")
    emit(output, {"key": key, "prefix": prefix_of(key)}, lambda: out.print(key, soft_wrap=True))


@keys.command("list")
def list_all(*, output: OutputOption = Output.PLAIN) -> None:
    """List all keys with their scopes, expiry and last use."""
    from api.keys import list_keys

    rows = list_keys(load_settings().postgres_dsn)
    columns = ["prefix", "name", "scopes", "teams", "rate_per_s", "expires_at", "revoked_at", "last_used_at"]

    def plain() -> None:
        shown = [
            [" ".join(row[name]) if isinstance(row[name], list) else row[name] for name in columns] for row in rows
        ]
        table([name.replace("_", " ") for name in columns], shown)

    emit(output, rows, plain)


@keys.command("revoke")
def revoke(
    prefix: Annotated[str, typer.Argument(help="prefix of the key, from the list")], by: ByOption = None
) -> None:
    """Revoke a key. Running API processes refuse it after at most STREAMFLOW_API_KEY_CACHE_S seconds."""
    from api.keys import revoke_key

    revoke_key(load_settings().postgres_dsn, prefix, actor(by))
    say(f"Key {prefix} is revoked.")


def _scope(text: str) -> Scope:
    from api.keys import Scope

    try:
        return Scope(text)
    except ValueError:
        known = ", ".join(Scope)
        raise UserError(f"{text} is not a scope", f"choose from {known}", ErrorCode.USAGE_ERROR) from None
