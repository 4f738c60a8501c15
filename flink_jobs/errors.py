"""The one error type that the command line shows as a single line, without a stack trace."""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Stable names of errors, for programs that call the CLI; the texts may change, these do not."""

    USER_ERROR = "user_error"
    """An input or a state that the user can fix; ``message`` and ``hint`` say how. The default."""
    USAGE_ERROR = "usage_error"
    """The command line itself: an unknown command or option, a missing or invalid argument."""
    SETTINGS_INVALID = "settings_invalid"
    """A required setting is missing, or a setting has an invalid value."""
    NOT_INSTALLED = "not_installed"
    """The environment that the command needs is not installed."""
    STACK_DOWN = "stack_down"
    """The local stack does not run."""
    KAFKA_UNREACHABLE = "kafka_unreachable"
    """No broker answers."""
    KAFKA_DENIED = "kafka_denied"
    """Kafka rejects the password, or the account lacks a right."""
    POSTGRES_UNREACHABLE = "postgres_unreachable"
    """Postgres does not answer, ended the connection or rejects the login."""
    FLINK_UNREACHABLE = "flink_unreachable"
    """No JobManager answers."""
    COMMAND_FAILED = "command_failed"
    """A ``streamflow`` command that a program called ended without an error object, for example by a signal."""
    INTERRUPTED = "interrupted"
    """The user pressed Ctrl-C or left a question unanswered."""
    INTERNAL_ERROR = "internal_error"
    """A defect of StreamFlow."""


class UserError(Exception):
    """An error that the user can fix.

    The CLI prints ``what`` and ``fix`` on one line and ends with exit code 2. With ``--output json`` it prints them as
    one JSON object, with ``code``.

    Attributes:
        what: what is wrong, and where.
        fix: what the user should do.
        code: the stable name that programs act on.
    """

    def __init__(self, what: str, fix: str, code: ErrorCode = ErrorCode.USER_ERROR) -> None:
        """Keep the parts separate: JSON output shows them as fields."""
        super().__init__(f"{what}: {fix}")
        self.what = what
        self.fix = fix
        self.code = code
