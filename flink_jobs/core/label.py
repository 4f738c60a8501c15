"""Labels: findings about transactions (contract ``labels``), and the check of bytes that should be one.

Other programs write to ``.labels`` too, and models are trained on these labels: every field is checked against the
contract.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Literal, NotRequired, TypedDict

from flink_jobs.core.documents import Finding
from flink_jobs.core.parsing.contract_object import contract_object
from flink_jobs.core.parsing.purchase_ids import ID_LIMITS, purchase_id
from flink_jobs.core.parsing.transactions import MAX_CLOCK_SKEW_MS, MAX_MERCHANT_CHARS, MIN_EVENT_TIME_MS
from flink_jobs.core.texts import composed_within, has_no_control

LABEL_SCHEMA_VERSION: Final = 1
LABEL_OF_MERCHANT_VERSION: Final = 2
"""Version 2 has the merchant and the event time of the transaction; a label without them stays in version 1."""
LABEL_WITH_IDS_VERSION: Final = 3
"""Version 3 has the event time and a terminal, device or card; a label without these three stays in version 1 or 2."""
_MAX_TIME_MS: Final = 253_402_300_799_999
_LIMITS: Final = {"transaction_id": 64, "customer_id": 64, "source": 64, "labelled_by": 256, "comment": 1_000}
_FIELDS: Final = (
    "transaction_id", "customer_id", "label", "source", "labelled_at_ms", "labelled_by", "comment", "merchant",
    "event_time_ms", *ID_LIMITS,
)  # fmt: skip
_LONGEST_ID: Final = 128
FUTURE: Final = "labelled_at_ms is more than a day in the future"


class LabelDocument(TypedDict):
    """What a person found out about one transaction (contract ``labels`` v3)."""

    schema_version: Literal[1, 2, 3]
    """3 exactly with a terminal, device or card, else 2 exactly with ``merchant``: any other label is of version 1."""
    label_id: str
    transaction_id: str
    customer_id: str
    label: Finding
    source: str
    labelled_at_ms: int
    labelled_by: str
    comment: str | None
    merchant: NotRequired[str]
    event_time_ms: NotRequired[int]
    terminal: NotRequired[str]
    """As in the decision, like ``device`` and ``card``; each only where it is known."""
    device: NotRequired[str]
    card: NotRequired[str]


@dataclass(frozen=True, slots=True)
class Label:
    """A label of one transaction.

    Raises:
        ValueError: a field is not what the contract allows.
    """

    transaction_id: str
    customer_id: str
    label: Finding
    source: str
    labelled_at_ms: int
    labelled_by: str
    comment: str | None = None
    merchant: str | None = None
    """Merchant of the transaction, in Unicode normal form C as in its decision."""
    event_time_ms: int | None = None
    """Event time of the transaction, given exactly where the merchant, terminal, device or card is."""
    terminal: str | None = None
    """As in the decision, like ``device`` and ``card``: a card is a token or masked, never a number in the clear."""
    device: str | None = None
    card: str | None = None

    def __post_init__(self) -> None:
        """Check every field against the contract: a label is not checked again before training."""
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            if value is None and name == "comment":
                continue
            if type(value) is not str or not 0 < len(value) <= limit or not has_no_control(value):
                raise ValueError(f"{name} must be 1 to {limit} characters without control characters")
        if type(self.labelled_at_ms) is not int or not 0 <= self.labelled_at_ms <= _MAX_TIME_MS:
            raise ValueError("labelled_at_ms must be milliseconds since the epoch, up to the year 9999")
        if self.labelled_at_ms < MIN_EVENT_TIME_MS:
            raise ValueError("labelled_at_ms is before 2000-01-01; is it in seconds instead of milliseconds?")
        self._check_ids()
        if self.merchant is not None:
            self._check_merchant(self.merchant)
        if self.merchant is None and not self.ids() and self.event_time_ms is None:
            return
        self._check_event_time(self.event_time_ms)

    def ids(self) -> dict[str, str]:
        """Return terminal, device and card by name, those that are known."""
        ids = {"terminal": self.terminal, "device": self.device, "card": self.card}
        return {name: value for name, value in ids.items() if value is not None}

    def _check_ids(self) -> None:
        for name, value in self.ids().items():
            known = purchase_id(name, value)
            if known is None:
                raise ValueError(f"{name} must be 1 to {ID_LIMITS[name]} characters without control characters")
            if known != value:
                form = "a token or **** and the last four digits, not a card number" if name == "card" else "normal"
                raise ValueError(f"{name} must have the form of the decision ({form}, Unicode normal form C)")

    def _check_event_time(self, time_ms: object) -> None:
        if time_ms is None:
            raise ValueError("event_time_ms must be given with merchant, terminal, device or card")
        if self.merchant is None and not self.ids():
            raise ValueError("event_time_ms must come with a merchant, terminal, device or card")
        if type(time_ms) is not int or not MIN_EVENT_TIME_MS <= time_ms <= _MAX_TIME_MS:
            raise ValueError("event_time_ms must be milliseconds since the epoch, from 2000 to the year 9999")

    @staticmethod
    def _check_merchant(merchant: str) -> None:
        limit = MAX_MERCHANT_CHARS
        if type(merchant) is not str or not 0 < len(merchant) <= limit or not has_no_control(merchant):
            raise ValueError(f"merchant must be 1 to {limit} characters without control characters")
        if composed_within(merchant, limit) != merchant:
            raise ValueError("merchant must be in Unicode normal form C, as in the decision")

    @property
    def id(self) -> str:
        """Id of the label; the same label always has the same id."""
        parts = (self.customer_id, self.transaction_id, self.label, self.source, str(self.labelled_at_ms))
        return "lb_" + blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()

    def is_future(self, now_ms: int) -> bool:
        """Return whether the label became known more than a day after ``now_ms``, the clock: an impossible time."""
        return self.labelled_at_ms > now_ms + MAX_CLOCK_SKEW_MS

    def document(self) -> LabelDocument:
        """Return the message for the topic."""
        document = self._document()
        if self.event_time_ms is None:
            return document
        document["schema_version"] = LABEL_OF_MERCHANT_VERSION
        if self.merchant is not None:
            document["merchant"] = self.merchant
        document["event_time_ms"] = self.event_time_ms
        if self.ids():
            document["schema_version"] = LABEL_WITH_IDS_VERSION
            if self.terminal is not None:
                document["terminal"] = self.terminal
            if self.device is not None:
                document["device"] = self.device
            if self.card is not None:
                document["card"] = self.card
        return document

    def _document(self) -> LabelDocument:
        return {
            "schema_version": LABEL_SCHEMA_VERSION,
            "label_id": self.id,
            "transaction_id": self.transaction_id,
            "customer_id": self.customer_id,
            "label": self.label,
            "source": self.source,
            "labelled_at_ms": self.labelled_at_ms,
            "labelled_by": self.labelled_by,
            "comment": self.comment,
        }


def time_of_known(event_time_ms: int | None, *known: str | None) -> int | None:
    """Return the event time for a label with these values; ``None`` where none of them is known.

    Args:
        event_time_ms: event time of the transaction, ms since the epoch.
        known: merchant, terminal, device and card.

    >>> time_of_known(1_700_000_000_000, None, "till-4"), time_of_known(1_700_000_000_000, None)
    (1700000000000, None)
    """
    return None if all(value is None for value in known) else event_time_ms


def label_problem(payload: bytes | None, now_ms: int | None = None) -> str | None:
    """Return why bytes are not a valid label, ``None`` for a valid one; never quotes a value.

    Args:
        payload: the bytes.
        now_ms: the caller's clock, ms since the epoch: a label of the future would be the latest label until then, and
            is not valid. ``None``: the check is left out.

    A producer can choose its own ``label_id``. The field is required: without it, a redelivered label would count as
    two labels.
    """
    document = contract_object(payload, LABEL_SCHEMA_VERSION, LABEL_OF_MERCHANT_VERSION, LABEL_WITH_IDS_VERSION)
    if isinstance(document, str):
        return document
    misplaced = _misplaced(document)
    if misplaced is not None:
        return misplaced
    label_id = document.get("label_id")
    if type(label_id) is not str or not 0 < len(label_id) <= _LONGEST_ID or not has_no_control(label_id):
        return f"label_id must be 1 to {_LONGEST_ID} characters without control characters"
    if document.get("label") not in list(Finding):
        return "label must be fraud or genuine"
    try:
        fields: Any = {name: document.get(name) for name in _FIELDS}
        label = Label(**fields)
    except ValueError as problem:
        return str(problem)
    return FUTURE if now_ms is not None and label.is_future(now_ms) else None


def _misplaced(document: dict[str, Any]) -> str | None:
    """Return why the fields about the transaction do not belong to the version of a document."""
    version, named = document["schema_version"], [name for name in ID_LIMITS if name in document]
    if (version == LABEL_WITH_IDS_VERSION) != bool(named):
        return "terminal, device and card are fields of schema_version 3, which requires one of them"
    if version != LABEL_WITH_IDS_VERSION and (version == LABEL_OF_MERCHANT_VERSION) != ("merchant" in document):
        return "merchant and event_time_ms are fields of schema_version 2, which requires them"
    if version == LABEL_SCHEMA_VERSION and "event_time_ms" in document:
        return "merchant and event_time_ms are fields of schema_version 2, which requires them"
    empty = [name for name in ("merchant", "event_time_ms", *named) if name in document and document[name] is None]
    return f"{empty[0]} must have a value; leave it out where it is unknown" if empty else None
