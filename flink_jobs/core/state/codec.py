"""Encodes and decodes the bytes of a customer's state, in every layout that was ever released.

    version (u8) | crc32 of version and body (u32) | body

The header never changes, so a damaged version byte can be distinguished from a newer release. Every released version
stays decodable (the tests decode golden blobs of each). Bytes that fail their checksum raise ``StateCorrupt``. Bytes of
a newer version raise ``StateVersionUnsupported`` and stay stored unchanged.

Version 2 added the fields after the currencies; its head also has the number of categories, the first event time and
the number of transactions. Version 3 puts the older ids before the body of version 2, and their pages after it:

    older ids | body of version 2 | days of the pages | counts of the pages | tail

The ids come first because the checksum can then continue from the checksum of the ids, which is kept up to date with
every id. So the cost of encoding thousands of ids is one copy.

Version 4 is written only for a customer with actions on the account. Its body is the actions (``accounts.standing``),
then all bytes of the state in version 3. All other customers keep version 3, which earlier releases read.
"""

import math
import struct
import sys
import zlib
from array import array
from typing import Final

from flink_jobs.core.accounts.standing import MAX_ACTION_BYTES, read_actions
from flink_jobs.core.features.table import USUAL_SURPRISE
from flink_jobs.core.state.category_habits import MAX_CATEGORIES, CategoryHabits, log_amount
from flink_jobs.core.state.fields import HOUR, ID, MARK, MAX_CURRENCIES, RING_CAPACITY, TIME, StateFields
from flink_jobs.core.state.older_ids import DEFAULT_WINDOW, ID_BYTES, PAGE_BYTES, SLACK, DuplicateWindow, OlderIds
from flink_jobs.core.state.running_stats import RunningStats

STATE_VERSION: Final = 3
"""Version of a state without actions on the account."""
NEWEST_VERSION: Final = 4
"""Version of a state with them, the newest one that this release reads."""
_NEVER: Final = -(2**63)

_HEADER: Final = struct.Struct("<BI")
_HEAD_V1: Final = struct.Struct("<qdd48sBB")
"""Time and coordinates of the last location, hour counts, number of recent transactions, number of currencies."""
_HEAD_V2: Final = struct.Struct("<qdd48sBBBqI")
"""In addition: number of categories, first event time, number of all transactions."""
_CURRENCY_V1: Final = struct.Struct("<3sqdd")
_CURRENCY_V2: Final = struct.Struct("<3sqdddd")
"""Code, count, mean and squared deviations of the amounts; version 2 adds mean and deviations of the logarithms."""
_RECENT_V2: Final = 8 + 8 + 4 + 4
_CATEGORY: Final = 4 + 2 + 4 + 4
_TAIL: Final = struct.Struct("<BHI")
"""Number of latest transactions that arrived in order, number of pages, number of older ids."""
MAX_BYTES_WITHOUT_OLDER: Final = (
    _HEADER.size
    + _HEAD_V2.size
    + _RECENT_V2 * RING_CAPACITY
    + MAX_CURRENCIES * _CURRENCY_V2.size
    + MAX_CATEGORIES * _CATEGORY
    + _TAIL.size
)
"""Size of a full state without older ids, in bytes."""
if sys.byteorder != "little":  # pragma: no cover - no big-endian machine to test on
    raise ImportError("stored states are little-endian, and this machine is big-endian; run on a little-endian machine")


def max_state_bytes(window: DuplicateWindow) -> int:
    """Return the largest size of a state under a window, in bytes; ``ACTIONS_BYTES`` more with actions."""
    older = window.transactions - RING_CAPACITY
    if older <= 0:
        return MAX_BYTES_WITHOUT_OLDER
    return MAX_BYTES_WITHOUT_OLDER + (older + SLACK) * ID_BYTES + (window.days + 2) * PAGE_BYTES


ACTIONS_BYTES: Final = _HEADER.size + MAX_ACTION_BYTES
"""Most bytes that the actions on an account add to a state."""
MAX_STATE_BYTES: Final = max_state_bytes(DEFAULT_WINDOW)
"""Largest size of a state under the default window, in bytes."""


class StateError(Exception):
    """The stored state of a customer cannot be decoded; the message says why."""


class StateCorrupt(StateError):  # noqa: N818 - named after the state
    """The bytes are damaged: the customer starts again without history, and an incident is recorded."""


class StateVersionUnsupported(StateError):  # noqa: N818 - same
    """A newer release wrote the bytes: they stay stored, and the record is rejected for a later redrive."""


def encode(state: StateFields) -> bytes:
    """Encode in at most ``max_state_bytes`` of the window, and ``ACTIONS_BYTES`` more for a customer with actions."""
    actions = state.actions
    if actions is None:
        return _encode_v3(state)
    body = actions.to_bytes() + _encode_v3(state)
    return _HEADER.pack(NEWEST_VERSION, zlib.crc32(body, NEWEST_VERSION)) + body


def _encode_v3(state: StateFields) -> bytes:
    located_at_ms, first_seen_ms, habits = state.located_at_ms, state.first_seen_ms, state.habits
    parts = [
        _HEAD_V2.pack(
            _NEVER if located_at_ms is None else located_at_ms,
            state.latitude,
            state.longitude,
            state.hour_counts.tobytes(),
            len(state.recent_times_ms),
            len(state.amounts),
            len(habits.keys),
            _NEVER if first_seen_ms is None else first_seen_ms,
            state.seen_count,
        ),
        state.recent_times_ms.tobytes(),
        state.recent_ids.tobytes(),
    ]
    logs = state.log_amounts
    for currency, stats in state.amounts.items():
        log_stats = logs[currency]
        parts.append(
            _CURRENCY_V2.pack(currency.encode(), stats.count, stats.mean, stats.m2, log_stats.mean, log_stats.m2)
        )
    parts += [
        state.recent_surprises.tobytes(),
        state.recent_multiples.tobytes(),
        habits.keys.tobytes(),
        habits.counts.tobytes(),
        habits.means.tobytes(),
        habits.m2s.tobytes(),
    ]
    older = state.older
    if older is None:
        parts.append(_TAIL.pack(state.in_order_count, 0, 0))
        body = b"".join(parts)
        return _HEADER.pack(STATE_VERSION, zlib.crc32(body, STATE_VERSION)) + body
    parts += [
        older.page_days.tobytes(),
        older.page_counts.tobytes(),
        _TAIL.pack(state.in_order_count, len(older.page_days), len(older.tags)),
    ]
    rest = b"".join(parts)
    return b"".join([_HEADER.pack(STATE_VERSION, zlib.crc32(rest, older.checksum)), older.ids, rest])


def decode_into(state: StateFields, blob: bytes) -> None:
    """Decode bytes of any released version and set every field of a state.

    Raises:
        StateCorrupt: the bytes are too short, their length differs from the announced one, or their checksum does.
        StateVersionUnsupported: a newer release wrote the bytes.
    """
    if len(blob) < _HEADER.size:
        raise StateCorrupt(f"{len(blob)} bytes, shorter than the header")
    version, checksum = _HEADER.unpack_from(blob)
    body = blob[_HEADER.size :]
    if zlib.crc32(body, version) != checksum:
        raise StateCorrupt(f"checksum of {len(blob)} bytes differs")
    if version > NEWEST_VERSION:
        raise StateVersionUnsupported(
            f"a newer release wrote state version {version}; this release reads versions up to {NEWEST_VERSION}"
        )
    if version == 0:  # five zero bytes have a valid checksum
        raise StateCorrupt("state version 0 was never written")
    try:
        if version == 1:
            _decode_v1(state, body)
        elif version == 2:  # noqa: PLR2004 - a version
            _decode_v2(state, body)
        elif version == STATE_VERSION:
            _decode_v3(state, body)
        else:
            _decode_v4(state, body)
    except (struct.error, ValueError) as error:
        raise StateCorrupt(f"the body has {len(body)} bytes, which does not match the counts in its head") from error


def _decode_v4(state: StateFields, body: bytes) -> None:
    """Decode version 4: actions on the account, then a whole state of version 3."""
    actions, end = read_actions(body)
    if body[end : end + 1] != bytes([STATE_VERSION]):
        raise ValueError("version")
    decode_into(state, body[end:])
    state.actions = actions


def _decode_v3(state: StateFields, body: bytes) -> None:
    """Decode version 3: the older ids and their pages around the body of version 2."""
    tail_at = len(body) - _TAIL.size
    if tail_at < 0:
        raise ValueError("length")
    in_order_count, n_pages, n_older = _TAIL.unpack_from(body, tail_at)
    ids_end = ID_BYTES * n_older
    counts_at = tail_at - PAGE_BYTES // 2 * n_pages
    days_at = counts_at - PAGE_BYTES // 2 * n_pages
    if ids_end > days_at or (n_pages == 0) != (n_older == 0):
        raise ValueError("length")
    _decode_v2(state, body[ids_end:days_at])
    if n_older:
        state.older = OlderIds(STATE_VERSION, body[:ids_end], body[days_at:counts_at], body[counts_at:tail_at])
    state.in_order_count = in_order_count


def _decode_v2(state: StateFields, body: bytes) -> None:
    """Decode version 2, which had no older ids and did not count the transactions that arrived in order."""
    located_at_ms, latitude, longitude, hours, n_recent, n_currencies, n_habits, first_seen_ms, count = (
        _HEAD_V2.unpack_from(body)
    )
    ids_at = _HEAD_V2.size + 8 * n_recent
    currency_at = ids_at + 8 * n_recent
    marks_at = currency_at + n_currencies * _CURRENCY_V2.size
    multiples_at = marks_at + 4 * n_recent
    keys_at = multiples_at + 4 * n_recent
    counts_at = keys_at + 4 * n_habits
    means_at = counts_at + 2 * n_habits
    m2s_at = means_at + 4 * n_habits
    if n_recent > RING_CAPACITY or n_habits > MAX_CATEGORIES or len(body) != m2s_at + 4 * n_habits:
        raise ValueError("length")
    amounts: dict[str, RunningStats] = {}
    log_amounts: dict[str, RunningStats] = {}
    for offset in range(currency_at, marks_at, _CURRENCY_V2.size):
        code, tally, mean, m2, log_mean, log_m2 = _CURRENCY_V2.unpack_from(body, offset)
        currency = code.decode()
        amounts[currency] = RunningStats(tally, mean, m2)
        log_amounts[currency] = RunningStats(tally, log_mean, log_m2)
    _set_head(state, located_at_ms, latitude, longitude, hours)
    state.recent_times_ms = array(TIME, body[_HEAD_V2.size : ids_at])
    state.recent_ids = array(ID, body[ids_at:currency_at])
    state.amounts = amounts
    state.log_amounts = log_amounts
    state.recent_surprises = array(MARK, body[marks_at:multiples_at])
    state.recent_multiples = array(MARK, body[multiples_at:keys_at])
    state.habits = CategoryHabits(
        body[keys_at:counts_at], body[counts_at:means_at], body[means_at:m2s_at], body[m2s_at:]
    )
    state.first_seen_ms = None if first_seen_ms == _NEVER else first_seen_ms
    state.seen_count = count
    state.in_order_count = 0
    state.older = None


def _decode_v1(state: StateFields, body: bytes) -> None:
    """Decode the layout of the first release.

    It has no categories and no surprises: the categories start empty, the surprises at their usual value. The recent
    transactions give the count and the first event time, so that a customer's usual rate is right from the first
    transaction after the upgrade. The logarithms of the amounts are those of a log-normal distribution with the stored
    mean and variance.
    """
    located_at_ms, latitude, longitude, hours, n_recent, n_currencies = _HEAD_V1.unpack_from(body)
    ids_at = _HEAD_V1.size + 8 * n_recent
    currency_at = ids_at + 8 * n_recent
    if n_recent > RING_CAPACITY or len(body) != currency_at + n_currencies * _CURRENCY_V1.size:
        raise ValueError("length")
    times = array(TIME, body[_HEAD_V1.size : ids_at])
    amounts: dict[str, RunningStats] = {}
    for offset in range(currency_at, len(body), _CURRENCY_V1.size):
        code, count, mean, m2 = _CURRENCY_V1.unpack_from(body, offset)
        amounts[code.decode()] = RunningStats(count, mean, m2)
    _set_head(state, located_at_ms, latitude, longitude, hours)
    state.recent_times_ms = times
    state.recent_ids = array(ID, body[ids_at:currency_at])
    state.amounts = amounts
    state.log_amounts = {currency: _log_normal(stats) for currency, stats in amounts.items()}
    state.recent_surprises = array(MARK, [USUAL_SURPRISE] * n_recent)
    state.recent_multiples = array(MARK, [1.0] * n_recent)
    state.habits = CategoryHabits()
    state.first_seen_ms = times[0] if times else None
    state.seen_count = n_recent
    state.in_order_count = 0
    state.older = None


def _set_head(state: StateFields, located_at_ms: int, latitude: float, longitude: float, hours: bytes) -> None:
    """Set the fields that every version begins with; earlier versions than 4 have no actions."""
    state.actions = None
    state.located_at_ms = None if located_at_ms == _NEVER else located_at_ms
    state.latitude = latitude
    state.longitude = longitude
    state.hour_counts = array(HOUR, hours)


def _log_normal(stats: RunningStats) -> RunningStats:
    """Return the statistics of the logarithms, for log-normal amounts with these statistics."""
    variance = 0.0
    if stats.count > 1 and stats.mean > 0.0 and stats.m2 > 0.0:
        variance = math.log1p(stats.m2 / (stats.count - 1) / stats.mean**2)
    return RunningStats(
        stats.count, log_amount(max(stats.mean, 0.0)) - variance / 2.0, variance * max(stats.count - 1, 0)
    )
