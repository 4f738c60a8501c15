"""Find one recorded decision: in Postgres, or on Kafka while the archive job has not written it yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import orjson
import psycopg
from psycopg.rows import dict_row

from flink_jobs.contracts.topic_contracts import topic_name
from flink_jobs.core.control.config import DetectionConfig
from flink_jobs.core.documents import AlertDocument, AuditDocument, ControlOutcome, DecisionDocument
from flink_jobs.errors import UserError
from flink_jobs.kafka.broker import Broker
from flink_jobs.kafka.consumer import CommittedReader
from flink_jobs.kafka.control_client import config_of, read_control_state

if TYPE_CHECKING:
    from collections.abc import Iterable

_DECISIONS: Final = """
    SELECT d.*, a.contributions FROM raw.decisions d
    LEFT JOIN raw.alerts a USING (customer_id, transaction_id, event_time_ms)
    WHERE d.transaction_id = %(transaction)s AND (%(customer)s::text IS NULL OR d.customer_id = %(customer)s)
      AND (%(at_ms)s::bigint IS NULL OR d.event_time_ms = %(at_ms)s)
    ORDER BY d.customer_id, d.event_time_ms LIMIT 10
"""
_AUDIT: Final = """
    SELECT control_id, revision, outcome, issued_by, issued_at_ms, reason, changes FROM ops.control_audit
    WHERE outcome = 'applied' ORDER BY applied_at_ms, revision
"""
NEVER_SHOWN: Final = frozenset({"loaded_at", "contributions"})


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision, the contributions in its alert, and the configuration in force at that time."""

    decision: DecisionDocument
    contributions: dict[str, float] | None
    config: DetectionConfig
    found_in: str


class Asked(NamedTuple):
    """The decision to find; ``None`` leaves the customer or the event time (ms since the epoch) open."""

    transaction: str
    customer: str | None = None
    at_ms: int | None = None

    def is_meant(self, customer: str, event_time_ms: int) -> bool:
        """Return whether a decision of this customer and time is meant."""
        return self.customer in {None, customer} and self.at_ms in {None, event_time_ms}


def find_recorded(dsn: str, broker: Broker, prefix: str, asked: Asked) -> Recorded:
    """Return the decision on a transaction.

    Raises:
        UserError: there is none; or several customers have a transaction with this id, or one customer has several.
    """
    found = _in_postgres(dsn, asked) or _on_kafka(broker, prefix, asked)
    if not found:
        whose = f" of {asked.customer}" if asked.customer else ""
        when = "" if asked.at_ms is None else f" at {_time(asked.at_ms)}"
        raise UserError(
            f"there is no decision on {asked.transaction}{whose}{when}, neither in Postgres nor on Kafka",
            "check the id; `streamflow dlq list` shows rejected records",
        )
    return only_one(found, asked.transaction)


def only_one(found: list[Recorded], transaction: str) -> Recorded:
    """Return the only decision.

    Raises:
        UserError: there are several; the error names the option that chooses one.
    """
    if len(found) == 1:
        return found[0]
    customers = list(dict.fromkeys(item.decision["customer_id"] for item in found))
    if len(customers) > 1:
        raise UserError(
            f"several customers have a transaction {transaction} ({', '.join(customers)})",
            "name the customer with --customer",
        )
    times = ", ".join(_time(item.decision["event_time_ms"]) for item in found)
    raise UserError(
        f"{customers[0]} has {len(found)} transactions {transaction}, at {times}", "choose one with --at TIME"
    )


def _time(time_ms: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _in_postgres(dsn: str, asked: Asked) -> list[Recorded]:
    try:
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            rows = connection.execute(_DECISIONS, asked._asdict()).fetchall()
            # The query selects the fields that ``config_at`` reads, under their names in the document.
            history = cast("list[AuditDocument]", connection.execute(_AUDIT).fetchall() if rows else [])
    except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
        return []  # then Kafka is read; it reports its own connection errors
    return [
        Recorded(
            # The columns are the fields of the document, under the same names.
            cast("DecisionDocument", {name: value for name, value in row.items() if name not in NEVER_SHOWN}),
            row["contributions"],
            config_at(history, row["config_revision"]),
            "Postgres",
        )
        for row in rows
    ]


def _on_kafka(broker: Broker, prefix: str, asked: Asked) -> list[Recorded]:
    decisions, alerts = topic_name(prefix, "decisions"), topic_name(prefix, "alerts")
    found: dict[tuple[str, int], DecisionDocument] = {}
    # After a failure a decision can have an earlier alert with other contributions: the time of scoring tells which.
    contributions: dict[tuple[str, int, int], dict[str, float] | None] = {}
    wanted = orjson.dumps(asked.transaction)[1:-1]
    with CommittedReader(broker, [decisions, alerts]) as reader:
        for record in reader.read_to_end():
            if record.value is None or wanted not in record.value:
                continue
            document: DecisionDocument | AlertDocument = orjson.loads(record.value)
            owner = document["customer_id"], document["event_time_ms"]
            if document["transaction_id"] != asked.transaction or not asked.is_meant(*owner):
                continue
            if record.topic == alerts:
                scored_ms = document["processing_time_ms"]
                contributions[*owner, scored_ms] = cast("AlertDocument", document).get("contributions")
            else:
                found[owner] = cast("DecisionDocument", document)
    if not found:
        return []
    history = read_control_state(broker, prefix).history
    return [
        Recorded(
            item,
            contributions.get((*owner, item["processing_time_ms"])),
            config_at(history, item["config_revision"]),
            "Kafka",
        )
        for owner, item in found.items()
    ]


def config_at(history: Iterable[AuditDocument], revision: int) -> DetectionConfig:
    """Return the configuration of a revision, computed from the audit records, oldest first."""
    if revision == 0:
        return DetectionConfig()
    past = []
    for entry in history:
        past.append(entry)
        if entry["outcome"] == ControlOutcome.APPLIED and entry["revision"] == revision:
            return config_of(past)
    return config_of(past)
