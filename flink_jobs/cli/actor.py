"""Who does something and why: the options that everything audited has."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from flink_jobs.model_registry.versions import ChangeReason

Why = Annotated[str, typer.Option("--reason", "-r", help="why, for the audit", prompt="Why (for the audit)")]
By = Annotated[str | None, typer.Option("--by", help="who answers for it; default: your login name")]


def actor(by: str | None) -> str:
    """Return who answers for a command.

    Raises:
        UserError: nobody was named and the login has no name.
    """
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        raise UserError("your login has no name", "say who you are with --by") from None


def why_of(by: str | None, reason: str) -> ChangeReason:
    """Return who and why.

    Raises:
        UserError: nobody was named, or the reason is empty.
    """
    from flink_jobs.model_registry.versions import ChangeReason

    if not reason.strip():
        raise UserError("the reason is empty", "say why in a few words: somebody will read it in the audit")
    return ChangeReason(actor(by), reason)
