"""The tables of the lake job as SQL: the decisions topic, and the two folders of Parquet files.

The topic is declared twice. The ``json`` format reads each message once into typed columns, but skips messages that are
no JSON object without a trace. The ``raw`` format reads the bytes, so the job finds exactly those messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flink_jobs.kafka.broker import sql_options

if TYPE_CHECKING:
    from flink_jobs.kafka.broker import Broker

DECISIONS: Final = "decisions"
REJECTED: Final = "rejected_decisions"
"""Folder of each table below the lake's path."""
PARTITION: Final = "loaded_on"
"""Column and folder name of the partitions: the UTC day of loading, never of the event."""

REQUIRED: Final = {
    "customer_id": "STRING", "transaction_id": "STRING", "schema_version": "INT", "event_time_ms": "BIGINT",
    "processing_time_ms": "BIGINT", "amount_minor": "BIGINT", "currency": "STRING", "score": "DOUBLE",
    "rule_score": "DOUBLE", "alpha": "DOUBLE", "threshold": "DOUBLE", "is_alert": "BOOLEAN",
    "features": "MAP<STRING, DOUBLE>", "absent": "MAP<STRING, STRING>",
    "reasons": "ARRAY<ROW<`code` STRING, `contribution` DOUBLE>>", "model": "STRING", "ruleset_version": "STRING",
    "config_revision": "BIGINT", "out_of_order_ms": "BIGINT",
}  # fmt: skip
"""Columns that every decision has; a message without one of them, or with a value of another type, is rejected."""
OPTIONAL: Final = {
    "merchant": "STRING", "category": "STRING", "channel": "STRING", "country": "STRING", "ml_score": "DOUBLE",
    "model_version": "STRING", "variant": "STRING",
    "shadow": "ROW<`model_version` STRING, `ml_score` DOUBLE, `score` DOUBLE, `is_alert` BOOLEAN>",
    # Since version 6 of decisions.
    "terminal": "STRING", "device": "STRING", "card": "STRING", "ip": "STRING",
    # Since version 4 of decisions, only of traced ones.
    "traceparent": "STRING",
    # Since version 5 of decisions.
    "fraud_probability": "DOUBLE", "expected_loss_minor": "BIGINT",
    # Since version 3 of decisions; files of older releases have no such column.
    "actions": "ARRAY<ROW<`action_id` STRING, `action` STRING, `scope` STRING, `rule` STRING, `expires_at_ms` BIGINT>>",
}  # fmt: skip
PLACES: Final = {
    "source_topic": "STRING", "source_partition": "INT", "source_offset": "BIGINT",
    "decision_partition": "INT", "decision_offset": "BIGINT",
}  # fmt: skip
"""Coordinates of the transaction's record and of the decision's own record."""
COLUMNS: Final = {**REQUIRED, **OPTIONAL, **PLACES, "loaded_at": "TIMESTAMP_LTZ(3)", PARTITION: "STRING"}

_SOURCE: Final = "ROW<`topic` STRING, `partition` INT, `offset` BIGINT>"
_REJECTED_COLUMNS: Final = {
    "decision_partition": "INT", "decision_offset": "BIGINT", "detail": "STRING", "payload": "BYTES",
    "loaded_at": "TIMESTAMP_LTZ(3)", PARTITION: "STRING",
}  # fmt: skip


def topic_ddl(name: str, columns: dict[str, str], options: str, topic: str, broker: Broker, group_id: str) -> str:
    """Return the statement that declares the decisions topic with a format; only committed messages are read."""
    return f"""
        CREATE TEMPORARY TABLE {name} (
            {_declared(columns)},
            `partition` INT METADATA VIRTUAL,
            `offset` BIGINT METADATA VIRTUAL
        ) WITH (
            'connector' = 'kafka', 'topic' = '{topic}', {options},
            {sql_options(broker.connector())}, 'properties.group.id' = '{group_id}',
            'properties.isolation.level' = 'read_committed',
            'scan.topic-partition-discovery.interval' = '60 s',
            'scan.startup.mode' = 'group-offsets', 'properties.auto.offset.reset' = 'earliest'
        )"""


def message_columns() -> dict[str, str]:
    """Return the fields of a decision message."""
    return {**REQUIRED, **OPTIONAL, "source": _SOURCE}


def folder_ddl(name: str, columns: dict[str, str], path: str) -> str:
    """Return the statement that declares a folder of Parquet files.

    Each checkpoint completes the files since the one before; until then no reader sees them. So a restart neither loses
    nor repeats a row.
    """
    return f"""
        CREATE TEMPORARY TABLE {name} ({_declared(columns)}) PARTITIONED BY ({PARTITION}) WITH (
            'connector' = 'filesystem', 'path' = '{path}', 'format' = 'parquet', 'parquet.compression' = 'ZSTD',
            'parquet.utc-timezone' = 'true', 'parquet.write.int64.timestamp' = 'true',
            'parquet.timestamp.time.unit' = 'millis',
            'sink.rolling-policy.file-size' = '1 GB', 'sink.rolling-policy.rollover-interval' = '1 d'
        )"""


def decisions_ddl(path: str) -> str:
    """Return the statement that declares the folder of decisions."""
    return folder_ddl(DECISIONS, COLUMNS, f"{path}/{DECISIONS}")


def rejected_ddl(path: str) -> str:
    """Return the statement that declares the folder of rejected messages."""
    return folder_ddl(REJECTED, _REJECTED_COLUMNS, f"{path}/{REJECTED}")


def judged_sql(table: str) -> str:
    """Return the query that adds ``detail`` to each message: the missing fields, or an empty text."""
    missing = [f"CASE WHEN `{name}` IS NULL THEN '{name}' END" for name in REQUIRED]
    missing += [
        f"CASE WHEN `source`.`{name}` IS NULL THEN 'source.{name}' END" for name in ("topic", "partition", "offset")
    ]
    # A model's score that is no number would else become "no score".
    missing.append("CASE WHEN `model` = 'ok' AND `ml_score` IS NULL THEN 'ml_score' END")
    return f"SELECT *, CONCAT_WS(', ', {', '.join(missing)}) AS detail FROM {table}"  # noqa: S608 - our own names


def decisions_sql(judged: str) -> str:
    """Return the rows of the decisions folder."""
    cells = {name: f"`{name}`" for name in (*REQUIRED, *OPTIONAL)}
    # Version 1 of decisions has no experiments.
    cells["variant"] = "COALESCE(`variant`, 'champion')"
    cells |= {f"source_{name}": f"`source`.`{name}`" for name in ("topic", "partition", "offset")}
    cells |= {"decision_partition": "`partition`", "decision_offset": "`offset`", **_LOADED}
    selected = ", ".join(f"{cells[name]} AS `{name}`" for name in COLUMNS)
    return f"SELECT {selected} FROM {judged} WHERE detail = ''"  # noqa: S608 - our own names


def rejected_sql(judged: str, raw: str) -> str:
    """Return the rows of the rejected folder: messages that are no JSON object, and those with missing fields."""
    loaded = ", ".join(f"{expression} AS `{name}`" for name, expression in _LOADED.items())
    # Decoding replaces invalid bytes, so text that encodes to other bytes was not UTF-8.
    text = "DECODE(payload, 'UTF-8')"
    is_read = f"payload IS NOT NULL AND ENCODE({text}, 'UTF-8') = payload AND {text} IS JSON OBJECT"
    return f"""
        SELECT `partition`, `offset`, 'missing or of another type: ' || detail, CAST(NULL AS BYTES), {loaded}
        FROM {judged} WHERE detail <> ''
        UNION ALL
        SELECT `partition`, `offset`, 'not a JSON object in UTF-8', payload, {loaded}
        FROM {raw} WHERE NOT ({is_read})"""  # noqa: S608 - our own names


_LOADED: Final = {
    "loaded_at": "CAST(CURRENT_TIMESTAMP AS TIMESTAMP_LTZ(3))",
    PARTITION: "DATE_FORMAT(CURRENT_TIMESTAMP, 'yyyy-MM-dd')",
}


def _declared(columns: dict[str, str]) -> str:
    return ", ".join(f"`{name}` {kind}" for name, kind in columns.items())
