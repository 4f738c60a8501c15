"""The user and the reason of an audited change: common options of the commands that make one."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from flink_jobs.card_numbers import has_card_number
from flink_jobs.errors import ErrorCode, UserError

if TYPE_CHECKING:
    from flink_jobs.model_registry.versions import ChangeReason


def without_card_number(text: str | None) -> str | None:
    """Return a text that people wrote, which may go to Kafka and Postgres.

    Raises:
        UserError: it has a card number.
    """
    if text is not None and has_card_number(text):
        fix = "leave the number out, or give only its last four digits; nothing was sent"
        raise UserError("the text has a card number", fix, ErrorCode.USAGE_ERROR)
    return text


ReasonOption = Annotated[
    str,
    typer.Option(
        "--reason", "-r", help="reason of the change, for the audit", prompt="Reason (for the audit)",
        callback=without_card_number,
    ),
]  # fmt: skip
ByOption = Annotated[str | None, typer.Option("--by", help="responsible user, for the audit; default: your login name")]


def actor(by: str | None) -> str:
    """Return the user who makes a change: the named one, or the login name.

    Raises:
        UserError: no user was named and the login has no name.
    """
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        raise UserError("your login has no name", "give your name with --by") from None


def change_reason(by: str | None, reason: str) -> ChangeReason:
    """Return the user and the reason of a change.

    Raises:
        UserError: the user has no name, or the reason is empty.
    """
    from flink_jobs.model_registry.versions import ChangeReason

    if not reason.strip():
        raise UserError("the reason is empty", "give the reason in a few words, for the audit", ErrorCode.USAGE_ERROR)
    return ChangeReason(actor(by), reason)
