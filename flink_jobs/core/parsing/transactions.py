"""Parses the bytes of a transaction: ``bytes -> Transaction | Rejection``.

A valid transaction takes one pass of type and range checks. Only after a failed check does the code search for the
precise reason, so diagnoses cost nothing for valid input. ``avro`` parses Avro records beside JSON ones.
"""

from collections.abc import Callable
from typing import Any, Final

import orjson

from flink_jobs.core.currencies import MINOR_UNITS
from flink_jobs.core.parsing.json_faults import TOO_DEEP, is_too_deep, json_type, why_not_json, wrong_type
from flink_jobs.core.parsing.purchase_ids import with_purchase_ids
from flink_jobs.core.reasons import DeadLetterReason
from flink_jobs.core.texts import composed_within, has_no_control
from flink_jobs.core.transaction import Rejection, Transaction

MAX_PAYLOAD_BYTES: Final = 65_536
MAX_IDENTIFIER_CHARS: Final = 64
MAX_AMOUNT_MINOR: Final = 10**12
MIN_EVENT_TIME_MS: Final = 946_684_800_000
"""2000-01-01T00:00Z. An earlier event time is a wrong unit (seconds sent as milliseconds)."""
MAX_CLOCK_SKEW_MS: Final = 24 * 3600 * 1000
"""Largest time by which an event may be ahead of the job's clock: a day covers local times sent as UTC."""

MAX_MERCHANT_CHARS: Final = 128
MAX_CATEGORY_CHARS: Final = 64
MAX_CHANNEL_CHARS: Final = 32
MAX_LATITUDE: Final = 90.0
MAX_LONGITUDE: Final = 180.0

_BEYOND_INT64: Final = 2.0**63
_TEXT_LIMITS: Final = {
    "merchant": MAX_MERCHANT_CHARS,
    "category": MAX_CATEGORY_CHARS,
    "channel": MAX_CHANNEL_CHARS,
}
_COUNTRY_CHARS: Final = 2
Parser = Callable[[bytes | None, int], Transaction | Rejection]
"""Maps bytes and a clock to a transaction or a rejection."""


def oversize(length: int) -> Rejection:
    """Return the rejection of a payload with too many bytes."""
    return Rejection(DeadLetterReason.OVERSIZE, f"{length} bytes; the limit is {MAX_PAYLOAD_BYTES}")


def parse_transaction(raw: bytes | None, now_ms: int) -> Transaction | Rejection:
    """Parse one JSON transaction (contract ``transactions`` v2, which reads messages of v1 too).

    Args:
        raw: the Kafka record's value, ``None`` for a tombstone.
        now_ms: the caller's clock, ms since the epoch, UTC; it only limits event times in the future.

    Returns:
        The transaction, or the first reason why the bytes are not one. No bytes raise an exception.
    """
    if not raw:
        return _EMPTY
    if len(raw) > MAX_PAYLOAD_BYTES:
        return oversize(len(raw))
    try:
        document = orjson.loads(raw)
    except (ValueError, RecursionError):
        return why_not_json(raw)
    if is_too_deep(raw):
        return TOO_DEEP
    if type(document) is not dict:
        return Rejection(DeadLetterReason.NOT_AN_OBJECT, f"the document is a JSON {json_type(document)}, not an object")
    return checked_transaction(document, now_ms)


def checked_transaction(  # noqa: C901, PLR0911, PLR0912 - one list of checks, read from top to bottom
    document: dict[str, Any], now_ms: int
) -> Transaction | Rejection:
    """Check every field of a decoded document; raise nothing, as ``parse_transaction``."""
    try:
        transaction_id = document["transaction_id"]
        customer_id = document["customer_id"]
        amount_minor = document["amount_minor"]
        currency = document["currency"]
        event_time_ms = document["event_time_ms"]
    except KeyError as missing:
        return Rejection(DeadLetterReason.MISSING_FIELD, f"required field {missing.args[0]} is absent")
    # bool is a subclass of int in Python; ``type(x) is int`` excludes ``true`` from the amounts.
    if not (
        type(transaction_id) is str
        and type(customer_id) is str
        and type(amount_minor) is int
        and type(currency) is str
        and type(event_time_ms) is int
    ):
        return _wrong_required_type(document)
    if not (_is_identifier(transaction_id) and _is_identifier(customer_id)):
        return _BAD_IDENTIFIER
    if not 0 <= amount_minor <= MAX_AMOUNT_MINOR:
        return _bad_amount(amount_minor)
    if currency not in MINOR_UNITS:
        return _UNKNOWN_CURRENCY
    if not MIN_EVENT_TIME_MS <= event_time_ms <= now_ms + MAX_CLOCK_SKEW_MS:
        return _bad_event_time(event_time_ms)
    get = document.get
    merchant, category, channel, country = get("merchant"), get("category"), get("channel"), get("country")
    if not (
        _is_absent_or_text(merchant, MAX_MERCHANT_CHARS)
        and _is_absent_or_text(category, MAX_CATEGORY_CHARS)
        and _is_absent_or_text(channel, MAX_CHANNEL_CHARS)
    ):
        return _bad_text(document)
    if country is not None and not _is_country(country):
        return _bad_country(country)
    latitude: float | None = None
    longitude: float | None = None
    location = get("location")
    if location is not None:
        if type(location) is not dict:
            return wrong_type("location", "an object with lat and lon", location)
        lat, lon = location.get("lat"), location.get("lon")
        if type(lat) is not float or type(lon) is not float:
            problem = _bad_coordinate_type(lat, lon)
            if problem is not None:
                return problem
            lat, lon = float(location["lat"]), float(location["lon"])
        if not (-MAX_LATITUDE <= lat <= MAX_LATITUDE and -MAX_LONGITUDE <= lon <= MAX_LONGITUDE):
            return _OUT_OF_RANGE
        if lat != 0.0 or lon != 0.0:  # 0, 0 is the place that many systems write for "no location"
            latitude, longitude = lat, lon
    fields = (
        transaction_id, customer_id, amount_minor, currency, event_time_ms, _normal(merchant, MAX_MERCHANT_CHARS),
        _normal(category, MAX_CATEGORY_CHARS), latitude, longitude, _normal(channel, MAX_CHANNEL_CHARS), country,
    )  # fmt: skip
    return with_purchase_ids(fields, document)


def _is_identifier(text: str) -> bool:
    return 0 < len(text) <= MAX_IDENTIFIER_CHARS and has_no_control(text) and not text.isspace()


def _is_country(value: object) -> bool:
    return (
        type(value) is str and len(value) == _COUNTRY_CHARS and value.isascii() and value.isalpha() and value.isupper()
    )


def _is_absent_or_text(value: object, limit: int) -> bool:
    return value is None or (type(value) is str and 0 < len(value) <= limit and has_no_control(value))


def _normal(text: str | None, limit: int) -> str | None:
    """Return an optional text in Unicode normal form C, so that one name has one spelling."""
    return text if text is None or text.isascii() else composed_within(text, limit)


# ---- below: only reached after a failed check -------------------------------------------------------------

_EMPTY: Final = Rejection(DeadLetterReason.EMPTY_PAYLOAD, "the record has no value (tombstone or zero bytes)")
_UNKNOWN_CURRENCY: Final = Rejection(
    DeadLetterReason.UNKNOWN_CURRENCY, "currency is not an ISO 4217 code, active or withdrawn"
)
_BAD_IDENTIFIER: Final = Rejection(
    DeadLetterReason.INVALID_TEXT,
    f"transaction_id and customer_id must be 1 to {MAX_IDENTIFIER_CHARS} characters without control characters",
)
_OUT_OF_RANGE: Final = Rejection(
    DeadLetterReason.COORDINATES_OUT_OF_RANGE,
    f"lat must be in [-{MAX_LATITUDE:.0f}, {MAX_LATITUDE:.0f}] and lon in [-{MAX_LONGITUDE:.0f}, {MAX_LONGITUDE:.0f}]",
)


def _wrong_required_type(document: dict[str, Any]) -> Rejection:
    for field in ("transaction_id", "customer_id", "currency"):
        if type(document[field]) is not str:
            return wrong_type(field, "a string", document[field])
    field = "amount_minor" if type(document["amount_minor"]) is not int else "event_time_ms"
    value = document[field]
    if type(value) is float and abs(value) >= _BEYOND_INT64:  # orjson reads larger integers as floats
        return _bad_amount(int(value)) if field == "amount_minor" else _bad_event_time(int(value))
    return wrong_type(field, "an integer", value)


def _bad_amount(amount_minor: int) -> Rejection:
    if amount_minor < 0:
        return Rejection(
            DeadLetterReason.NEGATIVE_AMOUNT,
            "amount_minor is negative: a refund is not scored and changes no statistics of the customer",
        )
    return Rejection(DeadLetterReason.AMOUNT_OUT_OF_RANGE, f"amount_minor is above {MAX_AMOUNT_MINOR}")


def _bad_event_time(event_time_ms: int) -> Rejection:
    if event_time_ms < MIN_EVENT_TIME_MS:
        return Rejection(
            DeadLetterReason.EVENT_TIME_OUT_OF_RANGE,
            "event_time_ms is before 2000-01-01; is it in seconds instead of milliseconds?",
        )
    detail = "event_time_ms is more than a day ahead of the clock of the job"
    if event_time_ms // 1_000_000 >= MIN_EVENT_TIME_MS:
        detail += "; is it in nanoseconds instead of milliseconds?"
    elif event_time_ms // 1_000 >= MIN_EVENT_TIME_MS:
        detail += "; is it in microseconds instead of milliseconds?"
    return Rejection(DeadLetterReason.EVENT_TIME_IN_FUTURE, detail)


def _bad_text(document: dict[str, Any]) -> Rejection:
    """Return the rejection of the first invalid optional text; the caller has found that there is one."""
    field, limit = next((f, n) for f, n in _TEXT_LIMITS.items() if not _is_absent_or_text(document.get(f), n))
    value = document[field]
    if type(value) is not str:
        return wrong_type(field, "a string", value)
    return Rejection(
        DeadLetterReason.INVALID_TEXT, f"{field} must be 1 to {limit} characters without control characters"
    )


def _bad_country(value: object) -> Rejection:
    if type(value) is not str:
        return wrong_type("country", "a string", value)
    return Rejection(DeadLetterReason.INVALID_COUNTRY, "country must be two capital letters (ISO 3166-1 alpha-2)")


def _bad_coordinate_type(latitude: object, longitude: object) -> Rejection | None:
    """Return the rejection of a coordinate that is neither an integer nor a float, ``None`` without one."""
    for name, value in (("lat", latitude), ("lon", longitude)):
        if value is None:
            return Rejection(DeadLetterReason.MISSING_FIELD, f"location.{name} is absent; give both or no location")
        if type(value) not in (int, float):
            return wrong_type(f"location.{name}", "a number of degrees", value)
    return None
