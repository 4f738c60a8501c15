"""Dead letters: what could not be decided, with everything needed to understand, redrive or replay it.

A letter holds the payload byte for byte (as text where it is UTF-8 without NUL, which Postgres refuses; as base64
otherwise) up to 10 KB, and always its full length and SHA-256. A record without a value keeps ``null``.
"""

from base64 import b64decode, b64encode
from hashlib import blake2b, sha256
from typing import Final

import orjson

from flink_jobs.core.documents import DeadLetterDocument, PayloadEncoding
from flink_jobs.core.parsing.source_record import SourceRecord
from flink_jobs.core.reasons import DeadLetterReason, Disposition, PipelineStage

DLQ_SCHEMA_VERSION: Final = 2
MAX_PAYLOAD_KEPT_BYTES: Final = 10_240
MAX_DETAIL_CHARS: Final = 500


def build_dlq_record(
    record: SourceRecord,
    reason: DeadLetterReason,
    stage: PipelineStage,
    detail: str,
    disposition: Disposition,
    now_ms: int,
) -> DeadLetterDocument:
    """Build the dead letter of a record (contract ``dlq`` v2).

    ``dlq_id`` depends only on the coordinates and the reason, so a replay after a failure writes the same letter and
    an idempotent sink keeps one.

    Args:
        record: the record as it came from Kafka.
        reason: why it is set aside.
        stage: where on its way that happened.
        detail: for a person: what was wrong and where; cut at 500 characters.
        disposition: what the letter means for the ledger.
        now_ms: the job's clock, ms since the epoch.
    """
    payload = record.payload or b""
    kept = payload[:MAX_PAYLOAD_KEPT_BYTES]
    length, digest = record.whole or (len(payload), sha256(payload).hexdigest())
    text: str | None = None
    encoding: PayloadEncoding = "utf-8"
    if record.payload is not None:
        text, encoding = _as_text(kept)
    return {
        "schema_version": DLQ_SCHEMA_VERSION,
        "dlq_id": _dlq_id(record, reason),
        "disposition": disposition,
        "reason": reason,
        "stage": stage,
        "detail": _storable(detail[:MAX_DETAIL_CHARS]),
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "headers": [(_storable(name), value) for name, value in record.header_list],
        "payload": text,
        "payload_encoding": encoding,
        "payload_length": length,
        "payload_sha256": digest,
        "payload_truncated": len(kept) < length,
        "processing_time_ms": now_ms,
    }


def encode_dlq_record(letter: DeadLetterDocument) -> str:
    """Encode a dead letter for the topic."""
    return orjson.dumps(letter).decode()


def letter_payload(letter: DeadLetterDocument) -> bytes:
    """Return the payload bytes that a dead letter keeps; a tombstone has none."""
    payload = letter["payload"]
    if payload is None:
        return b""
    return b64decode(payload) if letter["payload_encoding"] == "base64" else payload.encode()


def _storable(text: str) -> str:
    """Replace what JSON in UTF-8 or a database cannot hold: lone surrogates and NUL."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def _as_text(payload: bytes) -> tuple[str, PayloadEncoding]:
    """Return the payload as UTF-8 text if it is that and a database can hold it, else as base64."""
    if b"\0" not in payload:
        try:
            return payload.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            pass
    return b64encode(payload).decode("ascii"), "base64"


def _dlq_id(record: SourceRecord, reason: DeadLetterReason) -> str:
    coordinates = f"{record.topic}\x1f{record.partition}\x1f{record.offset}\x1f{reason}"
    return "dl_" + blake2b(coordinates.encode(), digest_size=16).hexdigest()
