"""The frame of a merchant's stored states: ``version (u8) | crc32 of version and body (u32) | body``."""

import struct
import zlib
from typing import Final

from flink_jobs.core.state.codec import StateCorrupt, StateVersionUnsupported

_HEADER: Final = struct.Struct("<BI")
HEADER_BYTES: Final = _HEADER.size


def seal(version: int, body: bytes) -> bytes:
    """Return the stored form of a body."""
    return _HEADER.pack(version, _checksum(version, body)) + body


def unseal(blob: bytes, version: int, shortest: int, what: str) -> bytes:
    """Return the body of a stored form.

    Args:
        blob: the stored form.
        version: the only version that this release reads.
        shortest: fewest bytes of a body.
        what: name of the state of the merchant in errors, such as ``state``.

    Raises:
        StateCorrupt: the bytes are too short, or their checksum differs.
        StateVersionUnsupported: another release wrote them.
    """
    if len(blob) < HEADER_BYTES + shortest:
        raise StateCorrupt(f"{len(blob)} bytes are no {what} of a merchant")
    found, checksum = _HEADER.unpack_from(blob)
    body = blob[HEADER_BYTES:]
    if _checksum(found, body) != checksum:
        raise StateCorrupt(f"the checksum of a merchant's {what} does not match")
    if found != version:
        raise StateVersionUnsupported(f"version {found} of a merchant's {what}; this release reads version {version}")
    return body


def _checksum(version: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(bytes((version,))))
