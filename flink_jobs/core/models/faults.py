"""Why a model cannot be used: one closed list, shared by logs, metrics labels and tests."""

from __future__ import annotations

from enum import StrEnum


class ModelFault(StrEnum):
    """Reason a model artifact was refused; the value is the metrics label."""

    MISSING = "missing"
    """No such directory, file or current version."""
    UNREADABLE = "unreadable"
    """The file exists and the operating system refuses to read it."""
    BAD_MANIFEST = "bad_manifest"
    """`manifest.json` is not JSON of the documented shape."""
    CORRUPT = "corrupt"
    """`model.npz` is truncated, not an archive of plain arrays, or its digest differs from the manifest's."""
    BAD_ARRAYS = "bad_arrays"
    """An array is missing, surplus, of the wrong type or shape, or holds a non-finite number."""
    BAD_TREE = "bad_tree"
    """The arrays do not describe binary trees over the model's features."""
    TOO_LARGE = "too_large"
    """A size is beyond its cap: evaluating it would take the memory or time of the stream."""
    FEATURE_MISMATCH = "feature_mismatch"
    """Trained on other features, or on the same ones in another order."""
    UNKNOWN_KIND = "unknown_kind"
    """Not an isolation forest."""
    NEWER_SCHEMA = "newer_schema"
    """Written by a newer version of this program."""
    DIGEST_MISMATCH = "digest_mismatch"
    """Sound, but not the arrays that the control message meant by this version."""
    RAISED = "raised"
    """At work: it raised instead of answering."""
    BAD_SCORE = "bad_score"
    """At work: it answered something that is no number from 0 to 1."""
    TOO_SLOW = "too_slow"
    """At work: its scores took longer than the budget."""


class ModelError(Exception):
    """A model was refused; the stream goes on with rules alone.

    Attributes:
        reason: the closed list's entry.
        detail: what was wrong, where, and what to do; safe to log, never card data.
    """

    def __init__(self, reason: ModelFault, detail: str) -> None:
        """Keep the reason apart from the text, so that it can label a metric."""
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail
