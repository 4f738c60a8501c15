"""The outcomes of one run, read from the Postgres tables that the archive job writes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import psycopg
from psycopg.rows import dict_row

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.traffic.outcomes import Outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flink_jobs.core.documents import AlertDocument, DeadLetterDocument, DecisionDocument
    from flink_jobs.traffic.ledger import SentLedger

# The records of a run start, in each partition, at the first offset that the run wrote.
_OF_RUN = """
    JOIN unnest(%(partitions)s::int[], %(offsets)s::bigint[]) AS run (partition, first_offset)
        ON source_partition = run.partition AND source_offset >= run.first_offset
    WHERE source_topic = %(topic)s"""
_COUNT = f"""
    SELECT (SELECT count(*) FROM raw.decisions {_OF_RUN})
         + (SELECT count(*) FROM raw.dead_letters {_OF_RUN} AND disposition <> 'incident')"""  # noqa: S608 - constants
_DECISIONS = f"""
    SELECT source_partition, source_offset, customer_id, transaction_id, processing_time_ms, model, is_alert
    FROM raw.decisions {_OF_RUN}"""  # noqa: S608
_LETTERS = f"""
    SELECT source_partition, source_offset, disposition, reason, payload, payload_encoding, payload_length,
           payload_sha256, payload_truncated
    FROM raw.dead_letters {_OF_RUN}"""  # noqa: S608
_ALERTS = """
    SELECT customer_id, transaction_id, processing_time_ms FROM raw.alerts
    WHERE starts_with(customer_id, %(customers)s)"""


class ArchivedOutcomes:
    """Reads the rows of one run."""

    def __init__(self, connection: psycopg.Connection[dict[str, Any]], topic: str, customers: str) -> None:
        """Set the transactions topic, and the prefix of the run's customers: alerts hold no partition and offset."""
        self._connection = connection
        self._topic = topic
        self._customers = customers

    def count(self, first_offsets: Mapping[int, int]) -> int:
        """Return the number of the run's outcomes in the tables; cheap enough to call every second.

        ``first_offsets`` holds the first offset of the run in each partition that it wrote to.
        """
        row = self._connection.execute(_COUNT, self._run(first_offsets)).fetchone()
        return 0 if row is None else int(next(iter(row.values())))

    def outcomes(self, ledger: SentLedger, first_offsets: Mapping[int, int]) -> Outcomes:
        """Return the outcomes of the run's records according to the tables."""
        outcomes = Outcomes(ledger, self._topic)
        run = self._run(first_offsets)
        # The queries select the fields that ``Outcomes`` reads, under their names in the documents.
        for row in self._connection.execute(_DECISIONS, run):
            place = {"topic": self._topic, "partition": row["source_partition"], "offset": row["source_offset"]}
            outcomes.add_decision(cast("DecisionDocument", {**row, "source": place}))
        for row in self._connection.execute(_LETTERS, run):
            place = {"topic": self._topic, "partition": row["source_partition"], "offset": row["source_offset"]}
            outcomes.add_letter(cast("DeadLetterDocument", {**row, **place}))
        for row in self._connection.execute(_ALERTS, {"customers": self._customers}):
            outcomes.add_alert(cast("AlertDocument", row))
        return outcomes

    def _run(self, first_offsets: Mapping[int, int]) -> dict[str, Any]:
        partitions, offsets = list(first_offsets), list(first_offsets.values())
        return {"topic": self._topic, "partitions": partitions, "offsets": offsets}


@contextmanager
def open_archive(dsn: str, topic: str, customers: str) -> Iterator[ArchivedOutcomes]:
    """Connect to the database.

    Raises:
        UserError: Postgres does not answer. The message never holds the connection string, because it has the password.
    """
    try:
        connection = psycopg.connect(dsn, autocommit=True, row_factory=dict_row, connect_timeout=5)
    except psycopg.OperationalError:
        fix = "see `streamflow status` and Postgres's log"
        raise UserError("Postgres does not answer", fix, ErrorCode.POSTGRES_UNREACHABLE) from None
    with connection:
        yield ArchivedOutcomes(connection, topic, customers)
