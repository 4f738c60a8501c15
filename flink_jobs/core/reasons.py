"""The vocabulary of every outcome: why a transaction scored, why a record was set aside, and where.

One enum each, shared by decisions, dead letters, metric labels, dashboards and docs, so that the word an
analyst reads in a table is the word an engineer greps in the code. Values are append-only.
"""

from enum import StrEnum


class ReasonCode(StrEnum):
    """Why a decision has the score it has."""

    HIGH_AMOUNT = "HIGH_AMOUNT"
    HIGH_VELOCITY = "HIGH_VELOCITY"
    UNUSUAL_TIME = "UNUSUAL_TIME"
    IMPOSSIBLE_TRAVEL = "IMPOSSIBLE_TRAVEL"
    BLACKLISTED = "BLACKLISTED"
    MODEL_ANOMALY = "MODEL_ANOMALY"


class Disposition(StrEnum):
    """What a dead letter means for the ledger ``sent = decided + rejected + duplicate``."""

    REJECTED = "rejected"
    """The record was not scored; redrive it once its cause is mended."""
    DUPLICATE = "duplicate"
    """The transaction had been decided before; kept for the audit, never to be redriven."""
    INCIDENT = "incident"
    """Something went wrong beside an event (state, control, model); it carries no transaction of its own."""


class PipelineStage(StrEnum):
    """Where on its way through the jobs a record was set aside."""

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

    # parse: the bytes
    EMPTY_PAYLOAD = "EMPTY_PAYLOAD"
    OVERSIZE = "OVERSIZE"
    INVALID_UTF8 = "INVALID_UTF8"
    MALFORMED_JSON = "MALFORMED_JSON"
    TOO_DEEP = "TOO_DEEP"
    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    NON_FINITE_NUMBER = "NON_FINITE_NUMBER"
    # parse: the fields
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
    # route, deduplicate, state, score
    KEY_MISMATCH = "KEY_MISMATCH"
    DUPLICATE_TRANSACTION = "DUPLICATE_TRANSACTION"
    STATE_CORRUPT = "STATE_CORRUPT"
    STATE_VERSION_UNSUPPORTED = "STATE_VERSION_UNSUPPORTED"
    PROCESSING_ERROR = "PROCESSING_ERROR"
    # control, model
    CONTROL_INVALID = "CONTROL_INVALID"
    CONTROL_REVISION_CONFLICT = "CONTROL_REVISION_CONFLICT"
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    MODEL_CUT_OFF = "MODEL_CUT_OFF"
    EXPERIMENT_STOPPED = "EXPERIMENT_STOPPED"
    # archive
    ROW_REFUSED = "ROW_REFUSED"
    LABEL_INVALID = "LABEL_INVALID"


class AbsenceReason(StrEnum):
    """Why a feature has no value for one transaction; zero is a value, absence is not zero."""

    INSUFFICIENT_HISTORY = "insufficient_history"
    NO_LOCATION = "no_location"
    NO_PREVIOUS_LOCATION = "no_previous_location"
    NO_CATEGORY = "no_category"
