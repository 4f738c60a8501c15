"""The outputs of the detector, in one list: tag, topic, uid and guarantee of each.

Every message of an output is one string, ``key LF value``; no output has headers. There are two lanes:

- the **ledger** (decisions, dead letters, audit, control) is exactly once by default, so a message is readable after
  the next checkpoint;
- the **immediate lane** (alerts, replies) is at least once by default, so a message is readable at once. A failure
  repeats messages: state and ledger go back to the last checkpoint, and messages that were sent stay sent.

Alerts have two sinks, and the settings choose the one that gets them. Flink's at-least-once sink drops the transactions
that a savepoint of an exactly-once sink holds. So the exactly-once sink always stays: it commits the alerts of
savepoints that were written with it, and aborts the transactions that a failed job left open.
"""

from dataclasses import dataclass
from typing import Final

from pyflink.common import Types
from pyflink.datastream import OutputTag

from flink_jobs.contracts import uids
from flink_jobs.kafka.guarantee import Guarantee


@dataclass(frozen=True, slots=True)
class Output:
    """One output of the detector."""

    topic: str
    """Suffix of the topic."""
    tag: OutputTag | None
    """Tag of the side output; ``None`` for the main output."""
    uid: str
    """Uid of the sink."""
    guarantee: Guarantee | None
    """Fixed guarantee; ``None``: that of ``STREAMFLOW_SINK_GUARANTEE``."""


ALERTS_AT_ONCE: Final = OutputTag("alerts", Types.STRING())
ALERTS_WITH_CHECKPOINT: Final = OutputTag("alerts-with-checkpoint", Types.STRING())
REPLIES: Final = OutputTag("replies", Types.STRING())
DEAD_LETTERS: Final = OutputTag("dead-letters", Types.STRING())
AUDIT: Final = OutputTag("audit", Types.STRING())
CONTROL: Final = OutputTag("control", Types.STRING())
"""Control messages with which the guard of an experiment reaches every subtask, including its own."""

OUTPUTS: Final = (
    Output("decisions", None, uids.DECISIONS_SINK, None),
    Output("alerts", ALERTS_WITH_CHECKPOINT, uids.ALERTS_SINK, "exactly_once"),
    Output("alerts", ALERTS_AT_ONCE, uids.ALERTS_AT_ONCE_SINK, "at_least_once"),
    Output("dlq", DEAD_LETTERS, uids.DEAD_LETTERS_SINK, None),
    Output("audit", AUDIT, uids.AUDIT_SINK, None),
    Output("control", CONTROL, uids.CONTROL_SINK, None),
    Output("replies", REPLIES, uids.REPLIES_SINK, "at_least_once"),
)

Message = str | tuple[OutputTag, str]
"""A message of the main output, or of a side output with its tag."""
