"""Masks card numbers in rows that earlier releases stored, in short transactions.

A batch is read without locks and masked here; only rows that change are written. Batches before an interruption stay,
and a masked row is masked no further, so the next run completes the work. ``ops.masking_log`` records each run: its
counts change in the transaction of the batch.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from flink_jobs.card_numbers import has_card_number
from flink_jobs.dead_letters.connection import connected
from flink_jobs.dead_letters.stored_rows import KEPT, TABLES
from flink_jobs.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from flink_jobs.dead_letters.stored_rows import MaskedTable, Row

BATCH: Final = 1_000
"""Rows read at once."""
ATTEMPTS: Final = 20
"""Tries of one batch, each of at most half a second."""
_LOCK: Final = 0x5F36
"""Advisory lock: one run at a time, so that its counts are those of its own work."""
# Less than Postgres waits before it looks for a deadlock: so this run gives way, and never the archive.
_LOCK_LIMIT: Final = "SET LOCAL lock_timeout = '500ms'"


@dataclass(slots=True)
class MaskedRows:
    """The rows of one table."""

    table: str
    looked_at: int = 0
    masked: int = 0
    """Rows with a card number; in a dry run they stay as they are."""

    @property
    def left(self) -> int:
        """Rows without a card number, which are not written."""
        return self.looked_at - self.masked


@dataclass(frozen=True, slots=True)
class MaskingReport:
    """The result of a run."""

    run: str | None
    """Id of the run in ``ops.masking_log``; None: a dry run."""
    tables: list[MaskedRows]
    kept: dict[str, int]
    """Rows with a card number in tables that nobody changes, by table."""


def mask_stored_rows(
    dsn: str, who: str, on_progress: Callable[[MaskedRows], None], *, is_trial: bool = False, batch: int = BATCH
) -> MaskingReport:
    """Mask the rows that were stored until now.

    Args:
        dsn: connection string of the owner of the tables.
        who: the user, for the record.
        on_progress: called after every batch with the table's counts so far.
        is_trial: only count.
        batch: rows read at once.

    Raises:
        UserError: no connection, no such table, no right, another run, or a row stayed locked. Batches before it are
            masked.
    """
    run = None if is_trial else f"mask-{uuid.uuid4()}"
    with _connected(dsn) as connection:
        tables = [_mask(connection, table, batch, _begin(connection, run, table, who), on_progress) for table in TABLES]
        kept = {name: _with_number(connection, name, column) for name, column in KEPT.items()}
    return MaskingReport(run, tables, kept)


def _mask(
    connection: psycopg.Connection[Any], table: MaskedTable, batch: int, entry: int | None,
    on_progress: Callable[[MaskedRows], None],
) -> MaskedRows:  # fmt: skip
    """Mask one table; without an entry of the record, only count."""
    counts = MaskedRows(table.name)
    for rows in _batches(connection, table, batch):
        changed = [(row, new) for row in rows if (new := _masked(table, row)) is not None]
        counts.looked_at += len(rows)
        counts.masked += len(changed)
        if entry is not None:
            _write(connection, table, changed, entry, counts)
        on_progress(counts)
    if entry is not None:
        connection.execute("UPDATE ops.masking_log SET finished_at = now() WHERE entry_id = %s", (entry,))
    return counts


def _begin(connection: psycopg.Connection[Any], run: str | None, table: MaskedTable, who: str) -> int | None:
    """Record that a table of a run is begun; return the number of the entry, None without a run."""
    if run is None:
        return None
    statement = "INSERT INTO ops.masking_log (run_id, table_name, started_by) VALUES (%s, %s, %s) RETURNING entry_id"
    row = connection.execute(statement, (run, table.name, who)).fetchone()
    return None if row is None else int(row[0])


def _batches(connection: psycopg.Connection[Any], table: MaskedTable, batch: int) -> Iterator[list[Row]]:
    """Yield the rows that were stored until now, in the order of unique columns; no lock outlives a read."""
    ((until,),) = connection.execute("SELECT now()").fetchall()
    order = _names(table.order)
    query = sql.SQL("SELECT {} FROM {} WHERE {} <= %(until)s {} ORDER BY {} LIMIT %(batch)s")
    columns = _names(dict.fromkeys((*table.order, *table.columns, *table.also_read)))
    from_table, stored_at = _table(table.name), sql.Identifier(table.stored_at)
    first = query.format(columns, from_table, stored_at, sql.SQL(""), order)
    values = sql.SQL(", ").join(sql.Placeholder(name) for name in table.order)
    later = sql.SQL("AND ({}) > ({})").format(order, values)
    following = query.format(columns, from_table, stored_at, later, order)
    last: Row = {}
    while True:
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(following if last else first, {"until": until, "batch": batch, **last}).fetchall()
        if rows:
            yield rows
        if len(rows) < batch:
            return
        last = {name: rows[-1][name] for name in table.order}


def _masked(table: MaskedTable, row: Row) -> Row | None:
    """Return the columns of a row as this release writes them, None if it has them so."""
    read = {name: row[name] for name in (*table.columns, *table.also_read)}
    new = table.masked(read)
    changed = {name: new[name] for name in table.columns}
    return None if all(changed[name] == read[name] for name in table.columns) else changed


def _write(
    connection: psycopg.Connection[Any], table: MaskedTable, changed: Sequence[tuple[Row, Row]], entry: int,
    counts: MaskedRows,
) -> None:  # fmt: skip
    """Write the masked rows of a batch and the counts of the run, in one transaction."""
    update = sql.SQL("UPDATE {} SET {} WHERE {}").format(
        _table(table.name), _pairs(table.columns, ", "), _pairs(table.key, " AND ")
    )
    parameters = [{**{key: row[key] for key in table.key}, **_adapted(new)} for row, new in changed]
    for attempt in range(ATTEMPTS):
        try:
            with connection.transaction(), connection.cursor() as cursor:
                cursor.execute(_LOCK_LIMIT)
                cursor.executemany(update, parameters)
                note = "UPDATE ops.masking_log SET looked_at = %s, masked = %s WHERE entry_id = %s"
                cursor.execute(note, (counts.looked_at, counts.masked, entry))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            if attempt + 1 == ATTEMPTS:
                fix = "end that session (pg_stat_activity lists it), then run the same command again"
                raise UserError(f"another session holds rows of {table.name}", fix) from None
        else:
            return


def _with_number(connection: psycopg.Connection[Any], table: str, column: str) -> int:
    query = sql.SQL("SELECT {0} FROM {1} WHERE {0} ~ '[0-9].*[0-9]'").format(sql.Identifier(column), _table(table))
    return sum(has_card_number(text) for (text,) in connection.execute(query))


def _adapted(row: Row) -> Row:
    return {name: Jsonb(value) if isinstance(value, dict | list) else value for name, value in row.items()}


def _names(names: Sequence[str] | dict[str, Any]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _pairs(names: Sequence[str], separator: str) -> sql.Composed:
    pair = sql.SQL("{} = {}")
    return sql.SQL(separator).join(pair.format(sql.Identifier(name), sql.Placeholder(name)) for name in names)


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect, and exclude every other run meanwhile."""
    try:
        with connected(
            dsn, _LOCK, "another run masks the stored rows", what="Postgres",
            fix="check STREAMFLOW_POSTGRES_*, then run the same command again: what is masked stays masked",
        ) as connection:  # fmt: skip
            yield connection
    except psycopg.errors.UndefinedTable as error:
        raise UserError(
            f"the database has not the tables of this release ({error.diag.message_primary})",
            "run `streamflow migrate`",
        ) from None
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException) as error:
        raise UserError(
            f"the database role lacks a right: {error.diag.message_primary}",
            "set STREAMFLOW_POSTGRES_USER to the owner of the tables",
        ) from None
