"""Which dead letters may be sent again, and what a record that is sent again carries.

A redriven record is a new Kafka record. Its headers name the letter it comes from, the place of the first record of
all, and how often that was sent again; the detector copies headers into letters, so a letter knows its own history.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import orjson

from flink_jobs.core.label import label_problem
from flink_jobs.core.parsing.transactions import parse_transaction
from flink_jobs.core.reasons import DeadLetterReason as Reason
from flink_jobs.core.transaction import Rejection

HEADER_PREFIX: Final = "streamflow-redrive-"
HEADER_LETTER: Final = f"{HEADER_PREFIX}of"
"""``dlq_id`` of the letter that was redriven."""
HEADER_ORIGIN: Final = f"{HEADER_PREFIX}origin"
"""``topic-partition@offset`` of the record that was set aside first."""
HEADER_REPLAY: Final = f"{HEADER_PREFIX}replay"
"""How often the record was sent again, this time included."""
HEADER_RUN: Final = f"{HEADER_PREFIX}run"

Letter = Mapping[str, Any]
_CUSTOMER: Final = re.compile(r'"customer_id"\s*:\s*"([^"\\]{1,64})"')


class Way(StrEnum):
    """How a letter's record may get its outcome after all."""

    IF_VALID = "if it parses now"
    """The parser is asked first: bytes that it refuses still would only come back as another letter."""
    AS_IT_IS = "as it is"
    EDITED = "edited only"
    ROW = "into its table"
    """The archive set it aside: its row is written once more, no message is sent."""
    NEVER = "never"


class Policy(NamedTuple):
    """Whether letters of a reason may be redriven."""

    way: Way
    why: str


_PARSE: Final = Policy(Way.IF_VALID, "the bytes decide: edit them, or take a release that reads them")
_DECIDED: Final = "the transaction was decided; the letter tells of something beside it"
POLICIES: Final[dict[Reason, Policy]] = {
    **dict.fromkeys(list(Reason)[: list(Reason).index(Reason.KEY_MISMATCH)], _PARSE),
    Reason.EVENT_TIME_IN_FUTURE: Policy(Way.IF_VALID, "time passes: after a day the same bytes are taken"),
    Reason.KEY_MISMATCH: Policy(Way.EDITED, "the document names two customers; a person has to say which"),
    Reason.DUPLICATE_TRANSACTION: Policy(Way.NEVER, "the transaction was decided; sent again it may be decided twice"),
    Reason.STATE_CORRUPT: Policy(Way.NEVER, _DECIDED),
    Reason.STATE_VERSION_UNSUPPORTED: Policy(Way.AS_IT_IS, "a release that reads the customer's state decides it"),
    Reason.PROCESSING_ERROR: Policy(Way.AS_IT_IS, "the defect was in the job: mend it first"),
    Reason.CONTROL_INVALID: Policy(Way.NEVER, "send a new control message"),
    Reason.CONTROL_REVISION_CONFLICT: Policy(Way.NEVER, "look at the revision in force, send a new control message"),
    Reason.MODEL_UNAVAILABLE: Policy(Way.NEVER, _DECIDED),
    Reason.MODEL_CUT_OFF: Policy(Way.NEVER, _DECIDED),
    Reason.EXPERIMENT_STOPPED: Policy(Way.NEVER, _DECIDED),
    Reason.ROW_REFUSED: Policy(Way.ROW, "mend the table or the message; readers of the topic have it already"),
    Reason.LABEL_INVALID: Policy(Way.ROW, "edit the label"),
}
"""Every reason; a letter of a reason that is not here comes from a newer release and is left alone."""


class Past(NamedTuple):
    """What redrives have done with a letter's record so far."""

    is_done: bool = False
    """It was sent again, or its row was written."""
    refusals: int = 0
    """How often its row was tried and refused again."""


NO_PAST: Final = Past()


class Verdict(NamedTuple):
    """Whether a letter is redriven now."""

    goes: bool
    why: str
    """In a few words: how it goes, or why not."""


def policy_of(letter: Letter) -> Policy:
    """Return the policy of a letter's reason."""
    try:
        return POLICIES[Reason(letter["reason"])]
    except ValueError:
        return Policy(Way.NEVER, "a reason of a newer release")


def replays_of(letter: Letter, past: Past = NO_PAST) -> int:
    """Return how often the record behind a letter was sent again, or its row tried again."""
    count = _headers(letter).get(HEADER_REPLAY, b"0")
    return (int(count) if count.isdigit() else 0) + past.refusals


def is_parked(letter: Letter, limit: int, past: Past = NO_PAST) -> bool:
    """Tell whether a letter came back so often that only a person sends it again."""
    return policy_of(letter).way is not Way.NEVER and not past.is_done and replays_of(letter, past) >= limit


def judge(
    letter: Letter,
    payload: bytes | None,
    past: Past,
    limit: int,
    now_ms: int,
    *,
    is_edited: bool = False,
    is_forced: bool = False,
) -> Verdict:
    """Decide whether a letter is redriven.

    Args:
        letter: the letter (contract ``dlq``).
        payload: what would be sent, whole; None where no more than its beginning is left.
        past: of the letter's record.
        limit: replays after which a letter is parked.
        now_ms: the caller's clock, ms since the epoch.
        is_edited: the payload is not the letter's own.
        is_forced: send parked letters and such as will come back; never what was decided or redriven.
    """
    way = policy_of(letter).way
    obstacle = _obstacle(letter, payload, past, is_edited=is_edited)
    if obstacle is None and not is_forced:
        if is_parked(letter, limit, past):
            obstacle = f"parked: came back after {replays_of(letter, past)} replays"
        elif way is not Way.ROW:
            refusal = parse_transaction(payload, now_ms)
            if isinstance(refusal, Rejection):
                obstacle = f"would come back: {refusal.reason}, {refusal.detail}"
    if obstacle is not None:
        return Verdict(goes=False, why=obstacle)
    how = "edited" if is_edited else way.value if way is Way.ROW else Way.AS_IT_IS.value
    return Verdict(goes=True, why=how + (", forced" if is_forced else ""))


def _obstacle(letter: Letter, payload: bytes | None, past: Past, *, is_edited: bool) -> str | None:
    """Return what no force overcomes, ``None`` if nothing does."""
    way, why = policy_of(letter)
    problem: str | None = None
    if way is Way.NEVER:
        problem = f"never: {why}"
    elif past.is_done:
        problem = "redriven already"
    elif payload is None:
        problem = "only its beginning is left: edit it, with the whole from its sender"
    elif way is Way.EDITED and not is_edited:
        problem = f"edited only: {why}"
    elif letter["reason"] == Reason.LABEL_INVALID:
        invalid = label_problem(payload)
        problem = None if invalid is None else f"would come back: {invalid}"
    return problem


def redrive_headers(letter: Letter, run: str) -> list[tuple[str, bytes]]:
    """Return the headers of the record that is sent: the letter's own, and where it comes from."""
    known = _headers(letter)
    origin = known.get(HEADER_ORIGIN, place_of(letter).encode())
    kept = [(name, value) for name, value in known.items() if not name.startswith(HEADER_PREFIX)]
    ours = {
        HEADER_LETTER: str(letter["dlq_id"]).encode(),
        HEADER_ORIGIN: origin,
        HEADER_REPLAY: str(replays_of(letter) + 1).encode(),
        HEADER_RUN: run.encode(),
    }
    return [*kept, *ours.items()]


def parent_of(letter: Letter) -> str | None:
    """Return the ``dlq_id`` of the letter whose redrive came back as this one."""
    name = _headers(letter).get(HEADER_LETTER)
    return None if name is None else name.decode("ascii", "replace")


def place_of(letter: Letter) -> str:
    """Return the coordinates of the record that was set aside: ``topic-partition@offset``."""
    return f"{letter['topic']}-{letter['partition']}@{letter['offset']}"


def customer_of(payload: bytes) -> str | None:
    """Return the customer that a payload names, also where it is not JSON but says so plainly; None without one."""
    try:
        document = orjson.loads(payload)
    except ValueError:
        found = _CUSTOMER.search(payload.decode("utf-8", "replace"))
        return found[1] if found else None
    name = document.get("customer_id") if type(document) is dict else None
    return name if type(name) is str else None


def _headers(letter: Letter) -> dict[str, bytes]:
    return {name: b64decode(value or "") for name, value in letter["headers"]}
