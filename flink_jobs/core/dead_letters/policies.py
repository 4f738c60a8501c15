"""Which dead letters can be redriven (sent again): one table with an entry for every ``DeadLetterReason``.

A new reason needs a new entry; a test fails without one. The table in ``docs/operate.md`` is generated from this one.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from flink_jobs.core.documents import DeadLetterDocument
from flink_jobs.core.reasons import DeadLetterReason as Reason


class RedriveMethod(StrEnum):
    """How the record of a dead letter gets its outcome."""

    IF_VALID = "if it parses now"
    """The payload must parse before it is sent; otherwise it would become a dead letter again."""
    AS_IT_IS = "as it is"
    EDITED = "edited only"
    ROW = "into its table"
    """The archive job rejected the row: the row is written again, no message is sent."""
    NEVER = "never"


class RedrivePolicy(NamedTuple):
    """Whether dead letters of a reason can be redriven, and why."""

    method: RedriveMethod
    why: str


_BYTES: Final = RedrivePolicy(RedriveMethod.IF_VALID, "the bytes decide: edit them, or run a release that reads them")
_ALREADY_SCORED: Final = RedrivePolicy(
    RedriveMethod.NEVER, "the transaction was scored; the dead letter reports another fault at the same time"
)

REDRIVE_POLICIES: Final[dict[Reason, RedrivePolicy]] = {
    Reason.EMPTY_PAYLOAD: _BYTES,
    Reason.OVERSIZE: _BYTES,
    Reason.INVALID_UTF8: _BYTES,
    Reason.MALFORMED_JSON: _BYTES,
    Reason.TOO_DEEP: _BYTES,
    Reason.NOT_AN_OBJECT: _BYTES,
    Reason.NON_FINITE_NUMBER: _BYTES,
    Reason.MISSING_FIELD: _BYTES,
    Reason.WRONG_TYPE: _BYTES,
    Reason.INVALID_TEXT: _BYTES,
    Reason.NEGATIVE_AMOUNT: _BYTES,
    Reason.AMOUNT_OUT_OF_RANGE: _BYTES,
    Reason.UNKNOWN_CURRENCY: _BYTES,
    Reason.EVENT_TIME_IN_FUTURE: RedrivePolicy(
        RedriveMethod.IF_VALID, "the event time becomes valid: after a day the same bytes are accepted"
    ),
    Reason.EVENT_TIME_OUT_OF_RANGE: _BYTES,
    Reason.COORDINATES_OUT_OF_RANGE: _BYTES,
    Reason.INVALID_COUNTRY: _BYTES,
    Reason.KEY_MISMATCH: RedrivePolicy(
        RedriveMethod.EDITED,
        "the document names two customers; edit it so that it names one. An Avro record needs no edit: it is sent with "
        "its customer as key",
    ),
    Reason.DUPLICATE_TRANSACTION: RedrivePolicy(
        RedriveMethod.NEVER, "the transaction was scored; a redriven record could be scored a second time"
    ),
    Reason.STATE_CORRUPT: _ALREADY_SCORED,
    Reason.STATE_VERSION_UNSUPPORTED: RedrivePolicy(
        RedriveMethod.AS_IT_IS, "a release that reads the customer's state scores the transaction"
    ),
    Reason.PROCESSING_ERROR: RedrivePolicy(RedriveMethod.AS_IT_IS, "the job has a defect: fix it first"),
    Reason.CONTROL_INVALID: RedrivePolicy(RedriveMethod.NEVER, "send a new control message"),
    Reason.CONTROL_REVISION_CONFLICT: RedrivePolicy(
        RedriveMethod.NEVER, "read the revision in force, then send a new control message"
    ),
    Reason.MODEL_UNAVAILABLE: _ALREADY_SCORED,
    Reason.MODEL_CUT_OFF: _ALREADY_SCORED,
    Reason.EXPERIMENT_STOPPED: _ALREADY_SCORED,
    Reason.ACTION_INVALID: RedrivePolicy(RedriveMethod.NEVER, "send a new action"),
    Reason.ROW_REFUSED: RedrivePolicy(
        RedriveMethod.ROW, "fix the table or the message; consumers of the topic have the message already"
    ),
    Reason.LABEL_INVALID: RedrivePolicy(RedriveMethod.ROW, "edit the label"),
    Reason.MALFORMED_AVRO: _BYTES,
    Reason.UNKNOWN_SCHEMA: RedrivePolicy(
        RedriveMethod.IF_VALID, "register the schema and configure the registry: the same bytes are accepted then"
    ),
    Reason.INCOMPATIBLE_SCHEMA: _BYTES,
    Reason.INVALID_IP: _BYTES,
}
"""Every reason of this release. A dead letter with any other reason comes from a newer release and is not redriven."""

_NEWER_RELEASE: Final = RedrivePolicy(RedriveMethod.NEVER, "this release does not have the reason; use the newer one")


def policy_of(letter: DeadLetterDocument) -> RedrivePolicy:
    """Return the redrive policy of a dead letter's reason."""
    try:
        return REDRIVE_POLICIES[Reason(letter["reason"])]
    except ValueError:
        return _NEWER_RELEASE
