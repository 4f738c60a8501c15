"""``stack.env``: the local stack's settings as ``NAME=value`` lines, with mode 0600."""

from __future__ import annotations

import os
from pathlib import Path

_HEADER = "# Written by `streamflow up`; holds passwords. Environment variables take precedence over these values.\n"


def render(values: dict[str, str]) -> str:
    """Return the file's text. Values are quoted so that a shell can source the file."""
    lines = []
    for name, value in values.items():
        if "'" in value or "\n" in value:
            message = f"{name} holds a quote or a line break"
            raise ValueError(message)
        lines.append(f"{name}='{value}'\n")
    return _HEADER + "".join(lines)


def write(path: Path, values: dict[str, str]) -> None:
    """Write the file with mode 0600 from its first byte on."""
    temporary = path.with_suffix(".env.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(render(values))
    temporary.replace(path)


def read(path: Path) -> dict[str, str]:
    """Return the values in the file; an empty dict if there is no file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value.strip("'") for name, _, value in pairs}
