"""The names under which savepoints keep state: uids of operators, names of states. Append-only; a test pins them.

An operator that changes its uid loses its state on the next upgrade: a source its offsets, a sink its open
transactions, the detector every customer. So does a state that changes its name.
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

DETECT_UIDS: Final = (
    TRANSACTIONS_SOURCE,
    CONTROL_SOURCE,
    DETECTOR,
    DECISIONS_SINK,
    ALERTS_SINK,
    DEAD_LETTERS_SINK,
    AUDIT_SINK,
    CONTROL_SINK,
)

ARCHIVED: Final = ("decisions", "alerts", "dlq", "audit", "labels")
ARCHIVE_LETTERS_SINK: Final = "archive-dead-letters-sink"
ARCHIVE_UIDS: Final = (*(f"{name}-archive-source" for name in ARCHIVED), ARCHIVE_LETTERS_SINK)

RETIRED: Final = tuple(f"{name}-archive-sink" for name in ARCHIVED)
"""Uids of operators that are gone. They kept no state, so a savepoint that names them restores without them."""

CUSTOMER_STATE: Final = "customer-fraud-state"
CONFIG_STATE: Final = "detection-config"
CONFIG_KEY: Final = "current"
MAX_PARALLELISM: Final = 128
"""Key groups; fixed for the life of a savepoint, so never derived from the parallelism."""
