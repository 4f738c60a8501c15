"""The codes of every outcome: why a transaction has its score, why a record was rejected, and at which stage.

Decisions, dead letters, metric labels, dashboards and docs share these enums: the word that an analyst reads in a
table is the word that an engineer finds in the code. Values are append-only.
"""

from enum import StrEnum
from typing import Final


class ReasonCode(StrEnum):
    """Why a decision has the score it has."""

    HIGH_AMOUNT = "HIGH_AMOUNT"
    HIGH_VELOCITY = "HIGH_VELOCITY"
    UNUSUAL_TIME = "UNUSUAL_TIME"
    IMPOSSIBLE_TRAVEL = "IMPOSSIBLE_TRAVEL"
    BLACKLISTED = "BLACKLISTED"
    MODEL_ANOMALY = "MODEL_ANOMALY"
    # actions on the account; they contribute nothing to the score
    ACCOUNT_BLOCKED = "ACCOUNT_BLOCKED"
    ACCOUNT_ALLOWED = "ACCOUNT_ALLOWED"
    ACCOUNT_WATCHED = "ACCOUNT_WATCHED"


ACCOUNT_REASONS: Final = frozenset(
    {
        ReasonCode.ACCOUNT_BLOCKED,
        ReasonCode.ACCOUNT_ALLOWED,
        ReasonCode.ACCOUNT_WATCHED,
    }
)
"""Codes of actions on the account; all other codes are parts of the score."""


class Disposition(StrEnum):
    """What a dead letter means for the ledger ``sent = decided + rejected + duplicate``."""

    REJECTED = "rejected"
    """The record was not scored; redrive it when its cause is fixed."""
    DUPLICATE = "duplicate"
    """The transaction was scored before; the record is kept for the audit and never redriven."""
    INCIDENT = "incident"
    """A fault beside a record, in its state, a control message or a model; it is not the outcome of a record."""


class PipelineStage(StrEnum):
    """The stage of the jobs at which a record was rejected or an incident happened."""

    PARSE = "parse"
    ROUTE = "route"
    STATE = "state"
    DEDUPLICATE = "deduplicate"
    SCORE = "score"
    CONTROL = "control"
    MODEL = "model"
    ARCHIVE = "archive"


class DeadLetterReason(StrEnum):
    """Why a record is on the dead-letter topic."""

    # stage parse, the bytes
    EMPTY_PAYLOAD = "EMPTY_PAYLOAD"
    OVERSIZE = "OVERSIZE"
    INVALID_UTF8 = "INVALID_UTF8"
    MALFORMED_JSON = "MALFORMED_JSON"
    TOO_DEEP = "TOO_DEEP"
    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    NON_FINITE_NUMBER = "NON_FINITE_NUMBER"
    # stage parse, the fields
    MISSING_FIELD = "MISSING_FIELD"
    WRONG_TYPE = "WRONG_TYPE"
    INVALID_TEXT = "INVALID_TEXT"
    NEGATIVE_AMOUNT = "NEGATIVE_AMOUNT"
    AMOUNT_OUT_OF_RANGE = "AMOUNT_OUT_OF_RANGE"
    UNKNOWN_CURRENCY = "UNKNOWN_CURRENCY"
    EVENT_TIME_IN_FUTURE = "EVENT_TIME_IN_FUTURE"
    EVENT_TIME_OUT_OF_RANGE = "EVENT_TIME_OUT_OF_RANGE"
    COORDINATES_OUT_OF_RANGE = "COORDINATES_OUT_OF_RANGE"
    INVALID_COUNTRY = "INVALID_COUNTRY"
    # stages route, deduplicate, state and score
    KEY_MISMATCH = "KEY_MISMATCH"
    DUPLICATE_TRANSACTION = "DUPLICATE_TRANSACTION"
    STATE_CORRUPT = "STATE_CORRUPT"
    STATE_VERSION_UNSUPPORTED = "STATE_VERSION_UNSUPPORTED"
    PROCESSING_ERROR = "PROCESSING_ERROR"
    # stages control and model
    CONTROL_INVALID = "CONTROL_INVALID"
    CONTROL_REVISION_CONFLICT = "CONTROL_REVISION_CONFLICT"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    MODEL_CUT_OFF = "MODEL_CUT_OFF"
    EXPERIMENT_STOPPED = "EXPERIMENT_STOPPED"
    # an action on an account, stages parse, route and state
    ACTION_INVALID = "ACTION_INVALID"
    # stage archive
    ROW_REFUSED = "ROW_REFUSED"
    LABEL_INVALID = "LABEL_INVALID"
    # stage parse, an Avro record
    MALFORMED_AVRO = "MALFORMED_AVRO"
    UNKNOWN_SCHEMA = "UNKNOWN_SCHEMA"
    INCOMPATIBLE_SCHEMA = "INCOMPATIBLE_SCHEMA"
    # stage parse, the fields of version 2
    INVALID_IP = "INVALID_IP"


class AbsenceReason(StrEnum):
    """Why a feature has no value for one transaction. An absent feature is not zero: zero is a value."""

    INSUFFICIENT_HISTORY = "insufficient_history"
    NO_LOCATION = "no_location"
    NO_PREVIOUS_LOCATION = "no_previous_location"
    NO_CATEGORY = "no_category"
    # own features only
    NO_VALUE = "no_value"
    """The user's function returned none."""
    FUNCTION_RAISED = "function_raised"
    VALUE_INVALID = "value_invalid"
    """The user's function returned no finite number within the range of the feature."""
