"""The names under which savepoints store state: operator uids and state names. Append-only; a test pins them.

An operator with a changed uid loses its state at the next upgrade: a source its offsets, a sink its open transactions,
the detector the state of every customer. A state with a changed name is lost too.
"""

from typing import Final

TRANSACTIONS_SOURCE: Final = "transactions-source"
CONTROL_SOURCE: Final = "control-source"
DETECTOR: Final = "fraud-detector"
DECISIONS_SINK: Final = "decisions-sink"
ALERTS_SINK: Final = "alerts-sink"
DEAD_LETTERS_SINK: Final = "dead-letters-sink"
AUDIT_SINK: Final = "audit-sink"
CONTROL_SINK: Final = "control-sink"
ALERTS_AT_ONCE_SINK: Final = "alerts-at-once-sink"
REPLIES_SINK: Final = "replies-sink"
ACTIONS_SOURCE: Final = "user-actions-source"

DETECT_UIDS: Final = (
    TRANSACTIONS_SOURCE,
    CONTROL_SOURCE,
    DETECTOR,
    DECISIONS_SINK,
    ALERTS_SINK,
    DEAD_LETTERS_SINK,
    AUDIT_SINK,
    CONTROL_SINK,
    ALERTS_AT_ONCE_SINK,
    REPLIES_SINK,
    ACTIONS_SOURCE,
)

SINKS: Final = (
    DECISIONS_SINK,
    ALERTS_SINK,
    ALERTS_AT_ONCE_SINK,
    DEAD_LETTERS_SINK,
    AUDIT_SINK,
    CONTROL_SINK,
    REPLIES_SINK,
)
"""The sinks of the detector."""


def canary_sink(uid: str) -> str:
    """Return the uid of a canary's sink.

    With the sink's own uid a canary would restore the open transactions of the running job: Flink would commit some and
    abort the others, and the running job would fail.

    >>> canary_sink("decisions-sink")
    'canary-decisions-sink'
    """
    return f"canary-{uid}"


CANARY_SINKS: Final = tuple(canary_sink(uid) for uid in SINKS)
CANARY_UIDS: Final = (*DETECT_UIDS, *CANARY_SINKS)
"""Uids whose state a canary may find: in a snapshot of the detector, and in its own."""

ARCHIVED: Final = ("decisions", "alerts", "dlq", "audit", "labels", "user-actions")
ARCHIVE_LETTERS_SINK: Final = "archive-dead-letters-sink"
ARCHIVE_UIDS: Final = (*(f"{name}-archive-source" for name in ARCHIVED), ARCHIVE_LETTERS_SINK)

MERCHANT_RISK_SOURCE: Final = "merchant-risk-source"
"""A source of the detector, only where ``STREAMFLOW_RISK_ENTITIES`` is set."""
OPTIONAL_DETECT_UIDS: Final = (MERCHANT_RISK_SOURCE,)

MERCHANTS_DECISIONS_SOURCE: Final = "decisions-merchants-source"
MERCHANTS_LABELS_SOURCE: Final = "labels-merchants-source"
MERCHANTS: Final = "merchants"
MERCHANTS_SINK: Final = "merchant-risk-sink"
MERCHANTS_UIDS: Final = (MERCHANTS_DECISIONS_SOURCE, MERCHANTS_LABELS_SOURCE, MERCHANTS, MERCHANTS_SINK)

LAKE_SOURCE: Final = "decisions-lake-source"
LAKE_CHECK_SOURCE: Final = "decisions-lake-check-source"
LAKE_WRITER: Final = "lake-decisions-writer"
LAKE_REJECTED_WRITER: Final = "lake-rejected-writer"
LAKE_END: Final = "lake-decisions-end"
LAKE_REJECTED_END: Final = "lake-rejected-end"
LAKE_UIDS: Final = (
    LAKE_SOURCE,
    LAKE_CHECK_SOURCE,
    LAKE_WRITER,
    LAKE_REJECTED_WRITER,
    LAKE_END,
    LAKE_REJECTED_END,
)

RETIRED: Final = tuple(f"{name}-archive-sink" for name in ("decisions", "alerts", "dlq", "audit", "labels"))
"""Uids of removed operators. They had no state, so a savepoint with these uids can still be restored."""

CUSTOMER_STATE: Final = "customer-fraud-state"
CONFIG_STATE: Final = "detection-config"
CONFIG_KEY: Final = "current"
MERCHANT_ROWS: Final = "merchant-risk-rows"
"""Broadcast state of the detector: the newest row of each merchant or other entity."""
MERCHANT_STATE: Final = "merchant-history"
MERCHANT_PROGRESS: Final = "merchant-progress"
MAX_PARALLELISM: Final = 128
"""Number of key groups. A savepoint fixes it, so it never depends on the parallelism."""
