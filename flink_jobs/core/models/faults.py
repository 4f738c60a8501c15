"""Model faults: the closed list of reasons why a model cannot be used, shared by logs, metric labels and tests."""

from __future__ import annotations

from enum import StrEnum


class ModelFault(StrEnum):
    """The reason why a model was refused or its score not used; the value is used as a metric label."""

    MISSING = "missing"
    """The directory, a file or the current version does not exist."""
    UNREADABLE = "unreadable"
    """The file exists, but the operating system does not allow or cannot complete the access."""
    BAD_MANIFEST = "bad_manifest"
    """``manifest.json`` is not JSON of the documented shape."""
    CORRUPT = "corrupt"
    """``model.npz`` is truncated, not an archive of plain arrays, or has another digest than its manifest."""
    BAD_ARRAYS = "bad_arrays"
    """An array is missing, surplus, of the wrong type or shape, or holds a non-finite number."""
    BAD_TREE = "bad_tree"
    """The arrays do not describe binary trees over the model's features."""
    TOO_LARGE = "too_large"
    """A size exceeds its limit: the model would use too much of the job's memory or time."""
    FEATURE_MISMATCH = "feature_mismatch"
    """The model was trained on other features, or on the same features in another order."""
    UNKNOWN_KIND = "unknown_kind"
    """The model family is unknown to this program."""
    NEWER_SCHEMA = "newer_schema"
    """The artifact was written by a newer version of this program."""
    DIGEST_MISMATCH = "digest_mismatch"
    """The artifact is valid, but its arrays differ from the digest in the control message or the registry."""
    RAISED = "raised"
    """In the running job: scoring or explaining raised an exception."""
    BAD_SCORE = "bad_score"
    """In the running job: the score was not a number from 0 to 1."""
    TOO_SLOW = "too_slow"
    """In the running job: a score took longer than the time budget."""


class ModelError(Exception):
    """A model was refused; the job continues with rules alone.

    Attributes:
        reason: the entry of the closed list.
        detail: what is wrong, where, and what to do. It never contains card data and is safe to log.
    """

    def __init__(self, reason: ModelFault, detail: str) -> None:
        """Keep the reason apart from the text, because it labels a metric."""
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


class InputsNotReady(Exception):  # noqa: N818 - a state that passes, no error
    """A model's inputs are not there yet: the transaction is scored by rules alone, and no fault is counted."""
