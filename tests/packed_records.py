"""Packs records as the SQL of the Kafka source does, for tests that feed the detector directly."""

from flink_jobs.core.parsing.source_record import SourceRecord


def pack_record(record: SourceRecord) -> str:
    """Return the packed string of a record.

    Raises:
        ValueError: the routing key has a line feed, which the source replaces before it routes.
    """
    whole = record.whole
    flag = "V" if whole is None else f"L{whole.length}\n{whole.sha256}\n"
    value = "N" if record.payload is None else flag + record.payload.decode("latin-1")
    if "\n" in record.routing_key:
        raise ValueError("the routing key holds a line feed; the source replaces it before routing")
    fields = (str(record.partition), str(record.offset), record.timestamp, record.headers, record.routing_key, value)
    return "\n".join(fields)
