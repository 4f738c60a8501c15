"""Packs records as the SQL of the Kafka source does, for tests that feed the detector directly."""

from flink_jobs.core.parsing.source_record import SourceRecord


def pack_record(record: SourceRecord) -> str:
    """Return the packed string of a record.

    Raises:
        ValueError: the routing key has a line feed, which the source replaces before it routes.
    """
    flag = flag_of(record)
    value = flag if record.payload is None else flag + record.payload.decode("latin-1")
    if "\n" in record.routing_key:
        raise ValueError("the routing key holds a line feed; the source replaces it before routing")
    fields = (str(record.partition), str(record.offset), record.timestamp, record.headers, record.routing_key, value)
    return "\n".join(fields)


def flag_of(record: SourceRecord) -> str:
    """Return what the source writes before a payload; an action on an account has its flag in small letters."""
    whole, payload = record.whole, record.payload
    if payload is None:
        flag = "N"
    elif whole is None or (whole.is_action and len(payload) == whole.length):
        flag = "V"
    else:
        flag = f"L{whole.length}\n{whole.sha256}\n"
    return flag[:1].lower() + flag[1:] if whole is not None and whole.is_action else flag
