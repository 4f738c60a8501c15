"""Hypothesis strategies: everything the tests generate, in one place."""

from ipaddress import ip_address
from typing import Any
from unicodedata import normalize

import orjson
from hypothesis import strategies as st

from flink_jobs.contracts.topic_contracts import load_contracts
from flink_jobs.core.control.blacklist import Blacklist
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.control.experiment import Experiment, GuardBand, ModelRef
from flink_jobs.core.currencies import MINOR_UNITS
from flink_jobs.core.parsing.purchase_ids import MAX_DEVICE_CHARS, MAX_TERMINAL_CHARS
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.parsing.transactions import (
    MAX_AMOUNT_MINOR,
    MAX_CATEGORY_CHARS,
    MAX_CHANNEL_CHARS,
    MAX_CLOCK_SKEW_MS,
    MAX_IDENTIFIER_CHARS,
    MAX_MERCHANT_CHARS,
    MIN_EVENT_TIME_MS,
)
from flink_jobs.core.rules import RULES, RuleSetting
from flink_jobs.core.state.customer import CustomerFraudState, transaction_fingerprint
from flink_jobs.core.texts import has_no_control
from flink_jobs.core.transaction import Transaction

NOW_MS = 1_767_225_600_000
"""The clock of the tests: 2026-01-01T00:00Z."""
LATEST_MS = NOW_MS + MAX_CLOCK_SKEW_MS
TOPIC = "streamflow.transactions"

Document = dict[str, Any]
CONTRACTS = load_contracts()


def printable(max_size: int) -> st.SearchStrategy[str]:
    """Texts that ``str.isprintable`` accepts, of any script, not only spaces."""
    letters = st.characters(exclude_categories=["Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"])
    return st.text(letters | st.just(" "), min_size=1, max_size=max_size).filter(lambda text: not text.isspace())


identifiers = printable(MAX_IDENTIFIER_CHARS)
currencies = st.sampled_from(sorted(MINOR_UNITS))
amounts_minor = st.integers(0, MAX_AMOUNT_MINOR) | st.integers(0, 100_000)
event_times_ms = st.integers(MIN_EVENT_TIME_MS, LATEST_MS)
locations = st.fixed_dictionaries(
    {
        "lat": st.floats(-90, 90, allow_subnormal=False) | st.integers(-90, 90),
        "lon": st.floats(-180, 180, allow_subnormal=False) | st.integers(-180, 180),
    }
)
countries = st.from_regex(r"[A-Z]{2}", fullmatch=True)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)

documents: st.SearchStrategy[Document] = st.fixed_dictionaries(
    {
        "transaction_id": identifiers,
        "customer_id": identifiers,
        "amount_minor": amounts_minor,
        "currency": currencies,
        "event_time_ms": event_times_ms,
    },
    optional={
        "merchant": st.none() | printable(MAX_MERCHANT_CHARS),
        "category": st.none() | printable(MAX_CATEGORY_CHARS),
        "channel": st.none() | printable(MAX_CHANNEL_CHARS),
        "country": st.none() | countries,
        "location": st.none() | locations,
        "schema_version": st.none() | st.just(2),
        "terminal": st.none() | printable(MAX_TERMINAL_CHARS),
        "device": st.none() | printable(MAX_DEVICE_CHARS),
        # One token has no more than twelve digits in a row, so none is a card number.
        "card": st.none() | st.from_regex(r"tok_[a-z0-9]{1,12}", fullmatch=True),
        "ip": st.none() | st.ip_addresses().map(str),
    },
)
"""Valid wire documents (contract ``transactions`` v2)."""

KNOWN_FIELDS = (
    "transaction_id", "customer_id", "amount_minor", "currency", "event_time_ms",
    "merchant", "category", "channel", "country", "location", "schema_version", "terminal", "device", "card", "ip",
)  # fmt: skip

unknown_fields: st.SearchStrategy[Document] = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12).filter(lambda name: name not in KNOWN_FIELDS),
    json_values,
    max_size=4,
)


@st.composite
def mutated_documents(draw: st.DrawFn) -> Document:
    """Valid documents with up to three fields replaced by any JSON value, or removed."""
    document = dict(draw(documents))
    for field in draw(st.lists(st.sampled_from(KNOWN_FIELDS), min_size=1, max_size=3)):
        if draw(st.booleans()):
            document[field] = draw(json_values)
        else:
            document.pop(field, None)
    return document


def _address(value: object) -> str | None:
    """Return an IP address in normal form, ``None`` for any other value."""
    try:
        address = ip_address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    return None if address is None else str(getattr(address, "ipv4_mapped", None) or address)


def as_transaction(document: Document) -> Transaction:
    """Return what a valid document means, by an independent reading of the contract."""
    location = document.get("location") or {}
    if not (location.get("lat") or location.get("lon")):
        location = {}  # 0, 0 means no location
    limits = {"merchant": 128, "category": 64, "channel": 32, "terminal": 64, "device": 128, "card": 64}
    ids = {name: text for name, text in document.items() if name in {"terminal", "device", "card"}}
    # Version 1 allows additional fields of any form: such a value counts as unknown.
    ids = {
        name: text
        for name, text in ids.items()
        if isinstance(text, str) and 0 < len(text) <= limits[name] and text.strip() and has_no_control(text)
    }
    named = {name: document.get(name) for name in ("merchant", "category", "channel")} | ids
    texts = {
        name: text if text is None or len(normalize("NFC", text)) > limits[name] else normalize("NFC", text)
        for name, text in named.items()
    }
    unknown = dict.fromkeys(("terminal", "device", "card"))
    values = {
        **document,
        **unknown,
        **texts,
        "ip": _address(document.get("ip")),
        "latitude": location.get("lat"),
        "longitude": location.get("lon"),
    }
    return Transaction._make(values.get(name) for name in Transaction._fields)


@st.composite
def histories(draw: st.DrawFn, max_size: int = 60) -> list[Transaction]:
    """Transactions of one customer in order of arrival: some late, some redelivered, in up to six currencies."""
    start_ms = draw(st.integers(MIN_EVENT_TIME_MS, NOW_MS - 10**10))
    codes = st.sampled_from(["USD", "USD", "USD", "EUR", "JPY", "KWD", "GBP", "CLF"])
    # The parser makes 0, 0 a transaction without a location.
    places = st.none() | st.tuples(st.floats(-90, 90), st.floats(-180, 180)).filter(any)
    gaps_ms = st.sampled_from([0, 1, 1_000, 60_000, 3_599_999, 3_600_000, 3_600_001, 7_200_000, 90_000_000, -5_000_000])
    time_ms = start_ms
    history: list[Transaction] = []
    for index in range(draw(st.integers(0, max_size))):
        time_ms = max(MIN_EVENT_TIME_MS, time_ms + draw(gaps_ms))
        place = draw(places)
        name = f"t-{index if draw(st.integers(0, 9)) else max(0, index - 1)}"
        latitude, longitude = place if place is not None else (None, None)
        amount = draw(st.sampled_from([0, 1, 999, 100_000, MAX_AMOUNT_MINOR]) | st.integers(0, 10_000))
        merchant = draw(st.sampled_from([None, "m-1", "m-2"]))
        category = draw(st.sampled_from([None, *[f"k-{number}" for number in range(20)]]))
        ids = draw(st.sampled_from([(), (), ("term-1", None, "tok-1", None), (None, "d-1", "****1111", "192.0.2.1")]))
        history.append(
            Transaction(
                name, "c-1", amount, draw(codes), time_ms, merchant, category, latitude, longitude, "pos", "US", *ids
            )
        )
    return history


def state_after(history: list[Transaction]) -> CustomerFraudState:
    """Return the state that has observed a history, redeliveries left out."""
    state = CustomerFraudState()
    for transaction in history:
        fingerprint = transaction_fingerprint(transaction.transaction_id)
        if not state.has_seen(fingerprint):
            amount = transaction.amount_minor / MINOR_UNITS[transaction.currency]
            state.observe(transaction, amount, fingerprint)
    return state


states = histories().map(state_after)

ratios = st.floats(0, 1)
configs = st.builds(
    DetectionConfig,
    alpha=ratios,
    alert_threshold=ratios,
    alpha_is_set=st.booleans(),
    threshold_is_set=st.booleans(),
    rules=st.fixed_dictionaries(
        {
            rule.id: st.builds(
                RuleSetting,
                enabled=st.booleans(),
                weight=ratios,
                threshold=st.floats(-1e6, 1e6),
            )
            for rule in RULES
        }
    ),
    blacklist=st.builds(
        Blacklist,
        customer=st.frozensets(identifiers, max_size=3),
        merchant=st.frozensets(printable(20) | st.just("m-1"), max_size=3),
        country=st.frozensets(countries, max_size=3),
    ),
    model_version=st.none() | st.just("if-20260101"),
    model_digest=st.none() | st.just("0" * 64),
    shadow_model=st.none() | st.builds(ModelRef, st.just("if-20260102"), st.just("1" * 64)),
    experiment=st.none()
    | st.builds(
        Experiment,
        st.just("spring"),
        st.just("gb-1"),
        st.just("2" * 64),
        ratios,
        st.builds(GuardBand, st.integers(20, 10**5), st.floats(1, 1e3), st.floats(1e-3, 1), ratios),
    ),
    revision=st.integers(0, 10**6),
    control_ids=st.lists(printable(20), max_size=5).map(tuple),
)


def wire(document: Document) -> bytes:
    """Encode a document as a producer does."""
    return orjson.dumps(document)


def document_of(transaction: Transaction) -> Document:
    """Return the wire document of a transaction."""
    document = {
        name: value
        for name, value in transaction._asdict().items()
        if value is not None and name not in {"latitude", "longitude"}
    }
    if transaction.latitude is not None:
        document["location"] = {"lat": transaction.latitude, "lon": transaction.longitude}
    return document


def record_of(
    payload: bytes | None, routing_key: str = "c-1", offset: int = 7, headers: str = "", timestamp: str = ""
) -> SourceRecord:
    """Return a record of the transactions topic."""
    return SourceRecord(payload, 2, offset, timestamp or "2026-01-01 00:00:00.123", headers, routing_key, TOPIC)


@st.composite
def archived_documents(draw: st.DrawFn, topic: str) -> Document:
    """Documents of any version of an archived topic, with up to three fields replaced by any JSON value, or removed."""
    document = dict(draw(st.sampled_from(CONTRACTS[topic].examples)).document)
    for field in draw(st.lists(st.sampled_from(sorted(document)), max_size=3)):
        if draw(st.booleans()):
            document.pop(field, None)
        else:
            document[field] = draw(json_values | st.text(st.characters(exclude_categories=["Cs"])))
    return document
