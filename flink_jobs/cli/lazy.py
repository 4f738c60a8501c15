"""Commands that are imported only when they are called, so that ``streamflow --help`` is fast."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True)
class Lazy:
    """The place of a command.

    ``attribute`` is either a function with typer annotations, or a ``typer.Typer`` for a command with subcommands.
    ``help`` is the line in ``streamflow --help``; the help of the command itself comes from its docstring.
    """

    module: str
    attribute: str
    help: str
    panel: str

    def exists(self) -> bool:
        """Return whether the module exists, without importing it."""
        return find_spec(self.module) is not None

    def load(self, name: str) -> Any:  # noqa: ANN401 - typer exposes no public type for its commands
        """Import the command."""
        target = getattr(importlib.import_module(self.module), self.attribute)
        if isinstance(target, typer.Typer):
            group = typer.main.get_command(target)
        else:
            app = typer.Typer(add_completion=False)
            app.command(name=name)(target)
            group = typer.main.get_command(app)
        group.name = name
        refuse_non_finite(group)
        return group


def refuse_non_finite(command: Any) -> None:  # noqa: ANN401 - typer exposes no public type for its commands
    """Make a command and its subcommands refuse NaN and infinite numbers, which no range of an option excludes."""
    for parameter in command.params:
        parameter.callback = parameter.callback or _finite
    for subcommand in getattr(command, "commands", {}).values():
        refuse_non_finite(subcommand)


def _finite(ctx: Any, parameter: Any, value: Any) -> Any:  # noqa: ANN401 - the signature is typer's
    if isinstance(value, float) and not math.isfinite(value):
        message = f"{value} is not a finite number."
        raise typer.BadParameter(message, ctx=ctx, param=parameter)
    return value


class LazyGroup(TyperGroup):
    """A group that lists its commands without importing them, and imports only the command that is called."""

    table: ClassVar[dict[str, Lazy]] = {}

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - the signature is typer's
        """Return the names of the commands, in the order of the table."""
        return [name for name, lazy in self.table.items() if lazy.exists()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Return a placeholder while help is printed, else the command itself."""
        lazy = self.table.get(cmd_name)
        if lazy is None or not lazy.exists():
            return None
        if getattr(ctx, "_streamflow_listing", False):
            stand_in = TyperCommand(name=cmd_name, help=lazy.help)
            stand_in.rich_help_panel = lazy.panel
            return stand_in
        return lazy.load(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Print the help from placeholders."""
        ctx._streamflow_listing = True  # noqa: SLF001 - a note on the context object, for get_command above
        super().format_help(ctx, formatter)
