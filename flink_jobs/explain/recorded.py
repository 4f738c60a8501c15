"""Find one recorded decision: in Postgres, or on Kafka while the archive job has not written it yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

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
    SELECT d.*, a.contributions FROM raw.decisions d LEFT JOIN raw.alerts a USING (customer_id, transaction_id)
    WHERE d.transaction_id = %(transaction)s AND (%(customer)s::text IS NULL OR d.customer_id = %(customer)s)
    ORDER BY d.customer_id LIMIT 10
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


def find_recorded(dsn: str, broker: Broker, prefix: str, transaction: str, customer: str | None) -> Recorded:
    """Return the decision on a transaction.

    Raises:
        UserError: there is none, or several customers have a transaction with this id.
    """
    found = _in_postgres(dsn, transaction, customer) or _on_kafka(broker, prefix, transaction, customer)
    if not found:
        whose = f" of {customer}" if customer else ""
        raise UserError(
            f"there is no decision on {transaction}{whose}, neither in Postgres nor on Kafka",
            "check the id; `streamflow dlq list` shows rejected records",
        )
    if len(found) > 1:
        names = ", ".join(item.decision["customer_id"] for item in found)
        raise UserError(
            f"several customers have a transaction {transaction} ({names})", "name the customer with --customer"
        )
    return found[0]


def _in_postgres(dsn: str, transaction: str, customer: str | None) -> list[Recorded]:
    try:
        with psycopg.connect(dsn, row_factory=dict_row) as connection:
            rows = connection.execute(_DECISIONS, {"transaction": transaction, "customer": customer}).fetchall()
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


def _on_kafka(broker: Broker, prefix: str, transaction: str, customer: str | None) -> list[Recorded]:
    decisions, alerts = topic_name(prefix, "decisions"), topic_name(prefix, "alerts")
    found: dict[str, DecisionDocument] = {}
    contributions: dict[str, dict[str, float] | None] = {}
    wanted = transaction.encode()
    with CommittedReader(broker, [decisions, alerts]) as reader:
        for record in reader.read_to_end():
            if record.value is None or wanted not in record.value:
                continue
            document: DecisionDocument | AlertDocument = orjson.loads(record.value)
            owner = document["customer_id"]
            if document["transaction_id"] != transaction or customer not in {None, owner}:
                continue
            if record.topic == alerts:
                contributions[owner] = cast("AlertDocument", document).get("contributions")
            else:
                found[owner] = cast("DecisionDocument", document)
    if not found:
        return []
    history = read_control_state(broker, prefix).history
    return [
        Recorded(item, contributions.get(owner), config_at(history, item["config_revision"]), "Kafka")
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
