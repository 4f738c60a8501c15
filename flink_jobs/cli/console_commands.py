"""``streamflow console``: logins and accounts of the people who use the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.cli.actor import ByOption, actor
from flink_jobs.cli.output import Output, OutputOption, emit, out, say, table
from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.settings import load_settings

if TYPE_CHECKING:
    from api.console.roles import Role

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Logins and accounts of the console.")
RoleOption = Annotated[
    list[str] | None,
    typer.Option("--role", help="viewer, analyst, senior, rules-editor, approver, auditor or admin; may be repeated"),
]
Name = Annotated[str, typer.Argument(help="name of the account, such as ada")]


@app.command()
def login(
    name: Annotated[str, typer.Argument(help="account; it is made if it does not exist")] = "analyst",
    role: RoleOption = None,
    minutes: Annotated[int, typer.Option(min=1, max=1_440, help="validity of the login")] = 60,
    by: ByOption = None,
    *,
    output: OutputOption = Output.PLAIN,
) -> None:
    """Print an address that logs in once. A new account gets the roles of the options; default: analyst.

    Example: streamflow console login ada --role senior
    """
    from api.console.accounts import add_account, create_token

    dsn, who = load_settings().postgres_dsn, actor(by)
    if add_account(dsn, name, _roles(role or ["analyst"]), by=who):
        say(f"Made the account {name}.")
    elif role:
        say(f"The account {name} exists and keeps its roles.")
    url = f"{_address()}/console/login?token={create_token(dsn, name, by=who, minutes=minutes)}"
    say(f"This address logs {name} in once, within {minutes} minutes:")
    emit(output, {"url": url, "name": name, "minutes": minutes}, lambda: out.print(url, soft_wrap=True, markup=False))


@app.command()
def add(
    name: Name,
    role: RoleOption = None,
    display_name: Annotated[str | None, typer.Option(help="name on the pages; default: the account's name")] = None,
    by: ByOption = None,
    *,
    password: Annotated[bool, typer.Option("--password", help="ask for a password; else one-time logins only")] = False,
) -> None:
    """Add an account; default role: analyst.

    Example: streamflow console add ada --role senior --password
    """
    from api.console.accounts import add_account

    secret = typer.prompt("Password", hide_input=True, confirmation_prompt=True) if password else None
    roles = _roles(role or ["analyst"])
    if not add_account(
        load_settings().postgres_dsn, name, roles, by=actor(by), display_name=display_name, password=secret
    ):
        raise UserError(f"the account {name} exists", "see `streamflow console accounts`")
    say(f"Made the account {name} with {', '.join(sorted(roles))}.")


@app.command()
def accounts(*, output: OutputOption = Output.PLAIN) -> None:
    """List all accounts with their roles and open sessions."""
    from api.console.accounts import list_accounts

    rows = list_accounts(load_settings().postgres_dsn)
    columns = ["name", "display_name", "roles", "has_password", "sessions", "created_by", "disabled_at"]

    def plain() -> None:
        shown = [[" ".join(row[key]) if key == "roles" else row[key] for key in columns] for row in rows]
        table([key.replace("_", " ") for key in columns], shown)

    emit(output, rows, plain)


@app.command()
def revoke(name: Name, by: ByOption = None) -> None:
    """End all sessions and unused one-time logins of an account at once."""
    from api.console.accounts import revoke_sessions

    ended = revoke_sessions(load_settings().postgres_dsn, name, by=actor(by))
    say(f"Ended {ended} sessions of {name}.")


@app.command()
def disable(name: Name, by: ByOption = None) -> None:
    """Disable an account: it cannot log in, and its sessions end at once."""
    from api.console.accounts import disable_account

    disable_account(load_settings().postgres_dsn, name, by=actor(by))
    say(f"The account {name} is disabled.")


def _roles(names: list[str]) -> list[Role]:
    from api.console.roles import Role

    try:
        return [Role(name) for name in names]
    except ValueError:
        known = ", ".join(Role)
        raise UserError(
            f"{', '.join(names)}: not all are roles", f"choose from {known}", ErrorCode.USAGE_ERROR
        ) from None


def _address() -> str:
    """Return the address of the console: that of the local stack, else that of the settings."""
    from api.settings import load_api_settings
    from flink_jobs.local import api_server
    from flink_jobs.local.ports import HOST
    from flink_jobs.local.stack import Stack

    port = Stack().record.ports.get(api_server.NAME)
    if port is not None:
        return f"http://{HOST}:{port}"
    own = load_api_settings()
    return f"{'https' if own.secure_cookie else 'http'}://{own.host}:{own.port}"
