"""Edits the payload of one dead letter before it is redriven: by fields, from a file, or in an editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from flink_jobs.errors import UserError


class Edit(NamedTuple):
    """How the user edits a payload; all empty means no edit."""

    fields: list[str]
    """``NAME=VALUE`` texts of --set."""
    from_file: Path | None
    """File with the new payload."""
    in_editor: bool

    @property
    def is_wanted(self) -> bool:
        """Return whether the user edits the payload."""
        return bool(self.fields or self.from_file or self.in_editor)


def edited_payload(before: bytes, edit: Edit) -> bytes:
    """Return the edited payload; the file takes precedence over the fields, the fields over the editor.

    Raises:
        UserError: the payload cannot be edited in this way, or the file or the editor failed.
    """
    from flink_jobs.core.dead_letters.payload_edit import with_fields

    if edit.from_file is not None:
        try:
            return edit.from_file.read_bytes()
        except OSError as cause:
            raise UserError(f"{edit.from_file} cannot be read ({cause.strerror})", "check the path") from None
    if edit.fields:
        try:
            return with_fields(before, edit.fields)
        except ValueError as problem:
            fix = "edit the record with --edit, or give the new payload with --from-file"
            raise UserError(f"--set cannot edit the record: {problem}", fix) from None
    try:
        text = before.decode()
    except UnicodeDecodeError:
        raise UserError("the record is not UTF-8 text", "give the new payload with --from-file") from None
    return _in_editor(text).rstrip("\n").encode()


def recorded_changes(before: bytes, after: bytes) -> list[dict[str, Any]]:
    """Return the differences of two payloads for the audit, which keeps no card number of a field about a card."""
    from flink_jobs.core.dead_letters.payload_edit import changes_between
    from flink_jobs.core.dead_letters.payload_mask import masked_changes

    return masked_changes(changes_between(before, after))


def _in_editor(text: str) -> str:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UserError("no editor is configured", "set EDITOR, or use --set or --from-file")
    with tempfile.TemporaryDirectory() as folder:  # mode 0700: the text is card data
        file = Path(folder) / "record.json"
        file.write_text(text, encoding="utf-8")
        try:
            subprocess.run([*shlex.split(editor), str(file)], check=True)
        except (OSError, subprocess.CalledProcessError) as cause:
            fix = "set EDITOR to another editor; nothing was sent"
            raise UserError(f"the editor {editor} failed ({cause})", fix) from None
        return file.read_text(encoding="utf-8")
