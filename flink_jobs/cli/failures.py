"""How a failed command ends: with one line of text, or with one JSON object for programs."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from typer import Abort
from typer.exceptions import TyperException

from flink_jobs.errors import ErrorCode, UserError

ERROR_EXIT, INTERRUPTED_EXIT = 2, 130
_JSON_OPTIONS = frozenset({"--output=json", "-ojson"})


def wants_json(arguments: Sequence[str]) -> bool:
    """Return whether the arguments ask for JSON.

    The arguments are read as text, because an error can occur before the options are parsed.
    """
    if not _JSON_OPTIONS.isdisjoint(arguments):
        return True
    return any(option in {"--output", "-o"} and value == "json" for option, value in itertools.pairwise(arguments))


def run_reporting_errors(app: Callable[..., Any], *, as_json: bool) -> NoReturn:
    """Run the command line and end the process with the command's exit code.

    An error is reported on standard error and ends with exit code 2, Ctrl-C with 130. With ``as_json`` the report is
    one line after any progress messages: ``{"error": {"code": ..., "message": ..., "hint": ...}}``.
    With STREAMFLOW_DEBUG set, an error keeps its stack trace.
    """
    try:
        # Typer prints usage errors in a box for users; programs need the exception.
        code = app(prog_name="streamflow", standalone_mode=not as_json)
    except (Exception, KeyboardInterrupt) as cause:
        if os.environ.get("STREAMFLOW_DEBUG"):
            raise
        error, exit_code = _described(cause)
        sys.stderr.write((_as_json(error) if as_json else _as_line(error)) + "\n")
        sys.exit(exit_code)
    sys.exit(code if isinstance(code, int) else 0)


def _described(cause: BaseException) -> tuple[UserError, int]:
    """Return the error to show and the exit code."""
    if isinstance(cause, UserError):
        return cause, ERROR_EXIT
    if isinstance(cause, KeyboardInterrupt | Abort):
        return UserError("interrupted", "", ErrorCode.INTERRUPTED), INTERRUPTED_EXIT
    if isinstance(cause, TyperException):
        usage = UserError(cause.format_message(), "see the command's --help", ErrorCode.USAGE_ERROR)
        return usage, cause.exit_code
    what = f"unexpected {type(cause).__name__}: {cause}"
    return UserError(what, "run `streamflow --debug ...` and report it", ErrorCode.INTERNAL_ERROR), ERROR_EXIT


def _as_line(error: UserError) -> str:
    return f"streamflow: {error.what}" + (f". What to do: {error.fix}" if error.fix else "")


def _as_json(error: UserError) -> str:
    return json.dumps({"error": {"code": error.code, "message": error.what, "hint": error.fix}})
