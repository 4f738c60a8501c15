"""Types of the answers of Flink's REST API. Times are milliseconds since the epoch, as Flink returns them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

TERMINAL = frozenset({"FAILED", "CANCELED", "FINISHED", "SUSPENDED"})


@dataclass(frozen=True)
class Job:
    """One job in the overview."""

    job_id: str
    name: str
    state: str
    start_ms: int

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL


@dataclass(frozen=True)
class Checkpoints:
    """Counts of a job's checkpoints, and its last completed checkpoint."""

    completed: int
    failed: int
    in_progress: int
    restored: int
    last_completed_ms: int | None
    last_duration_ms: int | None
    last_size_bytes: int | None
    last_path: str | None
    restored_path: str | None = None

    @classmethod
    def from_answer(cls, answer: dict[str, Any]) -> Checkpoints:
        """Parse the answer of ``/jobs/<id>/checkpoints``; before the first checkpoint most of its fields are null."""
        counts, latest = answer.get("counts") or {}, answer.get("latest") or {}
        last = latest.get("completed") or {}
        return cls(
            completed=int(counts.get("completed", 0)),
            failed=int(counts.get("failed", 0)),
            in_progress=int(counts.get("in_progress", 0)),
            restored=int(counts.get("restored", 0)),
            last_completed_ms=last.get("latest_ack_timestamp"),
            last_duration_ms=last.get("end_to_end_duration"),
            last_size_bytes=last.get("state_size"),
            last_path=last.get("external_path"),
            restored_path=(latest.get("restored") or {}).get("external_path"),
        )

    def age_s(self, now_ms: float) -> float | None:
        """Return the age of the last completed checkpoint in seconds; ``None`` before the first."""
        return None if self.last_completed_ms is None else max(0.0, (now_ms - self.last_completed_ms) / 1000)


@dataclass(frozen=True)
class Failure:
    """One entry of a job's exception history."""

    at_ms: int
    name: str
    stacktrace: str

    @property
    def root_cause(self) -> str:
        """The innermost cause, on one line."""
        return root_cause(self.stacktrace) or self.name


def root_cause(stacktrace: str) -> str:
    """Return the innermost cause of a Java stack trace on one line: its last "Caused by", else its first line."""
    lines = [line.strip() for line in stacktrace.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes or lines[:1] or [""])[-1]
