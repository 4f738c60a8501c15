"""The stored rows that can hold a card number in the clear, because an earlier release wrote them.

Each table here has the function that gives its columns the form in which this release writes them: the archive's own
for the tables of the archive, that of the audit for redrives.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flink_jobs.core.dead_letters.payload_mask import masked_bytes, masked_changes, masked_letter, masked_value
from flink_jobs.job.archiver.stored_form import stored_forms

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]
"""Values by column."""


@dataclass(frozen=True, slots=True)
class MaskedTable:
    """A table whose rows are masked.

    Attributes:
        name: with its schema.
        key: columns of the primary key.
        stored_at: column with the time at which a row was stored.
        columns: the columns that can hold a card number.
        masked: returns these columns, of one row, without card numbers.
        also_read: columns that the function needs beside them.
        is_by_time: rows are read in the order of ``stored_at``, which has an index, and not in that of the key.
    """

    name: str
    key: tuple[str, ...]
    stored_at: str
    columns: tuple[str, ...]
    masked: Callable[[Row], Row]
    also_read: tuple[str, ...] = ()
    is_by_time: bool = False

    @property
    def order(self) -> tuple[str, ...]:
        """The columns by which rows are read; together they are unique."""
        return (self.stored_at, *self.key) if self.is_by_time else self.key


def _archived(topic: str) -> Callable[[Row], Row]:
    """Return the form in which the archive stores messages of a topic, as a function of the columns."""

    def masked(row: Row) -> Row:
        # json, and not orjson: Postgres holds numbers of more than 64 bits.
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
        (stored,) = stored_forms(topic, [text])
        return row if stored == text else json.loads(stored)

    return masked


def _redrive(row: Row) -> Row:
    changes, payload = row["changes"], row["edited_payload"]
    return {
        "changes": None if changes is None else masked_changes(changes),
        "edited_payload": None if payload is None else masked_bytes(payload),
    }


def _run(row: Row) -> Row:
    return {"reason": masked_value("reason", row["reason"])}


TABLES: Final = (
    MaskedTable(
        "raw.dead_letters", ("dlq_id", "received_ms"), "loaded_at", ("payload",), masked_letter,
        also_read=("payload_encoding",), is_by_time=True,
    ),
    MaskedTable("raw.labels", ("label_id",), "loaded_at", ("comment",), _archived("labels")),
    MaskedTable("raw.user_actions", ("action_id",), "loaded_at", ("card", "reason"), _archived("user-actions")),
    MaskedTable("ops.control_audit", ("control_id", "outcome"), "loaded_at", ("reason", "changes"), _archived("audit")),
    MaskedTable("ops.redrive_runs", ("run_id",), "started_at", ("reason",), _run),
    MaskedTable("ops.redrives", ("redrive_id",), "started_at", ("changes", "edited_payload"), _redrive),
)  # fmt: skip
KEPT: Final = {"ml.model_events": "reason"}
"""Tables that nobody changes, with the column of texts that people wrote: numbers in them are counted only."""
