"""The one error type that is shown to people as a single line, without a stack trace."""

from __future__ import annotations


class UserError(Exception):
    """Something the person at the terminal can put right.

    ``what`` says what is wrong and where, ``fix`` what to do about it. The CLI prints both on one line and ends
    with exit code 2.
    """

    def __init__(self, what: str, fix: str) -> None:
        """Keep both halves apart so that JSON output can show them as two fields."""
        super().__init__(f"{what}: {fix}")
        self.what = what
        self.fix = fix
